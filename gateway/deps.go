package gateway

import (
	"context"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
)

// Backend decides who a client is and keeps the registry: *logic.Logic in one
// process, *rpc.LogicClient otherwise. Methods may be called concurrently, may
// block, and honour ctx; they are never called on a loop.
type Backend interface {
	// Connect authenticates and registers clients; see rpc.Logic.
	Connect(ctx context.Context, b rpc.ConnectBatch) ([]rpc.ConnectReply, error)
	// Disconnect removes routes that still stand as given.
	Disconnect(ctx context.Context, routes []cluster.Route) error
	// Renew renews this gateway's lease; Epoch 0 begins a new life.
	Renew(ctx context.Context, n cluster.Node) (rpc.Lease, error)
	// Leave ends the lease.
	Leave(ctx context.Context, id string, epoch cluster.Epoch) error
}
