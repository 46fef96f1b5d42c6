package rpc

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/halley-im/halley/pkg/cluster"
)

const pathCloseReplaced = "/internal/close-replaced"

// GatewayClient reaches gateways: calls from logic, delivery streams from job.
// It may be used concurrently.
type GatewayClient struct{ caller }

// NewGatewayClient makes a client; gateways are named by each call.
func NewGatewayClient(secret string) *GatewayClient { return &GatewayClient{newCaller(secret)} }

type closeBody struct {
	Version int             `json:"version"`
	Routes  []cluster.Route `json:"routes"`
}

// CloseReplaced implements logic.Gateways. Routes of nodes that are not among
// nodes are left alone: their gateways are gone.
func (c *GatewayClient) CloseReplaced(ctx context.Context, nodes []cluster.Node, routes []cluster.Route) error {
	byNode := map[string][]cluster.Route{}
	for _, r := range routes {
		byNode[r.Node] = append(byNode[r.Node], r)
	}
	var calls errgroup.Group // at the same time: one that is frozen holds up no other
	for _, n := range nodes {
		if len(byNode[n.ID]) == 0 {
			continue
		}
		calls.Go(func() error {
			err := c.post(ctx, n.Internal, pathCloseReplaced, closeBody{cluster.Version, byNode[n.ID]}, nil)
			if err != nil {
				err = fmt.Errorf("close replaced sessions on %s: %w", n.ID, err)
			}
			return err
		})
	}
	return calls.Wait()
}

// HandleGateway adds a gateway's calls, and the delivery stream, to its internal
// address. base bounds them all.
func HandleGateway(base context.Context, in *Internal, g interface {
	Closer
	Deliverer
}, log *slog.Logger) {
	in.Handle(pathCloseReplaced, handle(base, func(_ context.Context, b closeBody) (empty, error) {
		g.CloseReplaced(b.Routes)
		return empty{}, nil
	}))
	in.Handle(pathDeliver, deliverHandler(base, g, log))
}
