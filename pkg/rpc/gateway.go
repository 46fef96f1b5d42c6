package rpc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	pathCloseReplaced = "/internal/close-replaced"
	// PathDrain is for operators as well: POST, no body.
	PathDrain = "/drain"
)

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

// Drain has the gateway n begin to empty itself; see Drainer. It returns when the
// gateway has begun, long before it is empty.
func (c *GatewayClient) Drain(ctx context.Context, n cluster.Node) error {
	if err := c.post(ctx, n.Internal, PathDrain, empty{}, nil); err != nil {
		return fmt.Errorf("drain %s: %w", n.ID, err)
	}
	return nil
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

// HandleDrain adds POST /drain to a gateway's internal address, for its operator:
//
//	curl -X POST -H "Authorization: Bearer $SECRET" http://127.0.0.1:3109/drain
//
// The answer is 200 with {"draining":true}, also when the drain had begun before. A
// body is not looked at.
func HandleDrain(in *Internal, d Drainer, log *slog.Logger) {
	in.Handle(PathDrain, func(rc *fasthttp.RequestCtx) {
		if !onlyPost(rc) {
			return
		}
		log.Info("drain: asked for", "by", rc.RemoteAddr().String())
		d.Drain()
		rc.SetContentType("application/json")
		rc.SetBodyString("{\"draining\":true}\n")
	})
}
