package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rooms"
	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/sysmem"
	"github.com/halley-im/halley/pkg/tlsloop"
)

// Server is one gateway: its loops, and what they share.
type Server struct {
	// Set by New, then read-only.
	cfg          Config
	backend      Backend
	rules        *rooms.Rules
	tls          *tlsloop.Pool // nil: no TLS
	certificates *tlsloop.Certificates
	log          *slog.Logger
	m            *counters
	build        string
	start        time.Time
	loops        []*loop
	directory    *directory
	interest     *interest
	admission    *admission
	registrar    *registrar
	streams      streams
	ready        chan struct{} // closed when clients are taken
	emptied      chan struct{} // closed when Drain was called
	empty        func()        // closes emptied, once
	throttle     throttle
	casts        castLimit
	ips          *ipCount
	rate         rate // of new connections

	kernelBuffer int   // bytes the kernel holds for a client that does not read
	maxBacklog   int64 // bound of backlog

	// Set by Listen, then read-only.
	listen   listeners
	internal string // host:port under which jobs and logic reach this node

	epoch      atomic.Uint64
	open       atomic.Int64                    // connections that were admitted
	sessions   atomic.Int64                    // authenticated ones
	backlog    atomic.Int64                    // bytes that wait for clients, the kernel's included
	overMemory atomic.Bool                     // no new connections
	others     atomic.Pointer[[]rpc.LeaseNode] // gateways that take clients, as logic named them last
	draining   atomic.Bool
	drainBy    atomic.Uint32 // coarse time by which all clients shall be closed
	ended      atomic.Bool   // no stream is taken any more
}

// Deps are what a gateway stands on.
type Deps struct {
	Backend Backend
	Rules   *rooms.Rules
	Build   string // the program's version, for the registry
	Log     *slog.Logger
	Metrics *metrics.Set
}

// New makes a gateway; it starts nothing. A zero cfg.Loops means one per core;
// cfg.MaxConnections and cfg.MaxBacklog must have been settled by the caller.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Loops == 0 {
		cfg.Loops = DefaultLoops()
	}
	srv := &Server{
		cfg: cfg, backend: deps.Backend, rules: deps.Rules, build: deps.Build, log: deps.Log,
		m: newCounters(deps.Metrics), start: time.Now(), interest: newInterest(), ready: make(chan struct{}),
		emptied: make(chan struct{}), ips: newIPCount(), maxBacklog: int64(cfg.MaxBacklog),
		kernelBuffer: 2 * cfg.Sndbuf, // socket(7): the kernel doubles what is asked for
	}
	srv.empty = sync.OnceFunc(func() { close(srv.emptied) })
	srv.rate.set(cfg.MaxHandshakes)
	if err := srv.prepareTLS(); err != nil {
		return nil, err
	}
	srv.streams.open = map[*stream]struct{}{}
	srv.admission = &admission{srv: srv, partitions: map[int32]*partition{}}
	srv.registrar = newRegistrar(srv)
	for i := range cfg.Loops {
		srv.loops = append(srv.loops, newLoop(srv, i))
	}
	srv.directory = newDirectory(srv.loops)
	srv.gauges(deps.Metrics)
	return srv, nil
}

// DefaultLoops is how many event loops a gateway has that was not told.
func DefaultLoops() int { return min(runtime.GOMAXPROCS(0), maxLoops) }

// Listen reserves the client addresses; internal is the address under which
// others reach this node. It returns what was bound by configuration key, without
// "gateway.". It must be called once, before Run.
func (srv *Server) Listen(internal string) (bound map[string]string, err error) {
	srv.internal, srv.listen = internal, listenersOf(&srv.cfg)
	if err := srv.listen.bind(); err != nil {
		return nil, err
	}
	bound = map[string]string{}
	for _, ln := range srv.listen {
		bound[strings.TrimPrefix(ln.key, "gateway.")] = ln.bound.String()
	}
	return bound, nil
}

// Ready is closed when the gateway takes clients.
func (srv *Server) Ready() <-chan struct{} { return srv.ready }

// Epoch is the life this gateway has registered; 0 before.
func (srv *Server) Epoch() cluster.Epoch { return cluster.Epoch(srv.epoch.Load()) }

// Conns is the number of open client connections, authenticated or not.
func (srv *Server) Conns() int { return int(srv.open.Load()) }

// ErrDrained is what Run returns when it ended because of Drain.
var ErrDrained = errors.New("drained")

// Drain closes all clients as the end of Run's ctx does, and returns at once. Run
// returns when the last has gone, or at the deadline. Further calls change nothing.
func (srv *Server) Drain() { srv.empty() }

