package job

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// rig is a job among fakes.
type rig struct {
	t        testing.TB
	cfg      Config
	queue    *testQueue
	registry *testRegistry
	gateways *testGateways
	set      *metrics.Set
	job      *Job
	stop     context.CancelFunc
	result   chan error
	ended    bool
}

// newRig makes one with the gateways named, each of epoch 1, and starts nothing.
func newRig(t testing.TB, partitions int32, gateways ...string) *rig {
	r := &rig{
		t:        t,
		cfg:      Default(),
		queue:    newTestQueue(partitions),
		registry: newTestRegistry(),
		gateways: &testGateways{nodes: map[string]*testGateway{}},
		set:      metrics.NewSet(),
		result:   make(chan error, 1),
	}
	r.cfg.ID = "job-1"
	for _, id := range gateways {
		r.registry.add(id, 1)
	}
	return r
}

// notingSource is the rig's Source: it notes when consuming begins.
type notingSource struct {
	*testQueue
	r *testRegistry
}

func (s notingSource) Consume(ctx context.Context, run func(context.Context, push.Assignment)) error {
	s.r.set(func() { s.r.note("consume") })
	return s.testQueue.Consume(ctx, run)
}

// start runs the job; the test's end stops it.
func (r *rig) start() {
	r.t.Helper()
	if err := r.cfg.Validate(); err != nil {
		r.t.Fatal(err)
	}
	r.startWith(Deps{Source: notingSource{r.queue, r.registry}, Nodes: r.registry, Rooms: r.registry, Sender: r.gateways})
}

// startWith is start with other parts.
func (r *rig) startWith(d Deps) {
	r.job = New(r.cfg, d, discard, r.set)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.result <- r.job.Run(ctx) }()
	r.t.Cleanup(func() { _ = r.end() }) // what matters was checked before
}

// mustEnd is end for a job that must end well.
func (r *rig) mustEnd() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// end stops the job, waits for it, and returns what Run returned.
func (r *rig) end() error {
	if r.ended {
		return nil
	}
	r.ended = true
	r.stop()
	err := <-r.result
	r.balanced()
	return err
}

// balanced checks the accounting of a job that has ended.
func (r *rig) balanced() {
	r.t.Helper()
	m := r.job.m
	for name, v := range map[string]int64{
		"copies waiting": m.waiting.Load(), "lane bytes": m.waitingBytes.Load(), "bytes in flight": m.inflight.Load(),
		"streams": m.streams.Load(), "partitions": m.partitions.Load(),
	} {
		if v != 0 {
			r.t.Errorf("after the end: %s is %d, want 0", name, v)
		}
	}
	out := m.delivered.Get()
	for _, c := range m.copyDropped {
		out += c.Get()
	}
	if in := m.copies.Get(); in != out {
		r.t.Errorf("copies queued %d, delivered and dropped %d", in, out)
	}
}

// metric is the value of a metric by its full name.
func (r *rig) metric(name string) string {
	var b strings.Builder
	r.set.WritePrometheus(&b)
	for _, line := range strings.Split(b.String(), "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return rest
		}
	}
	return ""
}

func (r *rig) wantMetric(name, want string) {
	r.t.Helper()
	if got := r.metric(name); got != want {
		r.t.Errorf("%s is %q, want %q", name, got, want)
	}
}

// wantBodies lets everything run that can in the bubble and compares what gateway
// id has admitted.
func (r *rig) wantBodies(id, want string) {
	r.t.Helper()
	settle()
	if got := r.gateways.get(id).bodies(); got != want {
		r.t.Errorf("%s has %q, want %q", id, got, want)
	}
}

// inBubble runs f in a synctest bubble: timers are exact, and every goroutine f
// starts must have ended with it.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// settle lets everything run that can without time passing.
func settle() { synctest.Wait() }

// pass lets d of the bubble's time pass, then everything run that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var discard = slog.New(slog.DiscardHandler)

// newRand is seeded anew each run; the seed is logged, and HALLEY_TEST_SEED sets it.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HALLEY_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func keysTo(node string, epoch cluster.Epoch, body string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Keys, Keys: []string{"k"}, Node: node, Epoch: uint64(epoch)}, Body: []byte(body)}
}

func toRoom(room, body string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Room, Room: room}, Body: []byte(body)}
}

func toAll(speed int32, body string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.All, Speed: speed}, Body: []byte(body)}
}

func roomCounts(pairs ...any) (out []cluster.RoomCount) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, cluster.RoomCount{Room: pairs[i].(string), Count: int32(pairs[i+1].(int))})
	}
	return out
}
