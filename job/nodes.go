package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// listEvery is how often the gateways' leases are listed.
	listEvery = 500 * time.Millisecond
	// retryRegistry is the wait after a call to the registry that failed.
	retryRegistry = 200 * time.Millisecond
	// leaveTimeout bounds giving the lease back on the way out.
	leaveTimeout = time.Second
	// maxGraves bounds the remembered dead lives, the oldest goes first: a
	// forgotten one costs one more listing.
	maxGraves = 1024
)

// view is what a reader routes by: the gateways of one moment. It does not
// change; Job.view points to the newest.
type view struct {
	links []*link // ordered by id
	byID  map[string]*link
}

// lease begins the job's life in the registry: gateways that start from now on
// wait for its streams.
func (j *Job) lease(ctx context.Context) error {
	return j.insist(ctx, "renew lease", func() error { return j.renew(ctx) })
}

// renew renews the lease once; with the first call it begins a life.
func (j *Job) renew(ctx context.Context) error {
	epoch, err := j.nodes.Renew(ctx, cluster.Node{
		ID:       j.cfg.ID,
		Role:     cluster.RoleJob,
		Epoch:    j.epoch,
		Version:  cluster.Version,
		Internal: j.cfg.InternalAddr,
	})
	if err == nil {
		j.epoch = epoch
	}
	return err
}

// insist repeats a call to the registry until it succeeds, ctx ends, or the job
// is fenced.
func (j *Job) insist(ctx context.Context, what string, call func() error) error {
	for {
		err := call()
		if err == nil || errors.Is(err, cluster.ErrFenced) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		j.m.nodesErrors.Inc()
		j.throttle.warn(what, "err", err)
		if err := sleep(ctx, retryRegistry); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// keepLease renews until ctx ends, then gives the lease back. It returns an
// error only when another process took the id over.
func (j *Job) keepLease(ctx context.Context) error {
	tick := time.NewTicker(cluster.RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
			defer cancel()
			if err := j.nodes.Leave(leave, j.cfg.ID, j.epoch); err != nil {
				j.log.Warn("leave: the lease ends by itself", "err", err)
			}
			return nil
		case <-tick.C:
		}
		err := j.renew(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, cluster.ErrFenced):
			return fmt.Errorf("job %s: %w", j.cfg.ID, err)
		default:
			j.m.nodesErrors.Inc()
			j.throttle.warn("renew lease", "err", err)
		}
	}
}

// keepNodes lists the gateways every listEvery and whenever relist asks, until
// ctx ends. It alone adds and removes links, so an older list never replaces a
// newer one.
func (j *Job) keepNodes(ctx context.Context) {
	tick := time.NewTicker(listEvery)
	defer tick.Stop()
	for {
		var asked []chan error
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case c := <-j.asks:
			asked = append(asked, c)
		}
		for more := true; more; {
			select {
			case c := <-j.asks:
				asked = append(asked, c)
			default:
				more = false
			}
		}
		err := j.list(ctx)
		if err != nil && ctx.Err() == nil {
			j.m.nodesErrors.Inc()
			j.throttle.warn("list gateways: the last list is kept", "err", err)
		}
		for _, c := range asked {
			c <- err
		}
	}
}

// relist has the gateways listed now: it returns nil when a list that was asked
// for after the call is in effect.
func (j *Job) relist(ctx context.Context) error {
	c := make(chan error, 1)
	select {
	case j.asks <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list asks the registry for the gateways and puts the answer into effect. Only
// the goroutine of keepNodes calls it, and Run before that one starts.
func (j *Job) list(ctx context.Context) error {
	nodes, err := j.nodes.List(ctx, cluster.RoleGateway)
	if err != nil {
		return err
	}
	listed := make(map[string]bool, len(nodes))
	changed := false
	for _, n := range nodes {
		listed[n.ID] = true
		if l := j.links[n.ID]; l != nil {
			changed = l.update(n) || changed
			continue
		}
		j.log.Info("gateway found", "node", n.ID, "epoch", n.Epoch)
		j.links[n.ID] = j.startLink(n)
		changed = true
	}
	now := time.Now()
	for id, l := range j.links {
		if !listed[id] && l.missing(now) {
			j.log.Warn("gateway gone", "node", id, "epoch", l.life.Load())
			delete(j.links, id)
			l.giveUp()
			changed = true
		}
	}
	j.show()
	if changed {
		j.pokeAll()
	}
	return nil
}

// startLink makes the link to n and starts its goroutine, which giveUp or the end
// of Run ends.
func (j *Job) startLink(n cluster.Node) *link {
	ctx, cancel := context.WithCancel(j.linkCtx)
	l := newLink(j, n, cancel)
	j.linkGroup.Go(func() {
		defer cancel()
		l.run(ctx)
	})
	return l
}

// show makes the present links the view.
func (j *Job) show() {
	v := &view{byID: make(map[string]*link, len(j.links))}
	for id, l := range j.links {
		v.links = append(v.links, l)
		v.byID[id] = l
	}
	slices.SortFunc(v.links, func(a, b *link) int { return strings.Compare(a.id, b.id) })
	j.view.Store(v)
	j.m.links.Store(int64(len(v.links)))
}

// grave is a life of a node that a listing found over.
type grave struct {
	node string
	life uint64
}

// graves remembers dead lives, so that a stream of messages to one of them costs
// one listing and not one each.
type graves struct {
	mu sync.Mutex
	// guards below
	dead map[grave]struct{}
	ring []grave // in order of burial, from next on
	next int
}

func (g *graves) has(x grave) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.dead[x]
	return ok
}

func (g *graves) add(x grave) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.dead[x]; ok {
		return
	}
	if g.dead == nil {
		g.dead = map[grave]struct{}{}
	}
	if len(g.ring) < maxGraves {
		g.ring = append(g.ring, x)
	} else {
		delete(g.dead, g.ring[g.next])
		g.ring[g.next] = x
		g.next = (g.next + 1) % maxGraves
	}
	g.dead[x] = struct{}{}
}
