package logic

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// maxLookup bounds the names of one call to the registry.
const maxLookup = 8192

var errAnswers = errors.New("the registry gave more or fewer answers than it was asked for")

// resolver looks up the receivers of a batch of pushes. It is owned by the pump.
type resolver struct {
	l *Logic

	// Of the batch at hand.
	keys  names                  // asked for
	mids  names                  //
	byKey []cluster.Route        // of keys.list; Node "" where there is none
	byMid [][]cluster.Route      // of mids.list
	stale []cluster.Route        // of dead lives, to be removed
	lives map[life]bool          // of the routes; whether they count
	seen  map[int64]struct{}     // mids of the message at hand
	dead  map[cluster.Route]bool // in stale

	groups []group // reused from message to message
}

// names is a set of scoped names in the order they came in.
type names struct {
	list []string
	at   map[string]int // place in list
}

func (n *names) add(name string) {
	if _, ok := n.at[name]; !ok {
		n.at[name] = len(n.list)
		n.list = append(n.list, name)
	}
}

func (n *names) reset() {
	clear(n.at)
	clear(n.list)
	n.list = n.list[:0]
}

func newResolver(l *Logic) *resolver {
	return &resolver{
		l:     l,
		keys:  names{at: map[string]int{}},
		mids:  names{at: map[string]int{}},
		lives: map[life]bool{},
		seen:  map[int64]struct{}{},
		dead:  map[cluster.Route]bool{},
	}
}

// resolve looks up all that msgs name: one call for keys, one for mids (several
// when there are more than maxLookup), and at most one listing of the leases. It
// waits while the registry is away; false when ctx ended.
func (r *resolver) resolve(ctx context.Context, msgs []push.Message) bool {
	r.reset()
	for i := range msgs {
		r.ask(&msgs[i])
	}
	for names := range slices.Chunk(r.keys.list, maxLookup) {
		if !r.l.persist(ctx, "look up keys", func(ctx context.Context) error {
			routes, err := r.l.deps.Registry.Keys(ctx, names)
			if err == nil && len(routes) != len(names) {
				err = errAnswers
			}
			if err == nil {
				r.byKey = append(r.byKey, routes...)
			}
			return err
		}) {
			return false
		}
	}
	for names := range slices.Chunk(r.mids.list, maxLookup) {
		if !r.l.persist(ctx, "look up mids", func(ctx context.Context) error {
			routes, err := r.l.deps.Registry.Mids(ctx, names)
			if err == nil && len(routes) != len(names) {
				err = errAnswers
			}
			if err == nil {
				r.byMid = append(r.byMid, routes...)
			}
			return err
		}) {
			return false
		}
	}
	return r.judge(ctx)
}

func (r *resolver) reset() {
	r.keys.reset()
	r.mids.reset()
	clear(r.byKey)
	clear(r.byMid)
	r.byKey, r.byMid = r.byKey[:0], r.byMid[:0]
	r.stale = nil // handed over
	clear(r.lives)
	clear(r.dead)
}

func (r *resolver) ask(m *push.Message) {
	switch m.To.Kind {
	case push.Keys:
		for _, k := range m.To.Keys {
			if k != "" { // goim skips them
				r.keys.add(cluster.Scope(m.App, k))
			}
		}
	case push.Mids:
		for _, mid := range m.To.Mids {
			if mid > 0 { // others have no routes
				r.mids.add(midName(m.App, mid))
			}
		}
	}
}

func midName(app string, mid int64) string { return cluster.Scope(app, strconv.FormatInt(mid, 10)) }

// judge finds out which lives count.
func (r *resolver) judge(ctx context.Context) bool {
	for i := range r.byKey {
		if r.byKey[i].Node != "" {
			r.lives[lifeOf(&r.byKey[i])] = false
		}
	}
	for _, routes := range r.byMid {
		for i := range routes {
			r.lives[lifeOf(&routes[i])] = false
		}
	}
	lives := make([]life, 0, len(r.lives))
	for l := range r.lives {
		lives = append(lives, l)
	}
	if len(lives) == 0 {
		return true
	}
	if !r.l.persist(ctx, "list gateways", func(ctx context.Context) error { return r.l.view.judge(ctx, lives) }) {
		return false
	}
	for _, l := range lives {
		r.lives[l] = r.l.view.alive(l)
	}
	return true
}

// receivers are the keys, unscoped, that m reaches, each with the life of the
// gateway that holds it: of a key as often as it is named, of a mid once.
func (r *resolver) receivers(m *push.Message) iter.Seq2[string, life] {
	return func(yield func(string, life) bool) {
		if m.To.Kind == push.Mids {
			r.ofMids(m, yield)
			return
		}
		for _, k := range m.To.Keys {
			if k == "" {
				continue
			}
			route := &r.byKey[r.keys.at[cluster.Scope(m.App, k)]]
			if r.counts(route) && !yield(k, lifeOf(route)) {
				return
			}
		}
	}
}

func (r *resolver) ofMids(m *push.Message, yield func(string, life) bool) {
	clear(r.seen)
	for _, mid := range m.To.Mids {
		if _, again := r.seen[mid]; again || mid <= 0 {
			continue
		}
		r.seen[mid] = struct{}{}
		routes := r.byMid[r.mids.at[midName(m.App, mid)]]
		for i := range routes {
			if !r.counts(&routes[i]) {
				continue
			}
			_, key := cluster.Unscope(routes[i].Key)
			if !yield(key, lifeOf(&routes[i])) {
				return
			}
		}
	}
}

// counts says whether a route leads to a living gateway. One that does not is
// counted, and noted for removal if its gateway is dead beyond doubt.
func (r *resolver) counts(route *cluster.Route) bool {
	if route.Node == "" {
		return false
	}
	at := lifeOf(route)
	if r.lives[at] {
		return true
	}
	r.l.m.deadRoutes.Inc()
	if !r.dead[*route] && r.l.view.removable(at) {
		r.dead[*route] = true
		r.stale = append(r.stale, *route)
	}
	return false
}
