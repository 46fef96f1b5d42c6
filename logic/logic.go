package logic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
)

// Logic is one logic node. Its methods may be called concurrently, before, during
// and after Run; without Run nothing that was accepted is enqueued.
type Logic struct {
	// Static after construction.
	cfg        Config
	deps       Deps
	log        *slog.Logger
	m          *counters
	partitions int32
	view       *view
	flight     *flight
	repeats    *repeats
	balancer   *balancer

	wake     chan struct{} // holds a token when the log may have grown
	draining chan struct{} // closed when nothing is accepted any more
	lanes    []chan *part  // one per producer; the bound of flight is also theirs
	replaced chan []cluster.Route
	stale    chan []cluster.Route
	last     atomic.Uint64 // greatest index the log has given

	publishComplaint, registryComplaint, spoolComplaint, replaceComplaint throttle

	intake   sync.RWMutex // guards below; read-held while something is appended
	stopping bool
}

var _ rpc.Logic = (*Logic)(nil)

// New makes a logic node; it starts nothing. set gets its metrics and must not
// have those of another Logic.
func New(cfg Config, deps Deps, log *slog.Logger, set *metrics.Set) (*Logic, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Registry == nil || deps.Nodes == nil || deps.Locks == nil || deps.Rooms == nil ||
		deps.Publisher == nil || deps.Spool == nil || deps.Gateways == nil {
		return nil, errors.New("logic: a dependency is missing")
	}
	partitions := deps.Publisher.Partitions()
	if partitions < 1 {
		return nil, fmt.Errorf("logic: the queue has %d partitions", partitions)
	}
	m := newCounters(set)
	l := &Logic{
		cfg: cfg, deps: deps, log: log, m: m,
		partitions: partitions,
		view:       newView(deps.Nodes, m.viewErrors, log),
		flight:     newFlight(m),
		repeats:    newRepeats(cfg.PushIDs),
		balancer:   newBalancer(),
		wake:       make(chan struct{}, 1),
		draining:   make(chan struct{}),
		lanes:      make([]chan *part, min(cfg.Producers, int(partitions))),
		replaced:   make(chan []cluster.Route, maxReplaced),
		stale:      make(chan []cluster.Route, maxStale),
	}
	for i := range l.lanes {
		l.lanes[i] = make(chan *part, maxFlight)
	}
	l.gauges(set)
	return l, nil
}

// Run works until ctx ends; then it accepts nothing any more, waits, at most for
// the configured time, until what was accepted is enqueued, and returns when all
// that it started is gone. What could not be enqueued is counted and logged. It
// must be called once.
func (l *Logic) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var all, pump sync.WaitGroup
	pump.Go(func() { l.pump(work) })
	for _, lane := range l.lanes {
		all.Go(func() { l.produce(work, lane) })
	}
	for range replaceWorkers {
		all.Go(func() { l.closeReplaced(work) })
	}
	all.Go(func() { l.removeStale(work) })
	all.Go(func() { l.view.run(work) })
	all.Go(func() { l.sweep(ctx) })

	<-ctx.Done()
	l.refuse()
	drained := make(chan struct{})
	go func() { // ends with the pump, which stop ends
		pump.Wait()
		close(drained)
	}()
	late := time.NewTimer(l.cfg.DrainTimeout)
	defer late.Stop()
	select {
	case <-drained:
	case <-late.C:
	}
	stop()
	<-drained
	all.Wait()
	l.countLost()
	return nil
}

// refuse ends the intake: what is being appended is waited for.
func (l *Logic) refuse() {
	l.intake.Lock()
	defer l.intake.Unlock()
	if !l.stopping {
		l.stopping = true
		close(l.draining)
	}
}

func (l *Logic) countLost() {
	depth, _ := l.deps.Spool.Depth()
	if n := depth - l.flight.ended(); n > 0 {
		l.m.lost.Add(n)
		l.log.Error("stopped with accepted pushes that were not enqueued", "pushes", n)
	}
}

// Ready says why this node cannot do its work yet or any more, nil when it can:
// it must have seen the gateways' leases once.
func (l *Logic) Ready() error {
	l.intake.RLock()
	stopping := l.stopping
	l.intake.RUnlock()
	switch {
	case stopping:
		return ErrStopping
	case l.view.current.Load() == nil:
		return errors.New("the gateways' leases were not listed yet")
	default:
		return nil
	}
}

// persist repeats f until it succeeds or ctx ends; false then. Each attempt has
// its own time limit.
func (l *Logic) persist(ctx context.Context, what string, f func(ctx context.Context) error) bool {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		attempt, cancel := context.WithTimeout(ctx, callTimeout)
		err := f(attempt)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.m.registryErrs.Inc()
		l.registryComplaint.warn(l.log, what+"; pushes wait in the log", "err", err)
		if !pause(ctx, wait) {
			return false
		}
	}
}
