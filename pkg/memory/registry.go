package memory

import (
	"context"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// Registry is the registry of one process: routes (this file), leases, locks
// and pins (nodes.go), room counts (rooms.go). All methods may be called
// concurrently; none blocks on anything but the one mutex, and so none looks at
// its ctx.
type Registry struct {
	// Static after construction.
	now func() time.Time

	mu sync.RWMutex // guards below

	// Every route is in keys and slots, and in mids if it has a mid.
	keys  map[string]*route // by scoped key
	mids  map[string]*route // first route of each scoped mid
	slots []*route          // nil where free; a route keeps its place while it stands
	free  []int             // free places in slots
	stamp cluster.Stamp     // last one given

	leases map[string]*lease
	epochs map[string]cluster.Epoch // highest of each node id ever; outlives the lease

	rooms map[string]roomCount // by scoped room

	pins  map[string]int32 // partitions of each topic
	locks map[string]lock  // by name
}

// route is a stored route and its place in the list of its mid.
type route struct {
	cluster.Route
	slot       int
	prev, next *route // others of the same mid
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		now:    time.Now,
		keys:   make(map[string]*route),
		mids:   make(map[string]*route),
		leases: make(map[string]*lease),
		epochs: make(map[string]cluster.Epoch),
		rooms:  make(map[string]roomCount),
		pins:   make(map[string]int32),
		locks:  make(map[string]lock),
	}
}

// Connect stores routes; see logic.Registry. All of them are stored in one step.
func (r *Registry) Connect(_ context.Context, routes []cluster.Route) ([]cluster.Registered, error) {
	out := make([]cluster.Registered, len(routes))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range routes {
		out[i] = r.connectLocked(routes[i])
	}
	return out, nil
}

func (r *Registry) connectLocked(n cluster.Route) cluster.Registered {
	old := r.keys[n.Key]
	if old != nil && n.Stamp != 0 && !replaces(&n, &old.Route) {
		return cluster.Registered{}
	}
	if n.Stamp == 0 {
		n.Stamp = r.nextStampLocked(old)
	}
	reg := cluster.Registered{Stamp: n.Stamp}
	if old == nil {
		r.addLocked(n)
		return reg
	}
	if !sameRoute(&n, &old.Route) {
		reg.Displaced = old.Route
	}
	// The new route takes the place of the old one in slots, so that a Scan
	// that is under way sees the key.
	r.unlinkLocked(old)
	old.Route = n
	r.linkLocked(old)
	return reg
}

// replaces says whether a route that comes with its stamp may take the place of
// the one that stands: it is newer, or it is the same one once more.
func replaces(n, old *cluster.Route) bool {
	return n.Stamp > old.Stamp || sameRoute(n, old)
}

// sameRoute compares what identifies one registration of a key.
func sameRoute(a, b *cluster.Route) bool {
	return a.Stamp == b.Stamp && a.Epoch == b.Epoch && a.Node == b.Node
}

// nextStampLocked is the clock in µs, but above every stamp given before and
// above that of the route that stands. It is strict over all keys, not only per
// key, because a key may come and go twice within a microsecond.
func (r *Registry) nextStampLocked(old *route) cluster.Stamp {
	s := max(cluster.Stamp(r.now().UnixMicro()), r.stamp+1)
	if old != nil {
		s = max(s, old.Stamp+1)
	}
	r.stamp = s
	return s
}

func (r *Registry) addLocked(n cluster.Route) {
	e := &route{Route: n}
	if last := len(r.free) - 1; last >= 0 {
		e.slot = r.free[last]
		r.free = r.free[:last]
		r.slots[e.slot] = e
	} else {
		e.slot = len(r.slots)
		r.slots = append(r.slots, e)
	}
	r.keys[n.Key] = e
	r.linkLocked(e)
}

// linkLocked puts e at the head of its mid's list.
func (r *Registry) linkLocked(e *route) {
	if e.Mid == "" {
		return
	}
	head := r.mids[e.Mid]
	e.next = head
	if head != nil {
		head.prev = e
	}
	r.mids[e.Mid] = e
}

// unlinkLocked takes e out of its mid's list.
func (r *Registry) unlinkLocked(e *route) {
	if e.Mid == "" {
		return
	}
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.next != nil:
		r.mids[e.Mid] = e.next
	default:
		delete(r.mids, e.Mid)
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}

// Disconnect removes the routes that still stand as given; see logic.Registry.
func (r *Registry) Disconnect(_ context.Context, routes []cluster.Route) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range routes {
		e := r.keys[routes[i].Key]
		if e == nil || !sameRoute(&e.Route, &routes[i]) {
			continue
		}
		r.unlinkLocked(e)
		delete(r.keys, e.Key)
		r.slots[e.slot] = nil
		r.free = append(r.free, e.slot)
	}
	return nil
}

// Keys looks keys up; see logic.Registry.
func (r *Registry) Keys(_ context.Context, keys []string) ([]cluster.Route, error) {
	out := make([]cluster.Route, len(keys))
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i, key := range keys {
		if e := r.keys[key]; e != nil {
			out[i] = e.Route
		}
	}
	return out, nil
}

// Mids looks mids up; see logic.Registry.
func (r *Registry) Mids(_ context.Context, mids []string) ([][]cluster.Route, error) {
	out := make([][]cluster.Route, len(mids))
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i, mid := range mids {
		for e := r.mids[mid]; e != nil; e = e.next {
			out[i] = append(out[i], e.Route)
		}
	}
	return out, nil
}

// Scan visits routes; see logic.Registry. The cursor is a place in slots; n
// below 1 is taken for 1.
func (r *Registry) Scan(_ context.Context, cursor uint64, n int) ([]cluster.Route, uint64, error) {
	n = max(n, 1)
	r.mu.RLock()
	defer r.mu.RUnlock()
	if cursor >= uint64(len(r.slots)) {
		return nil, 0, nil
	}
	rest := r.slots[cursor:]
	visit := rest[:min(n, len(rest))]
	out := make([]cluster.Route, 0, len(visit))
	for _, e := range visit {
		if e != nil {
			out = append(out, e.Route)
		}
	}
	if len(visit) == len(rest) {
		return out, 0, nil
	}
	return out, cursor + uint64(len(visit)), nil
}
