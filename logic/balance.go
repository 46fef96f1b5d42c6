package logic

import (
	"slices"
	"sync"

	"github.com/halley-im/halley/pkg/cluster"
)

// MaxWeighted is how many gateways Weighted names, as goim does.
const MaxWeighted = 5

// balancer spreads newcomers over the gateways. Between two renewals of a gateway
// its number of connections does not change here, so the balancer counts whom it
// sent there meanwhile. It may be used concurrently.
type balancer struct {
	mu   sync.Mutex // guards below
	sent map[string]sent
}

type sent struct {
	renewed int64 // the renewal since which was counted
	n       int64
}

func newBalancer() *balancer { return &balancer{sent: map[string]sent{}} }

// Weighted are the gateways that a newcomer should try, best first: those with
// the fewest connections for their weight. Draining ones and such without a
// public host are left out. All have the ports of the first, because an answer
// has room for one set of ports. At most MaxWeighted.
func (l *Logic) Weighted() []cluster.Node { return l.balancer.choose(l.view.nodes()) }

func (b *balancer) choose(nodes []cluster.Node) []cluster.Node {
	type scored struct {
		node *cluster.Node
		load float64
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked(nodes)
	open := make([]scored, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		if n.Draining || n.PublicHost == "" {
			continue
		}
		s := b.sent[n.ID]
		if s.renewed != n.Renewed {
			s = sent{renewed: n.Renewed}
			b.sent[n.ID] = s
		}
		open = append(open, scored{n, float64(n.Conns+s.n) / float64(max(n.Weight, 1))})
	}
	slices.SortStableFunc(open, func(x, y scored) int {
		switch {
		case x.load != y.load && x.load < y.load:
			return -1
		case x.load != y.load:
			return 1
		default: // equally loaded, as all are at first: the stronger one
			return max(y.node.Weight, 1) - max(x.node.Weight, 1)
		}
	})
	var out []cluster.Node
	for _, s := range open {
		if len(out) < MaxWeighted && (len(out) == 0 || samePorts(&out[0], s.node)) {
			out = append(out, *s.node)
		}
	}
	if len(out) > 0 {
		first := b.sent[out[0].ID]
		first.n++
		b.sent[out[0].ID] = first
	}
	return out
}

func samePorts(a, b *cluster.Node) bool {
	return a.TCPPort == b.TCPPort && a.WSPort == b.WSPort && a.WSSPort == b.WSSPort
}

// forgetLocked drops gateways that are gone once they are the most.
func (b *balancer) forgetLocked(nodes []cluster.Node) {
	if len(b.sent) <= 2*len(nodes)+16 {
		return
	}
	for id := range b.sent {
		if !slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.ID == id }) {
			delete(b.sent, id)
		}
	}
}
