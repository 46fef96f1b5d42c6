package job

import (
	"errors"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// countRig has three gateways that announce their rooms when a stream opens.
func countRig(t *testing.T) *rig {
	r := newRig(t, 4, "a", "b", "c")
	for _, id := range []string{"a", "b", "c"} {
		r.gateways.get(id).list = true
	}
	r.gateways.get("a").rooms = roomCounts("live://1", 10, "live://2", 5)
	r.gateways.get("b").rooms = roomCounts("live://1", 1)
	return r
}

func (r *rig) wantRoom(name string, want int32) {
	r.t.Helper()
	if got := r.registry.room(name, r.queue.Partitions()); got != want {
		r.t.Errorf("%s has %d in the registry, want %d", name, got, want)
	}
}

func (r *rig) wantTold(id, room string, want int32) {
	r.t.Helper()
	if got := r.gateways.get(id).stream().told(room); got != want {
		r.t.Errorf("%s knows of %d others in %s, want %d", id, got, room, want)
	}
}

func TestCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.registry.rooms[1] = map[string]int32{"live://ghost": 99} // left by an owner before
		r.start()
		pass(countEvery)
		r.wantRoom("live://1", 11)
		r.wantRoom("live://2", 5)
		r.registry.set(func() {
			for p, m := range r.registry.rooms {
				if m["live://ghost"] != 0 {
					t.Errorf("partition %d still has the room of the owner before", p)
				}
			}
		})
		r.wantTold("a", "live://1", 1)
		r.wantTold("b", "live://1", 10)
		r.wantTold("a", "live://2", 0)
		r.wantTold("b", "live://2", unknown)
		r.wantTold("c", "live://1", unknown)

		r.gateways.get("c").stream().announce(roomCounts("live://1", 4, "live://2", 1), false)
		pass(countEvery)
		r.wantRoom("live://1", 15)
		r.wantRoom("live://2", 6)
		r.wantTold("a", "live://1", 5)
		r.wantTold("a", "live://2", 1)
		r.wantTold("c", "live://1", 11)

		r.gateways.get("a").stream().announce(roomCounts("live://1", -1, "live://2", 0), false)
		r.gateways.get("c").stream().announce(roomCounts("live://2", -1), false)
		pass(countEvery)
		r.wantRoom("live://1", 5)
		r.wantRoom("live://2", 0)
		r.wantTold("b", "live://1", 4)
		r.wantTold("a", "live://2", 0)
	})
}

// Changes only, and each room at most once a second however often it changes.
func TestCountsAreWrittenOncePerSecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.start()
		pass(10 * time.Second)
		before := len(r.registry.written())
		if before != 4 {
			t.Errorf("%d writes of 4 partitions without changes", before)
		}
		for i := range 100 {
			r.gateways.get("b").stream().announce(roomCounts("live://1", i%7+20), false)
			pass(10 * time.Millisecond)
		}
		pass(countEvery)
		n := len(r.registry.written()) - before
		if n < 1 || n > 2 {
			t.Errorf("%d writes in 2 s of one room that changed all the time in the first", n)
		}
		for _, p := range r.registry.written()[before:] {
			if p.all || len(p.counts) != 1 || p.counts[0].Room != "live://1" {
				t.Errorf("written %+v, want only the changed room", p)
			}
		}
		r.wantRoom("live://1", 10+99%7+20)
		at, _ := r.gateways.get("a").stream().toldTimes()
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < countEvery {
				t.Errorf("told again after %v", d)
			}
		}
	})
}

// The first write of a partition waits for all room lists, 5 s at most.
func TestFirstWriteWaitsForLists(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.gateways.get("c").list = false
		r.start()
		pass(wholeAfter - time.Second)
		if n := len(r.registry.written()); n != 0 {
			t.Fatalf("%d writes before the lists were complete", n)
		}
		pass(time.Second)
		r.wantRoom("live://1", 11)
		for _, p := range r.registry.written() {
			if !p.all {
				t.Errorf("first write %+v is not of all rooms", p)
			}
		}
	})
}

// A gateway that is gone is taken off; one whose stream only broke is not.
func TestCountsOfALostGateway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.start()
		pass(2 * countEvery)
		g := r.gateways.get("b")
		g.stream().end(errors.New("reset"))
		g.set(func() { g.list = false })
		pass(2 * countEvery)
		r.wantRoom("live://1", 11)

		g.set(func() { g.refuse = errors.New("connection refused") })
		g.stream().end(errors.New("reset"))
		r.registry.remove("b")
		pass(listEvery)
		settle()
		r.wantRoom("live://1", 10)
		r.wantTold("a", "live://1", 0)
	})
}

