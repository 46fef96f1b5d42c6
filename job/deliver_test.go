package job

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// A lone message leaves and is committed without waiting for anything but the
// commit's tick.
func TestLoneMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		settle()
		for i := range 3 {
			pass(time.Second)
			r.queue.publish(0, keysTo("gw", 1, fmt.Sprint(i)))
			settle() // no time passes
			if n := r.gateways.get("gw").count(); n != i+1 {
				t.Fatalf("%d messages arrived, want %d", n, i+1)
			}
		}
		pass(r.cfg.CommitEvery)
		if !r.queue.done() {
			t.Error("not committed with the next tick")
		}
		if b, _ := r.gateways.get("gw").stream().sent(); len(b) != 3 || b[0].Seq != 1 || b[2].Seq != 3 || b[0].Generation != 1 {
			t.Errorf("batches %+v", b)
		}
		r.wantMetric("halley_job_commits_total", "3")
		r.wantMetric("halley_job_batches_total", "3")
		r.wantMetric("halley_job_batch_messages_total", "3")
		r.wantMetric("halley_job_copies_delivered_total", "3")
		r.wantMetric(`halley_job_acks_total{status="done"}`, "3")
	})
}

// What comes in one read leaves in batches of BatchBytes.
func TestBatchesAreCutAtBatchBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.cfg.BatchBytes = 2048
		for i := range 50 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
		}
		r.queue.publish(0, toAll(0, strings.Repeat("x", 5000)))
		r.queue.publish(0, toAll(0, "last"))
		r.start()
		settle()
		sum := 0
		batches, _ := r.gateways.get("gw").stream().sent()
		for i, b := range batches {
			size := 0
			for k := range b.Items {
				size += b.Items[k].Size()
			}
			sum += len(b.Items)
			if size > r.cfg.BatchBytes && len(b.Items) > 1 {
				t.Errorf("batch %d of %d messages has %d bytes", i, len(b.Items), size)
			}
			if i < 5 && len(b.Items) != 10 {
				t.Errorf("batch %d has %d messages, want a full one of 10", i, len(b.Items))
			}
		}
		if sum != 52 || len(batches) != 7 {
			t.Errorf("%d messages in %d batches, want 52 in 7", sum, len(batches))
		}
	})
}

// While the window is full what comes one by one is gathered, and leaves in full
// batches when there is room again.
func TestBacklogGrowsBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.cfg.BatchBytes, r.cfg.Window, r.queue.perRead = 4096, 4096, 1
		g := r.gateways.get("gw")
		g.silent = true
		r.start()
		for i := range 100 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
			settle()
		}
		st := g.stream()
		if n := st.sentCount(); n > 20 {
			t.Fatalf("%d batches in flight in a window of %d bytes", n, r.cfg.Window)
		}
		if f := r.job.m.inflight.Load(); f <= 0 || f > int64(r.cfg.Window) {
			t.Errorf("%d bytes in flight, the window is %d", f, r.cfg.Window)
		}
		inFlight := st.sentCount()
		for g.count() < 100 {
			st.answerAll()
			settle()
		}
		sent, _ := st.sent()
		rest := sent[inFlight:]
		for i, b := range rest[:len(rest)-1] {
			if len(b.Items) < 15 {
				t.Errorf("batch %d of the backlog has %d messages", i, len(b.Items))
			}
		}
		g.set(func() { g.silent = false })
		st.answerAll()
		pass(time.Second)
		if !r.queue.done() {
			t.Error("not committed")
		}
	})
}

// A batch bigger than the window goes when nothing else is in flight.
func TestBatchBiggerThanTheWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.cfg.BatchBytes, r.cfg.Window, r.cfg.LaneBytes = 1024, 1024, 1024
		big := strings.Repeat("x", 10_000)
		r.start()
		for range 5 {
			r.queue.publish(0, toAll(0, big))
			r.queue.publish(0, toAll(0, "small"))
		}
		pass(time.Second)
		if n := r.gateways.get("gw").count(); n != 10 || !r.queue.done() {
			t.Errorf("%d of 10 messages, committed %v", n, r.queue.done())
		}
	})
}