// stuckAfter is how long a loop may miss its ticks before the node is unready.
const stuckAfter = 3 * time.Second

// Healthy reports why this gateway should not get clients, nil when it should.
func (srv *Server) Healthy() error {
	select {
	case <-srv.ready:
	default:
		return errors.New("not started yet")
	}
	if srv.draining.Load() {
		return errors.New("draining")
	}
	for _, l := range srv.loops {
		last := l.lastTick.Load()
		if late := time.Since(time.UnixMilli(last)); last != 0 && late > stuckAfter {
			return fmt.Errorf("event loop %d has not answered for %v", l.index, late.Round(time.Millisecond))
		}
	}
	return nil
}

// CloseReplaced ends the sessions of these routes if they are still theirs, also
// those that logic has registered and that are not here yet.
func (srv *Server) CloseReplaced(routes []cluster.Route) {
	for _, r := range routes {
		if r.Epoch != srv.Epoch() {
			continue
		}
		if held := srv.directory.replaced(r.Key, r.Stamp, time.Now()); held.loop != nil {
			held.loop.mailbox.post(replaced{held.id})
		}
	}
}

// Run registers the gateway, takes clients until ctx ends, then closes them
// within the drain timeout and leaves the registry. It returns when all it
// started is gone. An error means that it could not start, that another process
// has taken its id, or, ErrDrained, that Drain was called.
func (srv *Server) Run(ctx context.Context) error {
	defer srv.listen.close()
	// work outlives ctx: closing clients needs all of it.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	srv.registrar.ctx = work
	var services errgroup.Group
	services.Go(func() error { return srv.registrar.joining.run(work, srv.cfg.Workers) })
	services.Go(func() error { return srv.registrar.leaving.run(work, srv.cfg.Workers) })
	services.Go(func() error { srv.interest.run(work); return nil })
	services.Go(func() error { srv.watchMemory(work, sysmem.Here()); return nil })
	services.Go(func() error { return srv.runTLS(work) })

	err := srv.register(ctx)
	if err == nil {
		err = srv.serve(ctx, work)
	}
	srv.ended.Store(true)
	srv.streams.closeAll()
	stop()
	err = errors.Join(err, services.Wait())
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // stopped before it had started
	}
	return err
}

// serve runs the loops from the registration to the end of the drain. It returns
// why it ended, nil when ctx did.
func (srv *Server) serve(ctx, work context.Context) error {
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	leaseCtx, stopLease := context.WithCancel(work)
	loopsCtx, stopLoops := context.WithCancel(work)
	defer stopLoops()
	defer stopLease()

	var lease, loops, booting sync.WaitGroup
	booting.Add(len(srv.loops))
	for _, l := range srv.loops {
		booted := sync.OnceFunc(booting.Done)
		loops.Go(func() {
			if err := l.serve(loopsCtx, booted); err != nil {
				end(err)
			}
			booted()
		})
	}
	booting.Wait()
	lease.Go(func() {
		if err := srv.keepLease(leaseCtx); err != nil {
			end(err)
		}
	})
	close(srv.ready)

	select {
	case <-life.Done():
	case <-srv.emptied:
		end(ErrDrained)
	}
	srv.drain()
	stopLease()
	lease.Wait()
	srv.leave(work)
	stopLoops()
	for _, l := range srv.loops {
		go l.stop(work) // ends when the engine has
	}
	loops.Wait()
	if err := context.Cause(life); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// leave ends the lease: what routes are left count no more.
func (srv *Server) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	if err := srv.backend.Leave(ctx, srv.cfg.ID, srv.Epoch()); err != nil {
		srv.log.Warn("could not end the lease, it runs out by itself", "err", err)
	}
}

// sessionEnded lets go of an authenticated session's record and has its route
// removed.
func (srv *Server) sessionEnded(h handle) {
	srv.sessions.Add(-1)
	key, mid, stamp := srv.directory.remove(h)
	srv.registrar.leave(cluster.Route{Key: key, Mid: mid, Node: srv.cfg.ID, Epoch: srv.Epoch(), Stamp: stamp})
}

// throttle lets one warning pass per second and counts the others.
type throttle struct {
	mu      sync.Mutex
	last    time.Time // guarded by mu
	skipped int       // guarded by mu
}

// warn logs that doing what failed, at most once a second.
func (srv *Server) warn(what string, err error) {
	t := &srv.throttle
	t.mu.Lock()
	if time.Since(t.last) < time.Second {
		t.skipped++
		t.mu.Unlock()
		return
	}
	skipped := t.skipped
	t.last, t.skipped = time.Now(), 0
	t.mu.Unlock()
	srv.log.Warn("could not "+what, "err", err, "similar", skipped)
}
