package logic

import (
	"cmp"
	"slices"
	"sync"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
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
// the fewest connections for their weight. Such without a public host are left
// out, and those that take no connections, full or draining, unless there are no
// others: then full ones are named, which may have room again any moment, and
// draining ones only where all are. All have the ports of the first, because an
// answer has room for one set of ports. At most MaxWeighted.
func (l *Logic) Weighted() []cluster.Node { return l.balancer.choose(l.view.nodes()) }

// scored is a gateway in the order in which newcomers should try it.
type scored struct {
	node *cluster.Node
	shut int     // 0 takes connections, 1 is full, 2 is draining
	load float64 // connections for its weight
}

// score judges n, to which sent newcomers were sent since it renewed.
func score(n *cluster.Node, sent int64) scored {
	s := scored{node: n, load: float64(n.Conns+sent) / float64(max(n.Weight, 1))}
	switch {
	case n.Draining:
		s.shut = 2
	case n.Full, n.MaxConns > 0 && n.Conns+sent >= n.MaxConns:
		s.shut = 1
	}
	return s
}

// compare says which of two should be tried before the other.
func (s scored) compare(o scored) int {
	return cmp.Or(cmp.Compare(s.shut, o.shut), cmp.Compare(s.load, o.load),
		cmp.Compare(max(o.node.Weight, 1), max(s.node.Weight, 1))) // equally loaded, as all are at first: the stronger one
}

// spareNodes are the gateways that take connections, best first: as many as a
// lease names, and one for the case that it is the asking one.
func spareNodes(nodes []cluster.Node) []rpc.LeaseNode {
	open := make([]scored, 0, len(nodes))
	for i := range nodes {
		if s := score(&nodes[i], 0); s.shut == 0 && s.node.PublicHost != "" {
			open = append(open, s)
		}
	}
	slices.SortStableFunc(open, scored.compare)
	var out []rpc.LeaseNode
	for _, s := range open[:min(len(open), rpc.MaxLeaseNodes+1)] {
		out = append(out, rpc.LeaseNode{
			ID: s.node.ID, Host: s.node.PublicHost,
			TCPPort: s.node.TCPPort, WSPort: s.node.WSPort, WSSPort: s.node.WSSPort,
			Conns: s.node.Conns, Max: s.node.MaxConns,
		})
	}
	return out
}

func (b *balancer) choose(nodes []cluster.Node) []cluster.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked(nodes)
	list := make([]scored, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		if n.PublicHost == "" {
			continue
		}
		s := b.sent[n.ID]
		if s.renewed != n.Renewed {
			s = sent{renewed: n.Renewed}
			b.sent[n.ID] = s
		}
		list = append(list, score(n, s.n))
	}
	slices.SortStableFunc(list, scored.compare)
	var out []cluster.Node
	for _, s := range list {
		if len(out) < MaxWeighted && s.shut == list[0].shut && (len(out) == 0 || samePorts(&out[0], s.node)) {
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
