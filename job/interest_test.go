package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// Room messages go to gateways that announced the room, and to those whose list
// is not complete.
func TestRoomsAreFiltered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "member", "other", "silent")
		m, o := r.gateways.get("member"), r.gateways.get("other")
		m.list, m.rooms = true, roomCounts("live://1", 3, "live://empty", 0)
		o.list = true
		r.start()
		settle()
		r.queue.publish(0, toRoom("live://1", "a"))
		r.wantBodies("member", "a")
		r.wantBodies("other", "")
		r.wantBodies("silent", "a")

		// A room without members that is announced all the same is wanted: its
		// members may be on their way back.
		r.queue.publish(0, toRoom("live://empty", "b"))
		r.wantBodies("member", "a b")
		r.wantBodies("other", "")

		// An announcement is confirmed when it is in effect.
		o.stream().announce(roomCounts("live://1", 1), false)
		settle()
		if c := o.stream().confirmedSeq(); c != 2 {
			t.Errorf("confirmed %d, want 2", c)
		}
		r.queue.publish(0, toRoom("live://1", "c"))
		r.wantBodies("other", "c")

		m.stream().announce(roomCounts("live://1", -1), false)
		settle()
		r.queue.publish(0, toRoom("live://1", "d"))
		r.wantBodies("member", "a b c")
		r.wantBodies("other", "c d")
		r.wantBodies("silent", "a b c d")
	})
}

// Whenever a confirmation arrives, what it confirms is in effect, also when the
// announcement is a long one.
func TestConfirmedIsInEffect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.list = true
		r.start()
		settle()
		rooms := make([]cluster.RoomCount, 20_000)
		for n := range 10 {
			for i := range rooms {
				rooms[i] = cluster.RoomCount{Room: fmt.Sprint("live://", n, "/", i), Count: 1}
			}
			last := rooms[len(rooms)-1].Room
			seen := 0
			g.set(func() {
				g.confirm = func(uint64) { seen = len(r.job.index.appendTargets(nil, last)) }
			})
			g.stream().announce(rooms, false)
			settle()
			if g.set(func() {}); seen != 1 {
				t.Fatalf("announcement %d was confirmed before it was in effect", n)
			}
		}
	})
}

// Rooms of one app are not those of another, and its scoped name is what counts.
func TestRoomsAreScoped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.list, g.rooms = true, roomCounts(cluster.Scope("shop", "live://1"), 1)
		r.start()
		settle()
		ours, foreign := toRoom("live://1", "ours"), toRoom("live://1", "foreign")
		ours.App = "shop"
		r.queue.publish(0, foreign)
		r.queue.publish(0, ours)
		r.wantBodies("gw", "ours")
		r.wantMetric(`halley_job_messages_dropped_total{reason="no_members"}`, "1")
		r.wantMetric("halley_job_interest_rooms", "1")
	})
}

// A stream that was lost and opened again is sent everything until its list is
// complete; rooms it does not announce again are forgotten.
func TestReopenedStreamIsUnfiltered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.list, g.rooms = true, roomCounts("live://1", 1, "live://2", 1)
		r.start()
		settle()
		r.queue.publish(0, toRoom("live://9", "no"))
		r.wantBodies("gw", "")

		g.set(func() { g.list = false })
		g.stream().end(errors.New("reset"))
		r.queue.publish(0, toRoom("live://9", "between"))
		pass(reopenMax)
		r.queue.publish(0, toRoom("live://9", "open"))
		r.wantBodies("gw", "between open")
		if r.job.unfiltered.Load() != 1 {
			t.Errorf("%d unfiltered links, want 1", r.job.unfiltered.Load())
		}

		g.stream().announce(roomCounts("live://2", 1, "live://3", 1), false)
		settle()
		r.queue.publish(0, toRoom("live://9", "part"))
		settle()
		g.stream().announce(nil, true)
		settle()
		for i := range 4 {
			r.queue.publish(0, toRoom(fmt.Sprint("live://", i), fmt.Sprint(i)))
		}
		r.wantBodies("gw", "between open part 2 3")
		pass(2 * countEvery) // what the registry may have is taken back first
		r.wantMetric("halley_job_interest_rooms", "2")
		if r.job.unfiltered.Load() != 0 {
			t.Errorf("%d unfiltered links, want 0", r.job.unfiltered.Load())
		}
	})
}

// A gateway's new life begins unfiltered, whatever the old one announces late.
func TestNewLifeIsUnfiltered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		g := r.gateways.get("gw")
		g.list, g.rooms = true, roomCounts("live://1", 1)
		r.start()
		settle()
		g.set(func() { g.list = false })
		r.registry.add("gw", 2)
		pass(listEvery)
		settle()
		r.queue.publish(0, toRoom("live://9", "a"))
		r.wantBodies("gw", "a")
		g.stream().announce(nil, true)
		settle()
		r.queue.publish(0, toRoom("live://1", "of the life before"))
		r.wantBodies("gw", "a")
		pass(2 * countEvery) // what the registry may have is taken back first
		r.wantMetric("halley_job_interest_rooms", "0")
	})
}

