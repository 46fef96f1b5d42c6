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

// No gateway known: wait, for every kind.
func TestNoGatewayWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 3)
		r.start()
		r.queue.publish(0, toAll(0, "all"))
		r.queue.publish(1, keysTo("gw", 1, "key"))
		r.queue.publish(2, toRoom("live://1", "room"))
		pass(time.Minute)
		for p := range int32(3) {
			if r.queue.committedOf(p) != 0 {
				t.Errorf("partition %d was committed without a gateway", p)
			}
		}
		r.registry.add("gw", 1)
		pass(time.Second)
		got := strings.Fields(r.gateways.get("gw").bodies())
		slices.Sort(got)
		if !slices.Equal(got, []string{"all", "key", "room"}) {
			t.Errorf("got %q", got)
		}
		if !r.queue.done() {
			t.Error("delivered, not committed")
		}
	})
}

// A node nobody knows is asked for once and remembered.
func TestUnknownNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		settle()
		before := r.registry.listed()
		for range 5 {
			r.queue.publish(0, keysTo("nowhere", 0, "lost"))
		}
		r.queue.publish(0, keysTo("gw", 1, "found"))
		r.wantBodies("gw", "found")
		if n := r.registry.listed() - before; n != 1 {
			t.Errorf("listed %d times for one unknown node, want 1", n)
		}
		r.wantMetric(`halley_job_messages_dropped_total{reason="node_gone"}`, "5")
		r.wantMetric(`halley_job_keys_dropped_total{reason="node_gone"}`, "5")
	})
}

// A node that began after the last listing is found by asking, not dropped.
func TestNewNodeAndNewLifeAreAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		settle()
		r.registry.add("new", 5)
		r.registry.add("gw", 2)
		r.queue.publish(0, keysTo("new", 5, "a"))
		r.queue.publish(0, keysTo("gw", 2, "b"))
		r.wantBodies("new", "a")
		r.wantBodies("gw", "b")
		r.queue.publish(0, keysTo("gw", 1, "of the life before"))
		r.wantBodies("gw", "b")
		r.wantMetric(`halley_job_messages_dropped_total{reason="node_gone"}`, "1")
	})
}

// While the registry cannot answer, an unknown node is not held for dead.
func TestUnknownNodeWhileRegistryIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		settle()
		r.registry.set(func() { r.registry.err = errors.New("away") })
		r.queue.publish(0, toAll(0, "first"))
		r.queue.publish(0, keysTo("new", 5, "second"))
		pass(time.Minute)
		r.wantBodies("gw", "first")
		r.registry.add("new", 5)
		r.registry.set(func() { r.registry.err = nil })
		pass(time.Second)
		r.wantBodies("new", "second")
		r.wantMetric(`halley_job_messages_dropped_total{reason="node_gone"}`, "0")
	})
}

func TestMessagesThatCannotBeRouted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		r.queue.publish(0, keysTo("", 0, "no node"))
		r.queue.publish(0, push.Message{To: push.Target{Kind: push.Mids, Mids: []int64{1}}, Body: []byte("mids")})
		r.queue.publish(0, push.Message{To: push.Target{Kind: 9}, Body: []byte("kind")})
		past, future := toAll(0, "past"), toAll(0, "future")
		past.Expire = time.Now().Add(-time.Second).UnixMicro()
		future.Expire = time.Now().Add(time.Second).UnixMicro()
		r.queue.publish(0, past)
		r.queue.publish(0, future)
		r.wantBodies("gw", "future")
		r.wantMetric(`halley_job_messages_dropped_total{reason="no_node"}`, "3")
		r.wantMetric(`halley_job_messages_dropped_total{reason="expired"}`, "1")
		r.wantMetric(`halley_job_messages_read_total{kind="all"}`, "2")
		pass(time.Second)
		if !r.queue.done() {
			t.Error("what was dropped is not committed")
		}
	})
}

// A lease that lapsed while the stream stands and answers is no death; without a
// stream it is one, and what waits for the node is dropped and counted.
func TestNodeGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw", "other")
		r.start()
		settle()
		r.registry.remove("gw")
		pass(time.Minute)
		r.queue.publish(0, keysTo("gw", 1, "alive"))
		r.wantBodies("gw", "alive")

		g := r.gateways.get("gw")
		g.set(func() { g.refuse = errors.New("connection refused") })
		g.stream().end(errors.New("reset"))
		r.queue.publish(0, keysTo("gw", 1, "key"))
		r.queue.publish(0, toAll(0, "all"))
		settle()
		r.wantMetric("halley_job_copies_waiting", "2")
		pass(time.Second)
		r.wantBodies("other", "all")
		r.wantMetric(`halley_job_copies_dropped_total{reason="node_gone"}`, "2")
		r.wantMetric(`halley_job_keys_dropped_total{reason="node_gone"}`, "1")
		r.wantMetric("halley_job_gateways", "1")
		if !r.queue.done() {
			t.Error("a dead gateway holds the commit")
		}
	})
}

