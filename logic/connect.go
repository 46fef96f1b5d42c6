package logic

import (
	"context"
	"errors"
	"fmt"

	"github.com/halley-im/halley/pkg/auth"
	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
)

// checkVersion refuses callers more than one version away.
func checkVersion(v int) error {
	if v < cluster.Version-1 || v > cluster.Version+1 {
		return fmt.Errorf("version %d of the caller does not work with version %d here", v, cluster.Version)
	}
	return nil
}

// Connect authenticates the clients of a batch and registers those it lets in, in
// one call to the registry; see rpc.Logic. Sessions of the same keys on other
// gateways are closed afterwards; the calling gateway sees to its own.
func (l *Logic) Connect(ctx context.Context, b rpc.ConnectBatch) ([]rpc.ConnectReply, error) {
	if err := checkVersion(b.Version); err != nil {
		return nil, err
	}
	if b.Node == "" || b.Epoch == 0 {
		return nil, errors.New("connect: node and epoch are needed")
	}
	replies := make([]rpc.ConnectReply, len(b.Clients))
	routes := make([]cluster.Route, 0, len(b.Clients))
	place := make([]int, 0, len(b.Clients)) // of each route in replies
	for i := range b.Clients {
		parse := auth.ParseOpen
		if b.Clients[i].IM {
			parse = auth.ParseIM
		}
		id, err := parse(b.Clients[i].Token)
		if err != nil {
			l.m.refused.Inc()
			replies[i].Error = err.Error()
			continue
		}
		replies[i] = rpc.ConnectReply{
			App: id.App, Mid: id.Mid, Key: id.Key, Room: id.Room, Platform: id.Platform, Accepts: id.Accepts, Hints: id.Hints,
		}
		r := cluster.Route{Key: cluster.Scope(id.App, id.Key), Node: b.Node, Epoch: b.Epoch}
		if id.Mid > 0 {
			r.Mid = midName(id.App, id.Mid)
		}
		routes, place = append(routes, r), append(place, i)
	}
	if len(routes) == 0 {
		return replies, nil
	}
	stored, err := l.deps.Registry.Connect(ctx, routes)
	if err != nil {
		return nil, fmt.Errorf("register %d clients of %s: %w", len(routes), b.Node, err)
	}
	if len(stored) != len(routes) {
		return nil, fmt.Errorf("register %d clients of %s: %d answers", len(routes), b.Node, len(stored))
	}
	var displaced []cluster.Route
	for k := range stored {
		replies[place[k]].Stamp = stored[k].Stamp
		if d := stored[k].Displaced; d.Node != "" && d.Node != b.Node {
			displaced = append(displaced, d)
		}
	}
	l.m.connects.Add(len(stored))
	l.replace(displaced)
	return replies, nil
}

// Disconnect removes the routes that still stand as given; see rpc.Logic.
func (l *Logic) Disconnect(ctx context.Context, routes []cluster.Route) error {
	if len(routes) == 0 {
		return nil
	}
	if err := l.deps.Registry.Disconnect(ctx, routes); err != nil {
		return fmt.Errorf("remove %d routes: %w", len(routes), err)
	}
	return nil
}

// Renew renews the lease of a gateway and names the jobs whose leases stand, and
// other gateways that take clients; see rpc.Logic. A newer life of its id is told
// by Fenced, not by an error.
func (l *Logic) Renew(ctx context.Context, n cluster.Node) (rpc.Lease, error) {
	if err := checkVersion(n.Version); err != nil {
		return rpc.Lease{}, err
	}
	if n.ID == "" || n.Role != cluster.RoleGateway {
		return rpc.Lease{}, fmt.Errorf("renew: node %q of role %q is no gateway", n.ID, n.Role)
	}
	epoch, err := l.deps.Nodes.Renew(ctx, n)
	if errors.Is(err, ErrFenced) {
		return rpc.Lease{Version: cluster.Version, Epoch: n.Epoch, Fenced: true}, nil
	}
	if err != nil {
		return rpc.Lease{}, fmt.Errorf("renew the lease of %s: %w", n.ID, err)
	}
	jobs, err := l.deps.Nodes.List(ctx, cluster.RoleJob)
	if err != nil {
		return rpc.Lease{}, fmt.Errorf("list jobs: %w", err)
	}
	lease := rpc.Lease{Version: cluster.Version, Epoch: epoch, Jobs: make([]string, len(jobs))}
	for i := range jobs {
		lease.Jobs[i] = jobs[i].ID
	}
	lease.Nodes = l.view.othersOf(n.ID)
	return lease, nil
}

// Leave ends the lease of a gateway's life; see rpc.Logic.
func (l *Logic) Leave(ctx context.Context, id string, epoch cluster.Epoch) error {
	if err := l.deps.Nodes.Leave(ctx, id, epoch); err != nil {
		return fmt.Errorf("end the lease of %s: %w", id, err)
	}
	return nil
}
