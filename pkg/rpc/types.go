package rpc

import (
	"context"

	"github.com/halley-im/halley/pkg/cluster"
)

// ConnectRequest asks logic who a client is and to register it.
type ConnectRequest struct {
	Token  []byte `json:"token"`            // as the client sent it
	Cookie string `json:"cookie,omitempty"` // of the WebSocket upgrade
	IP     string `json:"ip,omitempty"`     // of the client
	IM     bool   `json:"im,omitempty"`     // it speaks im-cloud's dialect, of which some fields are required
}

// ConnectReply tells who a client is. Error is for the log and the metric: the
// client is not told why it was refused.
type ConnectReply struct {
	Error    string        `json:"error,omitempty"` // refused; all else is zero
	App      string        `json:"app,omitempty"`
	Mid      int64         `json:"mid"`
	Key      string        `json:"key"`  // not scoped
	Room     string        `json:"room"` // not scoped; "" none
	Platform string        `json:"platform,omitempty"`
	Accepts  []int32       `json:"accepts"`
	Hints    bool          `json:"hints,omitempty"` // it asked to be told by op 6 when to reconnect
	Stamp    cluster.Stamp `json:"stamp"`           // the route is stored under it; 0: a newer connection of that key stands
}

// ConnectBatch is the body of one connect call: the clients of one gateway.
type ConnectBatch struct {
	Version int              `json:"version"`
	Node    string           `json:"node"`
	Epoch   cluster.Epoch    `json:"epoch"`
	Clients []ConnectRequest `json:"clients"`
}

// Lease is logic's answer to a renewal: the epoch, the jobs whose leases stand,
// from which the gateway expects delivery streams, and where clients can go that
// it cannot take.
type Lease struct {
	Version int           `json:"version"`
	Epoch   cluster.Epoch `json:"epoch"`
	Fenced  bool          `json:"fenced,omitempty"` // a newer life of this id stands
	Jobs    []string      `json:"jobs"`
	// Nodes are other gateways that take clients, the least loaded first, at most
	// MaxLeaseNodes, none when no other does. They are what the logic node knew at
	// the time: at most 1.5 s old while the registry answers, else the last it knew.
	Nodes []LeaseNode `json:"nodes,omitempty"`
}

// MaxLeaseNodes is how many gateways a Lease names: as many as goim's
// nodes/weighted.
const MaxLeaseNodes = 5

// LeaseNode is a gateway as a client that was refused elsewhere needs it; a port
// of 0 is not served. Max is 0 where the gateway has not said it.
type LeaseNode struct {
	ID      string `json:"id"`
	Host    string `json:"host"` // its public one, never empty
	TCPPort int    `json:"tcp_port,omitempty"`
	WSPort  int    `json:"ws_port,omitempty"`
	WSSPort int    `json:"wss_port,omitempty"`
	Conns   int64  `json:"conns"`
	Max     int64  `json:"max,omitempty"`
}

// Logic is what logic offers to gateways; *logic.Logic and LogicClient have it.
type Logic interface {
	// Connect authenticates and registers clients and answers in order. When it
	// returns, the routes are stored. An error means that nothing is known
	// about any of them and the call may be repeated.
	Connect(ctx context.Context, b ConnectBatch) ([]ConnectReply, error)
	// Disconnect removes routes that still stand as given; see logic.Registry.
	Disconnect(ctx context.Context, routes []cluster.Route) error
	// Renew renews the gateway's lease; Epoch 0 begins a new life.
	Renew(ctx context.Context, n cluster.Node) (Lease, error)
	// Leave ends the lease of a gateway's life.
	Leave(ctx context.Context, id string, epoch cluster.Epoch) error
}

// Closer is what a gateway offers to logic beside deliveries.
type Closer interface {
	// CloseReplaced closes the sessions of these routes, if epoch and stamp are
	// still theirs.
	CloseReplaced(routes []cluster.Route)
}

// Drainer is what a gateway offers to its operator. It stands apart from Closer:
// it is called by hand, not by logic.
type Drainer interface {
	// Drain begins to empty the gateway as SIGTERM does, and returns at once. The
	// process ends when the last client has gone, or at its deadline. Further calls
	// change nothing.
	Drain()
}