// Without a lease a gateway that leaves batches unanswered is gone, open as its
// stream may be; with one it is waited for.
func TestUnansweredWithoutLease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw", "other")
		g := r.gateways.get("gw")
		g.silent = true
		r.start()
		r.queue.publish(0, keysTo("gw", 1, "a"))
		pass(time.Minute)
		r.wantMetric("halley_job_gateways", "2")
		r.registry.remove("gw")
		pass(time.Second)
		r.wantMetric("halley_job_gateways", "1")
		if !g.stream().isClosed() || !r.queue.done() {
			t.Errorf("stream closed %v, committed %v; want both", g.stream().isClosed(), r.queue.done())
		}
	})
}

// A new life of a gateway gets what was for everybody and for rooms; what was for
// keys of the life before is dropped. Keys without a life (goim's) are delivered.
func TestNewLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.silent = true
		r.start()
		settle()
		old := g.stream()
		r.queue.publish(0, keysTo("gw", 1, "old"))
		r.queue.publish(0, toRoom("live://1", "room"))
		r.queue.publish(0, keysTo("gw", 0, "goim"))
		settle()
		if n := g.count(); n != 3 {
			t.Fatalf("the old life was sent %d messages, want 3", n)
		}
		g.set(func() { g.silent, g.got = false, nil })
		r.registry.add("gw", 2)
		r.queue.publish(0, keysTo("gw", 2, "new"))
		pass(time.Second)
		r.wantBodies("gw", "room goim new")
		if _, h, _ := g.opened(); len(h) != 2 || h[1].Epoch != 2 || !old.isClosed() {
			t.Errorf("hellos %+v, old stream closed %v", h, old.isClosed())
		}
		r.wantMetric(`halley_job_copies_dropped_total{reason="node_gone"}`, "1")
		old.answerAll() // of a stream that has ended: means nothing
		pass(time.Second)
		if !r.queue.done() {
			t.Error("not committed")
		}
	})
}

// Answers that an old life gives late, on its stream, are not those of the new one.
func TestAnswersOfAnOldStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.silent = true
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		settle()
		old := g.stream()
		r.registry.add("gw", 2)
		pass(time.Second)
		if g.stream() == old || g.stream().sentCount() != 1 {
			t.Fatal("the new life was not sent what the old one had not answered")
		}
		old.answerAll()
		pass(time.Second)
		if r.queue.committedOf(0) != 0 {
			t.Error("committed on the word of the old life")
		}
		g.stream().answerAll()
		pass(time.Second)
		if !r.queue.done() {
			t.Error("not committed")
		}
	})
}

// The wait between attempts doubles from 50 ms to 1 s, less up to half of it.
func TestReopenBacksOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.refuse = errors.New("connection refused")
		r.start()
		pass(10 * time.Second)
		r.mustEnd()
		opens, _, _ := g.opened()
		want := reopenMin
		for i := 1; i < len(opens); i++ {
			if d := opens[i].Sub(opens[i-1]); d < want/2 || d > want {
				t.Errorf("attempt %d came after %v, want %v to %v", i, d, want/2, want)
			}
			want = min(2*want, reopenMax)
		}
		if len(opens) < 10 {
			t.Errorf("%d attempts in 10 s", len(opens))
		}
	})
}

// A gateway that takes streams and drops them at once is not hammered, though it
// announces rooms on each.
func TestShortStreamsBackOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.list = true
		s := &hastySender{testGateways: r.gateways, ends: 1 << 30}
		r.startWith(Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: s})
		pass(10 * time.Second)
		if opens, _, _ := g.opened(); len(opens) > 30 {
			t.Errorf("%d attempts in 10 s", len(opens))
		}
	})
}

func TestGravesAreBounded(t *testing.T) {
	var g graves
	for i := range 3 * maxGraves {
		g.add(grave{fmt.Sprint(i), 1})
		g.add(grave{fmt.Sprint(i), 1})
	}
	if len(g.dead) != maxGraves || len(g.ring) != maxGraves {
		t.Errorf("%d remembered in a ring of %d, want %d", len(g.dead), len(g.ring), maxGraves)
	}
	for i := range 3 * maxGraves {
		if got, want := g.has(grave{fmt.Sprint(i), 1}), i >= 2*maxGraves; got != want {
			t.Fatalf("grave %d: remembered %v, want %v", i, got, want)
		}
	}
}
