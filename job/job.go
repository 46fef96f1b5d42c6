package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// rejoin is the wait before the job joins the group again after it gave an
// assignment up, or after the source returned without need.
const rejoin = time.Second

// Deps are what a job works with; all are needed.
type Deps struct {
	Source Source
	Nodes  Nodes
	Rooms  Rooms
	Sender Sender
}

// Job is one consumer of the queue. See the package comment.
type Job struct {
	// Set by New, then read-only.
	cfg    Config
	source Source
	nodes  Nodes
	rooms  Rooms
	sender Sender
	log    *slog.Logger
	m      *meters
	index  *index
	asks   chan chan error // see relist
	forgot chan struct{}   // a gateway was taken out of the index; holds one
	ready  chan struct{}   // closed when consuming begins

	// Used concurrently.
	throttle   throttle
	view       atomic.Pointer[view]
	unfiltered atomic.Int64 // links whose room list is not complete
	graves     graves

	// Owned by Run.
	linkCtx   context.Context // ends all links
	linkGroup sync.WaitGroup

	// Owned by the goroutine that renews: Run first, then keepLease.
	epoch cluster.Epoch

	// Owned by the goroutine that lists: Run first, then keepNodes.
	links map[string]*link

	mu         sync.Mutex
	partitions []*partition // guarded by mu: of the current assignment
}

// New makes a job. cfg is valid, and its InternalAddr is the address really
// bound: it goes into the lease. set gets the job's metrics, once.
func New(cfg Config, d Deps, log *slog.Logger, set *metrics.Set) *Job {
	j := &Job{
		cfg:    cfg,
		source: d.Source,
		nodes:  d.Nodes,
		rooms:  d.Rooms,
		sender: d.Sender,
		log:    log,
		index:  newIndex(d.Source.Partitions()),
		asks:   make(chan chan error),
		forgot: make(chan struct{}, 1),
		ready:  make(chan struct{}),
		links:  map[string]*link{},

		throttle: throttle{log: log, last: map[string]*warning{}},
	}
	j.m = newMeters(set, j.index.size)
	j.view.Store(&view{})
	return j
}

// Ready is closed when the job holds its lease, has listed the gateways and
// begins to consume. It may have no partition then, or no gateway yet.
func (j *Job) Ready() <-chan struct{} { return j.ready }

// Run works until ctx ends, once. It returns nil then, or ErrFenced (wrapped)
// when another process has taken over the job's id.
//
// The order at the start matters: first the lease, then the list. A gateway
// takes its lease first too and then waits for the streams of the jobs it sees,
// so of a job and a gateway that start together at least one sees the other.
func (j *Job) Run(ctx context.Context) error {
	// Links and the lease outlive consuming: the last acknowledgements are
	// waited for.
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	j.linkCtx = bg
	if err := j.lease(ctx); err != nil {
		return ended(ctx, err)
	}
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	leaseCtx, leave := context.WithCancel(bg)
	defer leave()
	fenced := make(chan error, 1)
	go func() { // ended by leave
		err := j.keepLease(leaseCtx)
		if err != nil {
			stopWork()
		}
		fenced <- err
	}()

	var keepers sync.WaitGroup
	if err := j.insist(work, "list gateways", func() error { return j.list(work) }); err == nil {
		keepers.Go(func() { j.keepNodes(bg) })
		close(j.ready)
		j.consume(work)
	}
	leave()
	err := <-fenced
	stop()
	keepers.Wait()
	j.linkGroup.Wait()
	return err
}

// ended makes nil of the error that says that ctx is over.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// consume stays in the group until ctx ends.
func (j *Job) consume(ctx context.Context) {
	for {
		err := j.source.Consume(ctx, j.serve)
		if ctx.Err() != nil {
			return
		}
		j.throttle.warn("consume: the queue's client ended, joining again", "err", err)
		if sleep(ctx, rejoin) != nil {
			return
		}
	}
}

// pokeAll makes everybody who waits for a lane or a gateway look again.
func (j *Job) pokeAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.partitions {
		p.poke()
	}
}

// dropCopies counts copies that are not delivered.
func (j *Job) dropCopies(why dropReason, items []push.Message) {
	j.m.copyDropped[why].Add(len(items))
	if why != dropNodeGone {
		return
	}
	for i := range items {
		j.m.keysGone.Add(len(items[i].To.Keys))
	}
}

// dropMessage counts a message that becomes no copy at all.
func (j *Job) dropMessage(why dropReason, m *push.Message) {
	j.m.dropped[why].Inc()
	if why == dropNodeGone {
		j.m.keysGone.Add(len(m.To.Keys))
	}
}
