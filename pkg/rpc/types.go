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
	Stamp    cluster.Stamp `json:"stamp"` // the route is stored under it; 0: a newer connection of that key stands
}

// ConnectBatch is the body of one connect call: the clients of one gateway.
type ConnectBatch struct {
	Version int              `json:"version"`
	Node    string           `json:"node"`
	Epoch   cluster.Epoch    `json:"epoch"`
	Clients []ConnectRequest `json:"clients"`
}

// Lease is logic's answer to a renewal: the epoch, and the jobs whose leases
// stand, from which the gateway expects delivery streams.
type Lease struct {
	Version int           `json:"version"`
	Epoch   cluster.Epoch `json:"epoch"`
	Fenced  bool          `json:"fenced,omitempty"` // a newer life of this id stands
	Jobs    []string      `json:"jobs"`
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
