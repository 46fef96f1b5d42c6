package job

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// chaosGateway refuses, answers late, and loses streams, at random. It notes what
// it admitted, and from which offset on the job owes it a room's messages.
type chaosGateway struct {
	id     string
	queue  *testQueue
	faults [faultKinds]int // that took effect; guarded by mu

	mu      sync.Mutex
	rng     *rand.Rand
	calm    bool // no more faults
	away    bool // cannot be reached
	cur     *chaosStream
	streams int
	rooms   map[string]bool
	owed    map[string]int64 // offset in the room's partition; absent until the job confirmed
	got     map[int32][]chaosGot
}

const (
	faultBusy = iota
	faultDropBefore
	faultDropAfter
	faultLateStream
	faultKinds
)

type chaosGot struct {
	stream     int
	generation int32
	offset     int64
}

func newChaosGateway(id string, q *testQueue, rng *rand.Rand) *chaosGateway {
	return &chaosGateway{
		id: id, queue: q, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)),
		rooms: map[string]bool{}, owed: map[string]int64{}, got: map[int32][]chaosGot{},
	}
}

// chaosStream is one stream. A late one answers on a goroutine of its own.
type chaosStream struct {
	g      *chaosGateway
	r      push.Receiver
	number int
	late   bool

	announcing sync.Mutex // held while r.Interest or r.Closed is called
	seq        uint64     // guarded by announcing

	// Guarded by g.mu.
	closed  bool
	next    map[[2]int32]uint64
	answers []push.Ack
	asked   map[uint64]string // rooms announced and not confirmed

	wake chan struct{}
}

