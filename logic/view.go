package logic

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
)

const (
	// viewEvery is how often the leases are listed. With a lease of 5 s a dead
	// gateway is out of the view, and of the totals, within 5.5 s.
	viewEvery = 500 * time.Millisecond
	// maxDead bounds the lives remembered as dead: 4096 are a month of restarts of
	// a large fleet, and forgetting one costs one listing.
	maxDead = 4096
	// deadGrace is how long a life must have been seen dead before its routes are
	// removed. A gateway whose lease lapsed (a registry that stuttered) comes back
	// under the same epoch and still holds its sessions: it must find its routes.
	deadGrace = 2 * cluster.LeaseTTL
	// callTimeout bounds one call to the registry; the backends have their own,
	// shorter bounds.
	callTimeout = 10 * time.Second
)

// life is one life of a gateway: what a route belongs to.
type life struct {
	node  string
	epoch cluster.Epoch
}

func lifeOf(r *cluster.Route) life { return life{r.Node, r.Epoch} }

// snapshot is one listing of the gateways; it is never changed.
type snapshot struct {
	nodes  []cluster.Node           // by id
	epochs map[string]cluster.Epoch // of each node
	spare  []rpc.LeaseNode          // the least loaded that take clients, best first; see spareNodes
}

// view is this node's view of the gateways' leases. When the registry is away it
// keeps the last one. It may be used concurrently.
type view struct {
	// Static after construction.
	leases Nodes
	errors *metrics.Counter
	log    *slog.Logger

	current   atomic.Pointer[snapshot] // nil until the first listing
	listing   chan struct{}            // holds one token; whoever has it may list
	complaint throttle

	mu   sync.Mutex // guards below
	dead map[life]time.Time
}

func newView(leases Nodes, errors *metrics.Counter, log *slog.Logger) *view {
	return &view{leases: leases, errors: errors, log: log, listing: make(chan struct{}, 1), dead: map[life]time.Time{}}
}

// run lists the leases until ctx ends.
func (v *view) run(ctx context.Context) {
	tick := time.NewTicker(viewEvery)
	defer tick.Stop()
	for {
		if err := v.refresh(ctx); err != nil && ctx.Err() == nil {
			v.complaint.warn(v.log, "list gateways; the last view is kept", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refresh lists the leases. Listings come one after another, so that an older one
// never takes the place of a newer one.
func (v *view) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case v.listing <- struct{}{}:
		defer func() { <-v.listing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	nodes, err := v.leases.List(ctx, cluster.RoleGateway)
	if err != nil {
		v.errors.Inc()
		v.forget()
		return fmt.Errorf("list gateways: %w", err)
	}
	s := &snapshot{nodes: nodes, epochs: make(map[string]cluster.Epoch, len(nodes)), spare: spareNodes(nodes)}
	for i := range nodes {
		s.epochs[nodes[i].ID] = nodes[i].Epoch
	}
	v.current.Store(s)
	v.revive(s)
	return nil
}

// forget starts all graces again: what was seen before the registry was away says
// nothing about after.
func (v *view) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.dead)
}

// revive takes the living out of the dead.
func (v *view) revive(s *snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for l := range v.dead {
		if s.alive(l) {
			delete(v.dead, l)
		}
	}
}

func (s *snapshot) alive(l life) bool {
	epoch, ok := s.epochs[l.node]
	return ok && epoch == l.epoch
}

// superseded says whether a later life of the same gateway holds the lease: l is
// dead for good.
func (s *snapshot) superseded(l life) bool { return s.epochs[l.node] > l.epoch }

// nodes are the gateways whose leases stand, by id; nobody may change them.
func (v *view) nodes() []cluster.Node {
	if s := v.current.Load(); s != nil {
		return s.nodes
	}
	return nil
}

// othersOf are gateways besides id that take clients, best first, at most
// rpc.MaxLeaseNodes. It asks nobody: every gateway calls it once a second.
func (v *view) othersOf(id string) []rpc.LeaseNode {
	s := v.current.Load()
	if s == nil {
		return nil
	}
	out := make([]rpc.LeaseNode, 0, rpc.MaxLeaseNodes)
	for _, n := range s.spare {
		if n.ID != id && len(out) < rpc.MaxLeaseNodes {
			out = append(out, n)
		}
	}
	return out
}

// alive says whether l holds its lease, as far as the view knows.
func (v *view) alive(l life) bool {
	s := v.current.Load()
	return s != nil && s.alive(l)
}

// judge makes the view good enough to decide about lives: if one is not in it and
// was not found dead before, the leases are listed, because its gateway may have
// come after the last listing. Afterwards alive is right about all of them.
func (v *view) judge(ctx context.Context, lives []life) error {
	if !v.doubtful(lives) {
		return nil
	}
	if err := v.refresh(ctx); err != nil {
		return err
	}
	now := time.Now()
	s := v.current.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range lives {
		if s.alive(l) {
			continue
		}
		if _, known := v.dead[l]; !known {
			v.buryLocked(l, now)
		}
	}
	return nil
}

// doubtful says whether any of lives is neither in the view nor known to be dead.
func (v *view) doubtful(lives []life) bool {
	s := v.current.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range lives {
		if s != nil && (s.alive(l) || s.superseded(l)) {
			continue
		}
		if _, dead := v.dead[l]; !dead {
			return true
		}
	}
	return false
}

// buryLocked remembers l as dead, in the place of any other one when full.
func (v *view) buryLocked(l life, now time.Time) {
	if len(v.dead) >= maxDead {
		for other := range v.dead {
			delete(v.dead, other)
			break
		}
	}
	v.dead[l] = now
}

// removable says whether the routes of l can go: a later life of that gateway
// holds the lease, or l has been seen dead for deadGrace without interruption.
func (v *view) removable(l life) bool {
	s := v.current.Load()
	if s == nil || s.alive(l) {
		return false
	}
	if s.superseded(l) {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	since, dead := v.dead[l]
	return dead && time.Since(since) >= deadGrace
}
