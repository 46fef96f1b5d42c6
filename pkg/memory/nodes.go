package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// forgetAfter is how long an ended lease is kept for people to look at.
const forgetAfter = time.Hour

type lease struct {
	node  cluster.Node
	until time.Time
}

type lock struct {
	owner string
	until time.Time
}

// Renew stores a node's lease; see logic.Nodes.
func (r *Registry) Renew(_ context.Context, n cluster.Node) (cluster.Epoch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	last := r.epochs[n.ID]
	if n.Epoch == 0 {
		n.Epoch = max(last+1, cluster.Epoch(now.UnixMicro()))
		r.forgetLocked(now)
	}
	if n.Epoch < last {
		return 0, cluster.ErrFenced
	}
	n.Renewed = now.Unix()
	r.epochs[n.ID] = n.Epoch
	r.leases[n.ID] = &lease{node: n, until: now.Add(cluster.LeaseTTL)}
	return n.Epoch, nil
}

// forgetLocked removes leases that ended long ago; it runs when a life begins,
// which is when their number can grow.
func (r *Registry) forgetLocked(now time.Time) {
	for id, l := range r.leases {
		if now.Sub(l.until) > forgetAfter {
			delete(r.leases, id)
		}
	}
}

// Leave ends a lease; see logic.Nodes.
func (r *Registry) Leave(_ context.Context, id string, epoch cluster.Epoch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.leases[id]; l != nil && l.node.Epoch == epoch {
		delete(r.leases, id)
	}
	return nil
}

// List returns the nodes whose leases stand; see logic.Nodes.
func (r *Registry) List(_ context.Context, role cluster.Role) ([]cluster.Node, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.now()
	var out []cluster.Node
	for _, l := range r.leases {
		if l.node.Role == role && now.Before(l.until) {
			out = append(out, l.node)
		}
	}
	slices.SortFunc(out, func(a, b cluster.Node) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// PinPartitions stores n as the number of partitions of topic if none is stored
// yet and returns what is stored. The caller must not go on if that differs.
func (r *Registry) PinPartitions(_ context.Context, topic string, n int32) (int32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pins[topic]; !ok {
		r.pins[topic] = n
	}
	return r.pins[topic], nil
}

// TryLock says whether owner holds the lock from now on for ttl: nobody held it,
// its time was over, or owner held it already and has it renewed. It does not
// wait.
func (r *Registry) TryLock(_ context.Context, name, owner string, ttl time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if l, ok := r.locks[name]; ok && l.owner != owner && now.Before(l.until) {
		return false, nil
	}
	r.locks[name] = lock{owner: owner, until: now.Add(ttl)}
	return true, nil
}