func (g *chaosGateway) open(r push.Receiver) (push.Stream, error) {
	g.mu.Lock()
	if g.away || !g.calm && g.rng.IntN(4) == 0 {
		g.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	st := &chaosStream{
		g: g, r: r, number: g.streams, late: g.rng.IntN(2) == 0,
		next: map[[2]int32]uint64{}, asked: map[uint64]string{}, wake: make(chan struct{}, 1),
	}
	g.streams++
	g.cur = st
	var list []cluster.RoomCount
	for room := range g.rooms {
		list = append(list, cluster.RoomCount{Room: room, Count: 1})
		g.oweLocked(room) // until the list is complete everything is sent
	}
	if st.late {
		g.faults[faultLateStream]++
	}
	early := g.rng.IntN(2) == 0
	g.mu.Unlock()
	if st.late {
		go st.answerLate() // ends with the stream
	}
	announce := func() {
		half := len(list) / 2
		st.announce(list[:half], false)
		st.announce(list[half:], true)
	}
	if early {
		announce()
	} else {
		go announce() // ends by itself: announce does not block
	}
	return st, nil
}

func (g *chaosGateway) oweLocked(room string) {
	if _, ok := g.owed[room]; !ok {
		g.owed[room] = g.queue.servedOf(push.RoomPartition(room, g.queue.Partitions()))
	}
}

// join makes the gateway a member of the room, announced on the open stream.
func (g *chaosGateway) join(room string) {
	g.mu.Lock()
	if g.rooms[room] {
		g.mu.Unlock()
		return
	}
	g.rooms[room] = true
	st := g.cur
	g.mu.Unlock()
	if st != nil {
		st.announce([]cluster.RoomCount{{Room: room, Count: 1}}, false)
	}
}

func (st *chaosStream) announce(rooms []cluster.RoomCount, complete bool) {
	st.announcing.Lock()
	defer st.announcing.Unlock()
	st.g.mu.Lock()
	if st.closed {
		st.g.mu.Unlock()
		return
	}
	st.seq++
	if len(rooms) == 1 {
		st.asked[st.seq] = rooms[0].Room
	}
	st.g.mu.Unlock()
	st.r.Interest(push.Interest{Seq: st.seq, Rooms: rooms, Complete: complete})
}

func (st *chaosStream) Confirm(seq uint64) error {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	if st.closed {
		return errTestClosed
	}
	for s, room := range st.asked {
		if s <= seq {
			st.g.oweLocked(room)
			delete(st.asked, s)
		}
	}
	return nil
}

func (st *chaosStream) Counts([]cluster.RoomCount) error { return nil }

func (st *chaosStream) Deliver(b *push.Batch) error {
	g := st.g
	g.mu.Lock()
	if st.closed {
		g.mu.Unlock()
		return errTestClosed
	}
	if !g.calm && g.rng.IntN(150) == 0 {
		g.faults[faultDropBefore]++
		fail := g.rng.IntN(2) == 0
		g.mu.Unlock()
		st.end()
		if fail {
			return errTestClosed
		}
		return nil
	}
	a := st.admitLocked(b)
	if !g.calm && g.rng.IntN(150) == 0 {
		g.faults[faultDropAfter]++
		g.mu.Unlock()
		st.end()
		return nil
	}
	if st.late {
		st.answers = append(st.answers, a)
		g.mu.Unlock()
		signal(st.wake)
		return nil
	}
	g.mu.Unlock()
	st.r.Ack(a)
	return nil
}

// admitLocked answers as the real gateway does: nothing out of turn is admitted.
func (st *chaosStream) admitLocked(b *push.Batch) push.Ack {
	g := st.g
	key := [2]int32{b.Partition, b.Generation}
	want := st.next[key] + 1
	a := push.Ack{Partition: b.Partition, Generation: b.Generation, Seq: b.Seq}
	switch {
	case b.Seq > want:
		a.Seq, a.Status = want, push.AckBusy
	case b.Seq == want && !g.calm && g.rng.IntN(25) == 0:
		g.faults[faultBusy]++
		a.Status = push.AckBusy
	case b.Seq == want:
		st.next[key] = want
		for i := range b.Items {
			g.got[b.Partition] = append(g.got[b.Partition], chaosGot{st.number, b.Generation, int64(b.Items[i].ID.Index) - 1})
		}
	}
	return a
}

// answerLate gives answers some time after they were due, several at once.
func (st *chaosStream) answerLate() {
	for range st.wake {
		st.g.mu.Lock()
		closed, pause := st.closed, time.Duration(st.g.rng.IntN(150))*time.Microsecond
		st.g.mu.Unlock()
		if closed {
			return
		}
		time.Sleep(pause) // the fault itself: an answer that is slow
		st.g.mu.Lock()
		answers := st.answers
		st.answers = nil
		st.g.mu.Unlock()
		for _, a := range answers {
			st.r.Ack(a)
		}
	}
}

func (st *chaosStream) Close() { st.end() }

func (st *chaosStream) end() {
	st.announcing.Lock()
	defer st.announcing.Unlock()
	st.g.mu.Lock()
	was := st.closed
	st.closed = true
	if st.g.cur == st {
		st.g.cur = nil
	}
	st.g.mu.Unlock()
	if !was {
		signal(st.wake)
		st.r.Closed(errors.New("lost"))
	}
}

// chaosSender opens streams to chaosGateways.
type chaosSender map[string]*chaosGateway

func (s chaosSender) Open(_ context.Context, n cluster.Node, _ push.Hello, r push.Receiver) (push.Stream, error) {
	return s[n.ID].open(r)
}

// check compares what the gateway admitted of partition p with what it was owed:
// everything at least once, for the first time in order, and within one stream
// and generation contiguously. It returns how many repeats there were.
func (g *chaosGateway) check(fail func(format string, args ...any), p int32, log []push.Record) (repeats int) {
	owed := make([]bool, len(log))
	for i := range log {
		switch to := &log[i].To; to.Kind {
		case push.Keys:
			owed[i] = to.Node == g.id
		case push.Room:
			from, ok := g.owed[to.Room]
			owed[i] = ok && int64(i) >= from
		default:
			owed[i] = true
		}
	}
	skips := func(from, to int64) int { return slices.Index(owed[min(from, to):to], true) }
	high := int64(-1) // highest admitted so far
	var last chaosGot
	for i, x := range g.got[p] {
		if i > 0 && last.stream == x.stream && last.generation == x.generation {
			if x.offset <= last.offset {
				fail("%s, partition %d: %d after %d on one stream", g.id, p, x.offset, last.offset)
				return repeats
			}
			if n := skips(last.offset+1, x.offset); n >= 0 {
				fail("%s, partition %d: %d after %d on one stream skips %d", g.id, p, x.offset, last.offset, last.offset+1+int64(n))
				return repeats
			}
		}
		if x.offset > high {
			if n := skips(high+1, x.offset); n >= 0 {
				fail("%s, partition %d: %d comes before %d", g.id, p, x.offset, high+1+int64(n))
				return repeats
			}
			high = x.offset
		} else {
			repeats++
		}
		last = x
	}
	if n := skips(high+1, int64(len(log))); n >= 0 {
		fail("%s, partition %d: %d never came", g.id, p, high+1+int64(n))
	}
	return repeats
}
