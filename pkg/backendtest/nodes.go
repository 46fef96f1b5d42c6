package backendtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/testkit"
)

// NodesBackend is logic.Nodes, whose comments are the contract tested.
type NodesBackend interface {
	Renew(ctx context.Context, n cluster.Node) (cluster.Epoch, error)
	Leave(ctx context.Context, id string, epoch cluster.Epoch) error
	List(ctx context.Context, role cluster.Role) ([]cluster.Node, error)
}

// Nodes tests a list of leases. open returns an empty one for each test and
// cleans up after it through t.
func Nodes(t *testing.T, open func(t testing.TB) NodesBackend) {
	for _, c := range []struct {
		name string
		run  func(n nodes)
	}{
		{"a node is listed as it said", nodeListed},
		{"roles", nodeRoles},
		{"a new life fences the old one", newLifeFences},
		{"a known epoch is taken over", knownEpoch},
		{"leave compares", leaveCompares},
		{"concurrent lives of one id", concurrentLives},
		{"a lease ends", leaseEnds},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(nodes{t, open(t)}) })
	}
}

type nodes struct {
	t testing.TB
	b NodesBackend
}

func (n nodes) renew(node cluster.Node) cluster.Epoch {
	n.t.Helper()
	epoch, err := n.b.Renew(n.t.Context(), node)
	if err != nil {
		n.t.Fatalf("renew %s: %v", node.ID, err)
	}
	if node.Epoch != 0 && epoch != node.Epoch {
		n.t.Fatalf("renew %s under epoch %d: now %d", node.ID, node.Epoch, epoch)
	}
	return epoch
}

func (n nodes) fenced(node cluster.Node) {
	n.t.Helper()
	if epoch, err := n.b.Renew(n.t.Context(), node); !errors.Is(err, cluster.ErrFenced) {
		n.t.Fatalf("renew %s under epoch %d: %d, %v, want it fenced", node.ID, node.Epoch, epoch, err)
	}
}

func (n nodes) leave(id string, epoch cluster.Epoch) {
	n.t.Helper()
	if err := n.b.Leave(n.t.Context(), id, epoch); err != nil {
		n.t.Fatalf("leave: %v", err)
	}
}

func (n nodes) list(role cluster.Role) []cluster.Node {
	n.t.Helper()
	all, err := n.b.List(n.t.Context(), role)
	if err != nil {
		n.t.Fatalf("list: %v", err)
	}
	return all
}

// listed checks ids and epochs of the gateways.
func (n nodes) listed(wanted ...cluster.Node) {
	n.t.Helper()
	var got, is []string
	for _, x := range n.list(cluster.RoleGateway) {
		got = append(got, fmt.Sprint(x.ID, " ", x.Epoch))
	}
	for _, x := range wanted {
		is = append(is, fmt.Sprint(x.ID, " ", x.Epoch))
	}
	want(n.t, "listed", got, is)
}

func gateway(id string, epoch cluster.Epoch) cluster.Node {
	return cluster.Node{ID: id, Role: cluster.RoleGateway, Epoch: epoch, Version: cluster.Version, Internal: "127.0.0.1:3109"}
}

func nodeListed(n nodes) {
	node := cluster.Node{
		ID: "gw {1}:ключ", Role: cluster.RoleGateway, Version: cluster.Version, Build: "v1", Internal: "10.0.0.1:3109",
		PublicHost: "one.example.org", TCPPort: 3101, WSPort: 3102, WSSPort: 3103,
		Region: "sh", Zone: "sh001", Env: "dev", Weight: 10, Conns: 1 << 40, IPs: 7, MaxConns: 1 << 41, Full: true, Draining: true,
	}
	want(n.t, "listed before", len(n.list(cluster.RoleGateway)), 0)
	node.Epoch = n.renew(node)
	got := n.list(cluster.RoleGateway)
	// Both are the registry's clock at the same moment.
	node.Renewed = int64(node.Epoch / 1e6)
	want(n.t, "listed", got, []cluster.Node{node})

	node.Conns, node.MaxConns, node.Full, node.Draining, node.Build = 0, 0, false, false, ""
	n.renew(node)
	got = n.list(cluster.RoleGateway)
	if len(got) != 1 || got[0].Renewed < node.Renewed {
		n.t.Fatalf("listed after a renewal: %+v", got)
	}
	node.Renewed = got[0].Renewed
	want(n.t, "listed after a renewal", got, []cluster.Node{node})
}