// A stream that opens on a long backlog is sent all of it that the window allows,
// though nobody calls while it is: one caller sends only so much at a time.
func TestBacklogOnANewStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.cfg.BatchBytes = 1024
		g := r.gateways.get("gw")
		g.silent, g.refuse = true, errors.New("connection refused")
		r.start()
		for range 20 * pumpCalls {
			r.queue.publish(0, toAll(0, "x"))
		}
		pass(time.Second)
		g.set(func() { g.refuse = nil })
		pass(2 * reopenMax)
		if n := g.count(); n != 20*pumpCalls || g.stream().sentCount() <= 2*pumpCalls {
			t.Errorf("%d messages in %d batches were sent, want all %d", n, g.stream().sentCount(), 20*pumpCalls)
		}
	})
}

// A refused batch is sent again after 10, 20, 40, 80, 100, 100 … ms, and after
// success the next refusal begins at 10 again.
func TestBusyBacksOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		refusals := 7
		g.admit = func(*testStream, *push.Batch) push.AckStatus {
			if refusals > 0 {
				refusals--
				return push.AckBusy
			}
			return push.AckDone
		}
		r.start()
		settle()
		r.queue.publish(0, toAll(0, "a"))
		pass(time.Second)
		r.wantBodies("gw", "a")
		st := g.stream()
		var waits []int
		_, at := st.sent()
		for i := 1; i < len(at); i++ {
			waits = append(waits, int(at[i].Sub(at[i-1]).Milliseconds()))
		}
		if want := []int{10, 20, 40, 80, 100, 100, 100}; !slices.Equal(waits, want) {
			t.Errorf("sent again after %v ms, want %v", waits, want)
		}
		g.set(func() { refusals = 1 })
		r.queue.publish(0, toAll(0, "b"))
		pass(busyMin)
		r.wantBodies("gw", "a b")
		r.wantMetric(`halley_job_acks_total{status="busy"}`, "8")
	})
}

// Going back repeats from the refused batch on, in order, under the same numbers.
func TestBusyGoesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.queue.perRead = 1
		g := r.gateways.get("gw")
		g.silent = true
		g.admit = func(st *testStream, b *push.Batch) push.AckStatus {
			if b.Seq == 3 && len(st.batches) < 6 {
				return push.AckBusy
			}
			return push.AckDone
		}
		r.start()
		settle()
		for i := range 5 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
			settle()
		}
		st := g.stream()
		g.set(func() { g.silent = false })
		st.answerAll()
		pass(busyMin)
		var seqs []uint64
		sent, _ := st.sent()
		for _, b := range sent {
			seqs = append(seqs, b.Seq)
		}
		if want := []uint64{1, 2, 3, 4, 5, 3, 4, 5}; !slices.Equal(seqs, want) {
			t.Errorf("sent %v, want %v", seqs, want)
		}
		r.wantBodies("gw", "0 1 2 3 4")
	})
}

// One partition that is refused does not hold up another on the same link.
func TestBusyPartitionIsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 2, "gw")
		g := r.gateways.get("gw")
		g.admit = func(_ *testStream, b *push.Batch) push.AckStatus {
			if b.Partition == 0 {
				return push.AckBusy
			}
			return push.AckDone
		}
		r.start()
		r.queue.publish(0, toAll(0, "refused"))
		settle()
		for i := range 5 {
			r.queue.publish(1, keysTo("gw", 1, fmt.Sprint(i)))
		}
		r.wantBodies("gw", "0 1 2 3 4")
	})
}

