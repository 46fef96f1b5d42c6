package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// Paths of logic's calls.
const (
	pathConnect    = "/internal/connect"
	pathDisconnect = "/internal/disconnect"
	pathRenew      = "/internal/renew"
	pathLeave      = "/internal/leave"
)

type disconnectBody struct {
	Version int             `json:"version"`
	Routes  []cluster.Route `json:"routes"`
}

type leaveBody struct {
	Version int           `json:"version"`
	Node    string        `json:"node"`
	Epoch   cluster.Epoch `json:"epoch"`
}

type empty struct{}

// LogicClient calls logic nodes: the one that answered last, and when it does
// not, the next. It may be used concurrently.
type LogicClient struct {
	caller
	addrs []string
	last  atomic.Uint32 // index of the node to try first
}

var _ Logic = (*LogicClient)(nil)

// NewLogicClient makes a client for the internal addresses (host:port) of logic
// nodes, at least one.
func NewLogicClient(addrs []string, secret string) *LogicClient {
	return &LogicClient{caller: newCaller(secret), addrs: addrs}
}

// call tries each node once, each for its share of the time that is left, so that
// one that is frozen does not use up all of it. The next call begins with the node
// that answered, not with one that did not.
func (c *LogicClient) call(ctx context.Context, path string, in, out any) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(defaultCall)
	}
	var errs []error
	nodes := uint32(len(c.addrs))
	first := c.last.Load()
	for i := range nodes {
		n := (first + i) % nodes
		share := time.Until(deadline) / time.Duration(nodes-i)
		try, cancel := context.WithTimeout(ctx, share)
		err := c.post(try, c.addrs[n], path, in, out)
		cancel()
		if err == nil {
			return nil
		}
		c.last.CompareAndSwap(n, (n+1)%nodes)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Connect implements Logic.
func (c *LogicClient) Connect(ctx context.Context, b ConnectBatch) (replies []ConnectReply, err error) {
	if err = c.call(ctx, pathConnect, b, &replies); err != nil {
		return nil, err
	}
	if len(replies) != len(b.Clients) {
		return nil, fmt.Errorf("call %s: %d answers for %d clients", pathConnect, len(replies), len(b.Clients))
	}
	return replies, nil
}

// Disconnect implements Logic.
func (c *LogicClient) Disconnect(ctx context.Context, routes []cluster.Route) error {
	return c.call(ctx, pathDisconnect, disconnectBody{cluster.Version, routes}, nil)
}

// Renew implements Logic.
func (c *LogicClient) Renew(ctx context.Context, n cluster.Node) (l Lease, err error) {
	return l, c.call(ctx, pathRenew, n, &l)
}

// Leave implements Logic.
func (c *LogicClient) Leave(ctx context.Context, id string, epoch cluster.Epoch) error {
	return c.call(ctx, pathLeave, leaveBody{cluster.Version, id, epoch}, nil)
}

// HandleLogic adds logic's calls to its internal address. base bounds them all.
func HandleLogic(base context.Context, in *Internal, l Logic) {
	in.Handle(pathConnect, handle(base, l.Connect))
	in.Handle(pathDisconnect, handle(base, func(ctx context.Context, b disconnectBody) (empty, error) {
		return empty{}, l.Disconnect(ctx, b.Routes)
	}))
	in.Handle(pathRenew, handle(base, l.Renew))
	in.Handle(pathLeave, handle(base, func(ctx context.Context, b leaveBody) (empty, error) {
		return empty{}, l.Leave(ctx, b.Node, b.Epoch)
	}))
}
