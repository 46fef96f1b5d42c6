package gateway

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/testkit"
)

// crowdPatience is how long clients may take to do what they are told.
const crowdPatience = time.Minute

// childRun is the run that pushes say they belong to.
const childRun = 7

// roomName is the name of the n-th room of clients.
func roomName(n int) string { return swarm.RoomType + "://" + swarm.RoomID(childRun, n) }

// crowd is a process of clients as a test sees it.
type crowd struct {
	*work.Process
	spec    swarm.Spec
	marked  int                     // of them, that do not count
	latency *hdrhistogram.Histogram // of pushes, since measure was called
}

// startClients starts a process that has no clients yet.
func startClients(t testing.TB) *crowd {
	t.Helper()
	return &crowd{Process: startChild(t, "clients"), latency: swarm.NewHistogram()}
}

// crowdSpec is n clients at an address, ten to a source address, so many to a room.
func crowdSpec(addr string, n, roomSize int) swarm.Spec {
	return swarm.Spec{
		Run: childRun, Addrs: []string{addr}, N: n, RoomSize: roomSize, MidBase: 100_000_000,
		Accepts: []int32{1000, 1001, 1002}, Lanes: [stamp.Kinds]int{stamp.Room: 1}, Net: 1, PerSource: 10,
		Patience: crowdPatience,
		Window:   128, // far below any listener's backlog, and both ends are busy
	}
}

// open opens clients, all of which must get in. Those there are are closed.
func (c *crowd) open(t testing.TB, spec swarm.Spec) swarm.Report {
	t.Helper()
	c.spec, c.marked = spec, 0
	tell(t, c.Process, "open", spec)
	r := c.await(t, "clients are open", func(r *swarm.Report) bool { return r.Opening == 0 })
	if r.Open != spec.N || len(r.Refused) > 0 {
		t.Fatalf("%d of %d clients are open, refused: %v", r.Open, spec.N, r.Refused)
	}
	return r
}

// close closes all clients without a word.
func (c *crowd) close(t testing.TB) {
	t.Helper()
	tell(t, c.Process, "drop", swarm.Drop{})
}

// report is what they have seen.
func (c *crowd) report(t testing.TB) swarm.Report {
	t.Helper()
	r := call[swarm.Report](t, c.Process, "report", work.None{})
	if err := r.Latency.AddTo(c.latency); err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits for a report. A client that counts and ends before is a failure.
func (c *crowd) await(t testing.TB, what string, ok func(r *swarm.Report) bool) (r swarm.Report) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%d of %d open, %d on their way, refused %v, ended %v; %d pushes, %d heartbeats answered; %+v %q",
				r.Open, r.Wanted, r.Opening, r.Refused, r.Ended, r.Pushes, r.Beats, r.Faults, r.Examples)
		}
	}()
	testkit.Eventually(t, crowdPatience, func() bool {
		if r = c.report(t); len(r.Ended) > 0 {
			t.Fatalf("connections have ended before: %s", what)
		}
		return ok(&r)
	}, what)
	return r
}

// mark has one client in every count no more, and, blind, not read either. It
// returns how many.
func (c *crowd) mark(t testing.TB, every int, blind bool) int {
	t.Helper()
	n := call[int](t, c.Process, "mark", swarm.Mark{Every: every, Blind: blind})
	c.marked += n
	return n
}

// measure begins to keep the latencies of pushes.
func (c *crowd) measure(t testing.TB) {
	t.Helper()
	c.latency.Reset()
	tell(t, c.Process, "window", swarm.Window{From: clock.Now(), To: math.MaxInt64})
}

// beat has the clients send heartbeats in turn, until n are answered.
func (c *crowd) beat(t testing.TB, n, perSecond int) {
	t.Helper()
	want := c.report(t).Beats + int64(n)
	tell(t, c.Process, "beat", time.Duration(c.spec.N)*time.Second/time.Duration(perSecond))
	c.await(t, fmt.Sprintf("%d heartbeats are answered", n), func(r *swarm.Report) bool { return r.Beats >= want })
	tell(t, c.Process, "beat", time.Duration(0))
}

// wait waits until the clients that count have got so many pushes, on average: whether
// each has is seen by complete.
func (c *crowd) wait(t testing.TB, each int) {
	t.Helper()
	want := int64(each) * int64(c.spec.N-c.marked)
	c.await(t, fmt.Sprintf("%d pushes at every client", each), func(r *swarm.Report) bool { return r.Pushes >= want })
}

// complete fails the test unless every client that counts is there and has got
// pushes 1 … each, once, in order, and every other one the first of them, likewise.
func (c *crowd) complete(t testing.TB, each int) swarm.Report {
	t.Helper()
	n := uint32(each)
	rooms := map[int][]swarm.Count{}
	for room := range (c.spec.N + c.spec.RoomSize - 1) / c.spec.RoomSize {
		rooms[room] = []swarm.Count{{Least: n, Most: n, Sum: uint64(n) * uint64(n+1) / 2}}
	}
	tell(t, c.Process, "expect", swarm.Expectation{Room: rooms})
	counting := c.spec.N - c.marked
	want := swarm.Gap{Complete: counting, Wanted: int64(counting) * int64(each)}
	gap, r := call[swarm.Gap](t, c.Process, "missing", work.None{}), c.report(t)
	if gap != want || r.Faults != (swarm.Faults{}) || r.Foreign > 0 || len(r.Ended) > 0 {
		t.Errorf("%d clients that count, want %d pushes each: %+v, %+v, foreign %d, ended %v, %q",
			counting, each, gap, r.Faults, r.Foreign, r.Ended, r.Examples)
	}
	return r
}