// What was not answered leaves again on the next stream, numbered from 1, in the
// same order, before anything newer.
func TestStreamLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.queue.perRead = 1
		g := r.gateways.get("gw")
		r.start()
		settle()
		r.queue.publish(0, toAll(0, "answered"))
		settle()
		g.set(func() { g.silent = true })
		for i := range 3 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
			settle()
		}
		g.stream().end(errors.New("reset"))
		r.queue.publish(0, toAll(0, "newer"))
		g.set(func() { g.silent = false })
		pass(time.Second)
		r.wantBodies("gw", "answered 0 1 2 0 1 2 newer")
		_, _, streams := g.opened()
		first, _ := streams[0].sent()
		second, _ := streams[1].sent()
		for i, b := range second {
			if b.Seq != uint64(i+1) {
				t.Errorf("batch %d of the new stream has number %d", i+1, b.Seq)
			}
		}
		for i, b := range first {
			if b.Seq != uint64(i+1) {
				t.Errorf("a batch that was sent became number %d, was %d", b.Seq, i+1)
			}
		}
		if !r.queue.done() {
			t.Error("not committed")
		}
		r.wantMetric("halley_job_streams_opened_total", "2")
	})
}

// A stream that refuses a call has ended, whoever notices first.
func TestDeliverFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		r.start()
		settle()
		st := g.stream()
		broken := &brokenStream{testStream: st}
		l := r.job.view.Load().byID["gw"]
		l.mu.Lock()
		l.cur.stream = broken // from here on its Deliver fails, nobody calls Closed
		l.mu.Unlock()
		r.queue.publish(0, toAll(0, "a"))
		pass(time.Second)
		r.wantBodies("gw", "a")
		_, _, streams := g.opened()
		if n := len(streams); n != 2 || broken.calls != 1 {
			t.Errorf("%d streams, %d calls on the broken one; want 2 and 1", n, broken.calls)
		}
	})
}

type brokenStream struct {
	*testStream
	calls int
}

func (b *brokenStream) Deliver(*push.Batch) error {
	b.calls++
	return errTestClosed
}

// A full lane makes the reader wait, and the other gateways still get all that
// was read; nothing is lost when the slow one comes back.
func TestFullLane(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "slow", "fast")
		r.cfg.BatchBytes, r.cfg.Window, r.cfg.LaneBytes, r.queue.perRead = 1024, 1024, 4096, 8
		g := r.gateways.get("slow")
		g.silent = true
		r.start()
		for i := range 400 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
		}
		settle()
		l := r.job.view.Load().byID["slow"]
		l.mu.Lock()
		held := l.lanes[0].bytes
		l.mu.Unlock()
		if held > r.cfg.LaneBytes || held < r.cfg.LaneBytes/2 {
			t.Errorf("the slow lane holds %d bytes, its bound is %d", held, r.cfg.LaneBytes)
		}
		fast, served := r.gateways.get("fast").count(), r.queue.servedOf(0)
		if served >= 400 || int64(fast) < served-8 {
			t.Errorf("read %d of 400, the fast gateway has %d", served, fast)
		}
		if n := r.metric("halley_job_lane_full_total"); n == "0" {
			t.Error("a full lane was not counted")
		}
		for g.count() < 400 {
			g.stream().answerAll()
			settle()
		}
		g.stream().answerAll()
		pass(time.Second)
		if f := r.gateways.get("fast").count(); f != 400 || !r.queue.done() {
			t.Errorf("fast has %d, committed %v", f, r.queue.done())
		}
	})
}

// A node that dies while the reader waits for its lane lets the reader go on.
func TestFullLaneOfADeadNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "slow", "fast")
		r.cfg.BatchBytes, r.cfg.Window, r.cfg.LaneBytes = 1024, 1024, 1024
		g := r.gateways.get("slow")
		g.silent = true
		r.start()
		for i := range 100 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
		}
		pass(time.Minute)
		if r.queue.done() {
			t.Fatal("committed without an answer")
		}
		g.set(func() { g.refuse = errors.New("connection refused") })
		r.registry.remove("slow")
		g.stream().end(errors.New("reset"))
		pass(time.Second)
		if n := r.gateways.get("fast").count(); n != 100 || !r.queue.done() {
			t.Errorf("fast has %d of 100, committed %v", n, r.queue.done())
		}
	})
}