// A gateway that is gone leaves no rooms behind, and does not count as one whose
// list is awaited.
func TestGoneGatewayLeavesNoRooms(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw", "other")
		g := r.gateways.get("gw")
		g.list, g.rooms = true, roomCounts("live://1", 1, "live://2", 1)
		r.gateways.get("other").list = true
		r.start()
		pass(2 * time.Second)
		r.wantMetric("halley_job_interest_rooms", "2")
		g.set(func() { g.refuse = errors.New("connection refused") })
		g.stream().end(errors.New("reset"))
		if r.job.unfiltered.Load() != 1 {
			t.Errorf("%d unfiltered links, want 1", r.job.unfiltered.Load())
		}
		r.registry.remove("gw")
		pass(2 * time.Second)
		r.wantMetric("halley_job_interest_rooms", "0")
		if r.job.unfiltered.Load() != 0 {
			t.Errorf("%d unfiltered links, want 0", r.job.unfiltered.Load())
		}
	})
}

// A gateway may announce, and even end the stream, before Open has returned.
func TestStreamEndsBeforeOpenReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		s := &hastySender{testGateways: r.gateways, ends: 3}
		d := Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: s}
		r.gateways.get("gw").list = true
		r.startWith(d)
		r.queue.publish(0, toAll(0, "a"))
		pass(time.Second)
		r.wantBodies("gw", "a")
		_, _, streams := r.gateways.get("gw").opened()
		if n := len(streams); n != 4 || r.job.unfiltered.Load() != 0 {
			t.Errorf("%d streams, %d unfiltered; want 4 and 0", n, r.job.unfiltered.Load())
		}
	})
}

// hastySender ends streams within Open, the first few times.
type hastySender struct {
	*testGateways
	ends int
}

func (s *hastySender) Open(ctx context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	st, err := s.testGateways.Open(ctx, n, h, r)
	if s.ends > 0 {
		s.ends--
		st.(*testStream).end(errors.New("changed its mind"))
	}
	return st, err
}

// While a gateway's list completes, a room on it is found among the unfiltered
// gateways or in the index at every moment, and never twice.
func TestNoMessageFallsBetweenListAndIndex(t *testing.T) {
	r := newRig(t, 1)
	j := New(r.cfg, Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: r.gateways}, discard, r.set)
	// Many others, one of them never complete, so that looking through the
	// unfiltered ones takes a while.
	for i := range 500 {
		id := fmt.Sprintf("gw%03d", i)
		j.links[id] = newLink(j, cluster.Node{ID: id, Epoch: 1}, func() {})
		j.links[id].setFiltered(i > 0)
	}
	l := newLink(j, cluster.Node{ID: "last", Epoch: 1}, func() {})
	j.links["last"] = l
	j.show()
	p := newPartition(j, &testAssignment{q: r.queue, gen: 1, next: []int64{0}}, 0, make(chan struct{}, 1), func() {})

	var routing sync.RWMutex // the list is taken back only between two messages
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			l.mu.Lock()
			l.pipes++
			pp := &pipe{link: l, number: l.pipes, done: make(chan struct{})}
			l.cur = pp
			l.mu.Unlock()
			pp.Interest(push.Interest{Seq: 1, Rooms: roomCounts("live://1", 1), Complete: true})
			routing.Lock()
			pp.Closed(nil)
			j.index.forget(l)
			routing.Unlock()
		}
	})
	found := [2]int{}
	for i := range 100_000 {
		routing.RLock()
		if l.filtered.Load() {
			found[1]++
		} else {
			found[0]++
		}
		rec := push.Record{Message: toRoom("live://1", "x"), Offset: int64(i)}
		err := p.routeRoom(t.Context(), j.view.Load(), &rec, 0)
		routing.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		st := p.stages[l]
		if st == nil || len(st.items) != 1 {
			t.Fatalf("message %d: staged %+v, want it once", i, st)
		}
		for _, st := range p.staged {
			st.reset(true)
		}
		p.staged = p.staged[:0]
	}
	close(stop)
	churn.Wait()
	t.Logf("%d messages began while the list was not complete, %d after", found[0], found[1])
}

func TestMetricNamesAreValid(t *testing.T) {
	r := newRig(t, 1)
	New(r.cfg, Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: r.gateways}, discard, r.set)
	for _, n := range r.set.ListMetricNames() {
		if !strings.HasPrefix(n, "halley_job_") {
			t.Errorf("metric %s", n)
		}
	}
}
