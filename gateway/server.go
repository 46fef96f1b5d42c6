package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"

	"github.com/halley-im/halley/pkg/cluster"
)

// Server is one gateway: its loops, and what they share.
type Server struct {
	// Set by New, then read-only.
	cfg       Config
	backend   Backend
	log       *slog.Logger
	m         *counters
	build     string
	start     time.Time
	loops     []*loop
	directory *directory
	interest  *interest
	admission *admission
	registrar *registrar
	streams   streams
	ready     chan struct{} // closed when clients are taken
	throttle  throttle
	casts     castLimit
	ips       ipCount

	// Set by Listen, then read-only.
	listen   *listeners
	internal string // host:port under which jobs and logic reach this node

	epoch    atomic.Uint64
	sessions atomic.Int64 // authenticated ones
	draining atomic.Bool
	drainBy  atomic.Uint32 // coarse time by which all clients shall be closed
	ended    atomic.Bool   // no stream is taken any more
}

// New makes a gateway; it starts nothing. build is the program's version, for
// the registry. A zero cfg.Loops means one per core; cfg.MaxConnections must
// have been settled by the caller.
func New(cfg Config, backend Backend, build string, log *slog.Logger, set *metrics.Set) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Loops == 0 {
		cfg.Loops = min(runtime.GOMAXPROCS(0), maxLoops)
	}
	srv := &Server{
		cfg: cfg, backend: backend, build: build, log: log, m: newCounters(set), start: time.Now(),
		directory: newDirectory(), interest: newInterest(), ready: make(chan struct{}),
	}
	srv.streams.open = map[*stream]struct{}{}
	srv.ips.sessions = map[string]int{}
	srv.admission = &admission{srv: srv, partitions: map[int32]*partition{}}
	srv.registrar = newRegistrar(srv)
	for i := range cfg.Loops {
		srv.loops = append(srv.loops, newLoop(srv, i))
	}
	srv.gauges(set)
	return srv, nil
}

// Listen reserves the client addresses; internal is the address under which
// others reach this node. It must be called once, before Run.
func (srv *Server) Listen(internal string) (tcp, ws net.Addr, err error) {
	if srv.listen, err = bind(srv.cfg.TCPAddr, srv.cfg.WSAddr); err != nil {
		return nil, nil, err
	}
	srv.internal = internal
	return srv.listen.tcp, srv.listen.ws, nil
}

// Ready is closed when the gateway takes clients.
func (srv *Server) Ready() <-chan struct{} { return srv.ready }

// Epoch is the life this gateway has registered; 0 before.
func (srv *Server) Epoch() cluster.Epoch { return cluster.Epoch(srv.epoch.Load()) }

// Conns is the number of open client connections, authenticated or not.
func (srv *Server) Conns() int {
	n := 0
	for _, l := range srv.loops {
		n += int(l.conns.Load())
	}
	return n
}

// full says that the connection just opened is one too many.
func (srv *Server) full() bool {
	return srv.cfg.MaxConnections > 0 && srv.Conns() > srv.cfg.MaxConnections
}

// stuckAfter is how long a loop may miss its ticks before the node is unready.
const stuckAfter = 2 * time.Second

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
		if late := time.Since(time.UnixMilli(l.lastTick.Load())); late > stuckAfter {
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
// started is gone. An error means that it could not start, or that another
// process has taken its id.
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

	<-life.Done()
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

// drain refuses new connections and closes those there are, until none is left,
// their routes are removed, or the time is up.
func (srv *Server) drain() {
	deadline := time.Now().Add(srv.cfg.DrainTimeout)
	// Half of the time is for closing, the rest for goodbyes and routes. Each loop
	// begins with its next tick.
	srv.drainBy.Store(srv.coarse() + uint32(ticks(srv.cfg.DrainTimeout/2)))
	srv.draining.Store(true)
	for time.Now().Before(deadline) && (srv.Conns() > 0 || !srv.registrar.settled()) {
		time.Sleep(10 * time.Millisecond)
	}
	if left := srv.sessions.Load(); left > 0 {
		srv.log.Warn("not all clients could be closed in time", "left", left)
	}
}

// leave ends the lease: what routes are left count no more.
func (srv *Server) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	if err := srv.backend.Leave(ctx, srv.cfg.ID, srv.Epoch()); err != nil {
		srv.log.Warn("could not end the lease, it runs out by itself", "err", err)
	}
}

// sessionBegan counts an authenticated session.
func (srv *Server) sessionBegan(s *session) {
	srv.sessions.Add(1)
	srv.ips.add(s.ip, 1)
}

// sessionEnded undoes sessionBegan and has the route removed.
func (srv *Server) sessionEnded(s *session) {
	srv.sessions.Add(-1)
	srv.ips.add(s.ip, -1)
	srv.registrar.leave(s.route())
}

// ipCount counts the distinct addresses of authenticated clients.
type ipCount struct {
	mu       sync.Mutex
	sessions map[string]int // guarded by mu
}

func (c *ipCount) add(ip string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions[ip] += n; c.sessions[ip] <= 0 {
		delete(c.sessions, ip)
	}
}

func (c *ipCount) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
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