// A stream that opens again is told the counts anew: what the gateway still knows
// is not for us to guess.
func TestCountsAreToldAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.start()
		pass(2 * countEvery)
		r.gateways.get("a").stream().end(errors.New("reset"))
		pass(2 * countEvery)
		r.wantTold("a", "live://1", 1)
		r.wantTold("a", "live://2", 0)
	})
}

func TestCountsWhileTheRegistryIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.registry.putErr = errors.New("away")
		r.start()
		pass(3 * countEvery)
		r.wantTold("b", "live://1", 10) // the gateways need no registry
		c := r.gateways.get("c").stream()
		c.announce(roomCounts("live://short", 1), false)
		pass(2 * countEvery)
		c.announce(roomCounts("live://short", -1), false)
		pass(2 * countEvery)
		r.registry.set(func() { r.registry.putErr = nil })
		pass(countEvery)
		r.wantRoom("live://1", 11)
		r.wantMetric("halley_job_interest_rooms", "2") // the short one left nothing

		r.registry.set(func() { r.registry.putErr = errors.New("away") })
		r.gateways.get("a").stream().announce(roomCounts("live://1", -1, "live://2", -1), false)
		pass(5 * countEvery)
		r.wantTold("b", "live://1", 0)
		r.wantMetric("halley_job_interest_rooms", "2") // live://2 must be taken back yet
		r.registry.set(func() { r.registry.putErr = nil })
		pass(countEvery)
		r.wantRoom("live://1", 1)
		r.wantRoom("live://2", 0)
		r.wantMetric("halley_job_interest_rooms", "1")
		if r.metric("halley_job_room_counts_errors_total") == "0" {
			t.Error("errors were not counted")
		}
	})
}

// With a new assignment everything is written and told anew: another job may have
// owned the partition in between.
func TestCountsAfterReassignment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.start()
		pass(2 * countEvery)
		r.registry.set(func() { r.registry.rooms = map[int32]map[string]int32{} })
		a := r.gateways.get("a").stream()
		a.g.set(func() { a.counts = nil })
		r.gateways.get("c").stream().announce(roomCounts("live://short", 1), false)
		pass(2 * countEvery)
		r.registry.set(func() { r.registry.putErr = errors.New("away") })
		r.queue.reassign()
		pass(2 * countEvery)
		r.gateways.get("c").stream().announce(roomCounts("live://short", -1), false)
		pass(2 * countEvery)
		r.registry.set(func() { r.registry.putErr = nil })
		pass(2 * countEvery)
		r.wantMetric("halley_job_interest_rooms", "2")
		r.wantRoom("live://short", 0)
		r.wantRoom("live://1", 11)
		r.wantTold("a", "live://1", 1)
		r.wantTold("a", "live://2", 0)
	})
}

// Without an assignment the job counts nothing and keeps no room for its count.
func TestCountsWithoutAssignment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := countRig(t)
		r.start()
		pass(2 * countEvery)
		hold := make(chan struct{})
		r.queue.mu.Lock()
		r.queue.hold = hold
		r.queue.mu.Unlock()
		r.gateways.get("c").stream().announce(roomCounts("live://short", 1), false)
		pass(2 * countEvery)
		r.registry.set(func() { r.registry.putErr = errors.New("away") })
		r.gateways.get("c").stream().announce(roomCounts("live://short", -1), false)
		pass(2 * countEvery)
		r.wantMetric("halley_job_interest_rooms", "3") // one is to be taken back
		r.queue.reassign()
		settle()
		r.wantMetric("halley_job_interest_rooms", "2") // by another job now
		r.registry.set(func() { r.registry.putErr = nil })
		before := len(r.registry.written())
		r.gateways.get("a").stream().announce(roomCounts("live://1", -1, "live://2", -1), false)
		pass(2 * countEvery)
		r.wantMetric("halley_job_interest_rooms", "1")
		if n := len(r.registry.written()); n != before {
			t.Errorf("%d writes without an assignment", n-before)
		}
		close(hold)
		pass(2 * countEvery)
		r.wantRoom("live://1", 1)
		r.wantRoom("live://2", 0)
	})
}

// A gateway with very many rooms is told in pieces.
func TestCountsAreToldInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 4, "a")
		g := r.gateways.get("a")
		g.list = true
		for i := range 3*countsChunk + 1 {
			g.rooms = append(g.rooms, cluster.RoomCount{Room: string(rune('a'+i%26)) + time.Duration(i).String(), Count: 1})
		}
		r.start()
		pass(2 * countEvery)
		if at, rooms := g.stream().toldTimes(); rooms != 3*countsChunk+1 || len(at) != 4 {
			t.Errorf("told of %d rooms in %d calls", rooms, len(at))
		}
	})
}
