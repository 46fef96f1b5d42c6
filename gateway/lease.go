package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// streamWait is how long a starting gateway waits for the delivery streams of
	// the jobs that live: without them it would miss messages. A job that does
	// not come within this time is taken for dead.
	streamWait = 10 * time.Second
	renewTime  = 2 * time.Second // of one call
)

// Node is what the gateway announces about itself.
func (srv *Server) Node() cluster.Node {
	cfg := &srv.cfg
	host := cfg.PublicHost
	if host == "" {
		host = srv.listen[0].bound.IP.String()
	}
	return cluster.Node{
		ID: cfg.ID, Role: cluster.RoleGateway, Epoch: srv.Epoch(), Version: cluster.Version, Build: srv.build,
		Internal: srv.internal, PublicHost: host, TCPPort: srv.listen.port("gateway.tcp_addr"), WSPort: srv.listen.port("gateway.ws_addr"), WSSPort: srv.listen.port("gateway.wss_addr"),
		Region: cfg.Region, Zone: cfg.Zone, Env: cfg.Env, Weight: cfg.Weight,
		Conns: srv.sessions.Load(), IPs: int64(srv.ips.count()), Draining: srv.draining.Load(),
		MaxConns: int64(cfg.MaxConnections), Full: srv.overMemory.Load(),
	}
}

// register begins this gateway's life in the registry and waits for the streams
// of the jobs. A job does the same in the other order (it takes its lease, then
// looks for gateways), so at least one of the two sees the other.
func (srv *Server) register(ctx context.Context) error {
	var lease []string
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		got, err := srv.renew(ctx)
		if err == nil {
			lease = got
			break
		}
		srv.warn("register at logic", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	deadline := time.Now().Add(streamWait)
	for !srv.streams.have(lease) {
		if time.Now().After(deadline) {
			srv.log.Warn("not all jobs have opened their delivery streams, going on without", "jobs", lease)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// renew renews the lease once and returns the jobs that live.
func (srv *Server) renew(ctx context.Context) (jobs []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	lease, err := srv.backend.Renew(ctx, srv.Node())
	if err != nil {
		return nil, err
	}
	if lease.Fenced {
		return nil, cluster.ErrFenced
	}
	srv.epoch.Store(uint64(lease.Epoch))
	srv.others.Store(&lease.Nodes)
	return lease.Jobs, nil
}

// keepLease renews until ctx ends. It returns an error when another process has
// taken this id: two gateways must not go by one name.
func (srv *Server) keepLease(ctx context.Context) error {
	tick := time.NewTicker(cluster.RenewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := srv.renew(ctx); err != nil {
			if errors.Is(err, cluster.ErrFenced) {
				return fmt.Errorf("gateway.id %q: %w", srv.cfg.ID, err)
			}
			if ctx.Err() == nil {
				srv.m.backendErrors.Inc()
				srv.warn("renew the lease", err)
			}
		}
	}
}
