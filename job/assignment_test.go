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

// The gateway knows a newer generation: nothing beyond is committed, and the job
// asks for another assignment, under which everything arrives.
func TestStale(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw", "other")
		r.queue.perRead = 1
		r.gateways.get("gw").admit = func(_ *testStream, b *push.Batch) push.AckStatus {
			if b.Generation < 3 && string(b.Items[0].Body) != "0" {
				return push.AckStale
			}
			return push.AckDone
		}
		r.start()
		settle()
		for i := range 5 {
			r.queue.publish(0, toAll(0, fmt.Sprint(i)))
			settle() // one message, one batch
		}
		pass(rejoin / 2)
		if c, g := r.queue.committedOf(0), r.queue.generation(); c != 1 || g != 1 {
			t.Errorf("committed %d in generation %d, want 1 in 1", c, g)
		}
		pass(4 * rejoin)
		if g := r.queue.generation(); g != 3 || !r.queue.done() {
			t.Errorf("generation %d, committed %v; want 3 and all", g, r.queue.done())
		}
		r.wantBodies("gw", "0 1 2 3 4")
	})
}

// When the assignment ends, what was read and not answered is waited for, and
// committed as far as it was answered.
func TestDrain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.silent = true
		r.cfg.CommitEvery = time.Minute
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		settle()
		began := time.Now()
		r.stop()
		pass(r.cfg.DrainTimeout / 2)
		if len(r.result) > 0 {
			t.Fatal("did not wait for the answer")
		}
		g.stream().answerAll()
		settle()
		if r.mustEnd(); !r.queue.done() || time.Since(began) != r.cfg.DrainTimeout/2 {
			t.Errorf("committed %v after %v", r.queue.done(), time.Since(began))
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.gateways.get("gw").silent = true
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		settle()
		began := time.Now()
		r.mustEnd()
		if d := time.Since(began); d != r.cfg.DrainTimeout || r.queue.done() {
			t.Errorf("ended after %v, committed %v", d, r.queue.done())
		}
		r.wantMetric(`halley_job_copies_dropped_total{reason="unassigned"}`, "1")
	})
}

// A gateway that is away cannot answer: the end does not wait for it.
func TestDrainDoesNotWaitForTheAbsent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.gateways.get("gw").refuse = errors.New("connection refused")
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		settle()
		began := time.Now()
		r.mustEnd()
		if d := time.Since(began); d != 0 || r.queue.done() {
			t.Errorf("ended after %v, committed %v", d, r.queue.done())
		}
	})
}

// A gateway that is lost, or refuses the generation, while the end waits for it is
// not waited for any longer.
func TestDrainEndsWithTheStream(t *testing.T) {
	f := func(what string, lose func(*testStream)) {
		t.Helper()
		inBubble(t, func(t *testing.T) {
			r := newRig(t, 1, "gw")
			g := r.gateways.get("gw")
			g.silent = true
			r.start()
			r.queue.publish(0, toAll(0, "a"))
			settle()
			g.set(func() { g.refuse = errors.New("connection refused") })
			began := time.Now()
			r.stop()
			settle()
			lose(g.stream())
			if r.mustEnd(); time.Since(began) != 0 || r.queue.done() {
				t.Errorf("%s: ended after %v, committed %v", what, time.Since(began), r.queue.done())
			}
		})
	}
	f("reset", func(st *testStream) { st.end(errors.New("reset")) })
	f("stale", func(st *testStream) { st.r.Ack(push.Ack{Generation: 1, Seq: 1, Status: push.AckStale}) })
}

// A generation that ends in the middle: the next one reads again what was not
// committed, and the old one's answers mean nothing to it.
func TestReassigned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.queue.perRead = 1
		g := r.gateways.get("gw")
		r.start()
		settle()
		r.queue.publish(0, toAll(0, "a"))
		pass(r.cfg.CommitEvery)
		g.set(func() { g.silent = true })
		r.queue.publish(0, toAll(0, "b"))
		r.queue.publish(0, toAll(0, "c"))
		settle()
		r.queue.reassign()
		pass(r.cfg.DrainTimeout)
		if g.stream().sentCount() != 5 || r.queue.committedOf(0) != 1 {
			t.Errorf("%d batches, committed %d; want 5 and 1", g.stream().sentCount(), r.queue.committedOf(0))
		}
		st := g.stream()
		st.g.mu.Lock()
		old := slices.DeleteFunc(st.held, func(a push.Ack) bool { return a.Generation != 1 })
		st.held = nil
		st.g.mu.Unlock()
		for _, a := range old {
			st.r.Ack(a)
		}
		pass(time.Second)
		if r.queue.committedOf(0) != 1 {
			t.Error("an answer to the old generation was taken for the new one")
		}
		for seq := range uint64(2) {
			st.r.Ack(push.Ack{Generation: 2, Seq: seq + 1})
		}
		pass(time.Second)
		if !r.queue.done() {
			t.Error("not committed")
		}
		r.wantBodies("gw", "a b c b c")
	})
}

// Answers that make no sense change nothing.
func TestForeignAcks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.silent = true
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		settle()
		st := g.stream()
		for _, a := range []push.Ack{
			{Partition: 5, Generation: 1, Seq: 1},
			{Generation: 7, Seq: 1},
			{Generation: 1, Seq: 0},
			{Generation: 1, Seq: 2},
			{Generation: 1, Seq: 1 << 63, Status: push.AckBusy},
			{Generation: 1, Seq: 0, Status: push.AckBusy},
			{Generation: 1, Seq: 1, Status: 9},
		} {
			st.r.Ack(a)
		}
		pass(time.Second)
		if r.queue.committedOf(0) != 0 || st.sentCount() != 1 {
			t.Errorf("committed %d, %d batches sent", r.queue.committedOf(0), st.sentCount())
		}
		st.answerAll()
		pass(time.Second)
		if !r.queue.done() {
			t.Error("not committed")
		}
	})
}

// Much traffic is committed before its time: a bounded queue needs the space.
func TestCommitByVolume(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.cfg.CommitEvery = time.Minute
		big := strings.Repeat("x", 64<<10)
		r.start()
		settle()
		for range 3 * commitBytes / len(big) {
			r.queue.publish(0, toAll(0, big))
		}
		settle() // no time passes
		if left := int(r.queue.waiting()) * len(big); left > 2*commitBytes {
			t.Errorf("%d bytes are not committed, want about %d at most", left, commitBytes)
		}
	})
}

func TestCommitIsRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 2, "gw")
		r.queue.commitErr = errors.New("away")
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		pass(time.Second)
		r.wantMetric("halley_job_commit_lag", "0")
		if n := r.metric("halley_job_commit_errors_total"); n != "5" {
			t.Errorf("%s failed commits in 1 s, want 5", n)
		}
		r.queue.mu.Lock()
		r.queue.commitErr = nil
		r.queue.mu.Unlock()
		pass(r.cfg.CommitEvery)
		if !r.queue.done() || r.queue.commitCount() != 1 {
			t.Errorf("committed %v in %d commits", r.queue.done(), r.queue.commitCount())
		}
		pass(time.Minute)
		if r.queue.commitCount() != 1 {
			t.Errorf("%d commits of nothing new", r.queue.commitCount()-1)
		}
	})
}