func nodeRoles(n nodes) {
	for _, id := range []string{"c", "a", "b"} {
		n.renew(cluster.Node{ID: id, Role: cluster.RoleGateway})
		n.renew(cluster.Node{ID: id + "-job", Role: cluster.RoleJob})
	}
	ids := func(role cluster.Role) (ids []string) {
		for _, x := range n.list(role) {
			ids = append(ids, x.ID)
		}
		return ids
	}
	want(n.t, "gateways", ids(cluster.RoleGateway), []string{"a", "b", "c"})
	want(n.t, "jobs", ids(cluster.RoleJob), []string{"a-job", "b-job", "c-job"})
	want(n.t, "others", len(ids("other")), 0)
}

func newLifeFences(n nodes) {
	old := gateway("a", 0)
	old.Epoch = n.renew(old)
	n.renew(old)
	next := gateway("a", 0)
	next.Epoch = n.renew(next)
	if next.Epoch <= old.Epoch {
		n.t.Fatalf("epoch %d does not follow %d", next.Epoch, old.Epoch)
	}
	n.fenced(old)
	n.listed(next)
	n.renew(next)
	n.leave("a", next.Epoch)
	n.listed()
	n.fenced(old) // also when the newer life has ended
	n.listed()
	third := gateway("a", 0)
	if third.Epoch = n.renew(third); third.Epoch <= next.Epoch {
		n.t.Fatalf("epoch %d does not follow %d", third.Epoch, next.Epoch)
	}
	n.listed(third)
}

// knownEpoch: a registry that has lost its data takes a node's word for its
// epoch, and goes on from there.
func knownEpoch(n nodes) {
	ahead := gateway("a", 4_000_000_000_000_000) // in the year 2096
	n.renew(ahead)
	n.listed(ahead)
	n.fenced(gateway("a", ahead.Epoch-1))
	want(n.t, "next life", n.renew(gateway("a", 0)), ahead.Epoch+1)
}

func leaveCompares(n nodes) {
	a, b := gateway("a", 0), gateway("b", 0)
	a.Epoch, b.Epoch = n.renew(a), n.renew(b)
	n.leave("a", a.Epoch-1)
	n.leave("a", a.Epoch+1)
	n.leave("a", 0)
	n.leave("unknown", 1)
	n.listed(a, b)
	n.leave("a", a.Epoch)
	n.listed(b)
	n.leave("a", a.Epoch)
	n.renew(a) // it left by mistake and comes back as the same life
	n.listed(a, b)
}

func concurrentLives(n nodes) {
	var mu sync.Mutex
	var newest cluster.Epoch
	lives := make(map[cluster.Epoch]bool)
	parallel(8, func(int) {
		for range 10 {
			epoch, err := n.b.Renew(n.t.Context(), gateway("a", 0))
			if err != nil {
				n.t.Errorf("renew: %v", err)
				return
			}
			mu.Lock()
			lives[epoch] = true
			newest = max(newest, epoch)
			mu.Unlock()
		}
	})
	want(n.t, "number of different epochs", len(lives), 80)
	for epoch := range lives {
		if epoch != newest {
			n.fenced(gateway("a", epoch))
		}
	}
	n.listed(gateway("a", newest))
}

func leaseEnds(n nodes) {
	kept, lost := gateway("kept", 0), gateway("lost", 0)
	kept.Epoch, lost.Epoch = n.renew(kept), n.renew(lost)
	n.listed(kept, lost)
	testkit.Eventually(n.t, 4*cluster.LeaseTTL, func() bool {
		n.renew(kept)
		return len(n.list(cluster.RoleGateway)) == 1
	}, "one lease ends")
	n.listed(kept)

	// An ended lease is not a fenced one.
	n.renew(lost)
	n.listed(kept, lost)
}
