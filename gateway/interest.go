package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// roomLinger keeps a room announced after its last member left: most come
	// back, and an announcement costs every job.
	roomLinger = time.Minute
	// countEvery is how often changed member counts are announced, at most.
	countEvery = time.Second
	// interestChunk bounds the rooms of one announcement, interestWindow the
	// announcements that are not confirmed: a list of a million rooms leaves at the
	// pace of its reader.
	interestChunk  = 1000
	interestWindow = 16
	// maxCounts bounds the counts that wait for one stream beside its opening list;
	// beyond it the job is taken for gone.
	maxCounts = 1 << 20
)

// nodeRoom is what the node knows of a room: one object for all loops.
type nodeRoom struct {
	name string // scoped; read-only

	members atomic.Int32  // on all loops of this node
	others  atomic.Int32  // on all other gateways, as a job told last
	loops   atomic.Uint64 // bit i is set while loop i has members
	changed atomic.Bool   // members changed since they were announced

	// Guarded by interest.mu.
	holders     int       // loops that have members
	emptySince  time.Time // when holders became 0
	listed      bool      // it has its entry in interest.empty
	unconfirmed int       // streams whose job does not know the room yet
	waiting     []*loop   // to be told when unconfirmed is 0
}

// online is the number of members in the whole cluster, as far as it is known.
func (r *nodeRoom) online() int32 { return r.members.Load() + r.others.Load() }

// interest tells all jobs which rooms have members here, so that they send this
// node only those rooms' messages. A job that was not told yet sends everything,
// so a stream that opens never causes a gap. A room that is new here is
// announced on all open streams, and joining it waits for their confirmation.
//
// Lock order: a loop or a stream may take mu; under it nothing is called.
type interest struct {
	mu sync.Mutex
	// guards below, and the fields of nodeRoom and stream that say so

	rooms   map[string]*nodeRoom
	streams map[*stream]struct{}
	empty   []emptyRoom // candidates for removal, at most one entry a room, by since

	changedMu sync.Mutex
	changed   []*nodeRoom // guarded by changedMu: counts to announce
}

func newInterest() *interest {
	return &interest{rooms: map[string]*nodeRoom{}, streams: map[*stream]struct{}{}}
}

// get returns the room if it is known here, else nil.
func (in *interest) get(name string) *nodeRoom {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.rooms[name]
}

// acquire says that l has members of the room from now on. ready tells whether
// all jobs know it; if not, l gets a roomReady later.
func (in *interest) acquire(name string, l *loop) (r *nodeRoom, ready bool) {
	in.mu.Lock()
	r = in.rooms[name]
	var tell []*stream
	if r == nil {
		r = &nodeRoom{name: name}
		in.rooms[name] = r
		for st := range in.streams {
			st.newRooms = append(st.newRooms, r)
			r.unconfirmed++
			tell = append(tell, st)
		}
	}
	r.holders++
	r.loops.Or(1 << l.index)
	in.mu.Unlock()

	for _, st := range tell {
		st.announce()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if r.unconfirmed > 0 {
		r.waiting = append(r.waiting, l)
		return r, false
	}
	return r, true
}

// release says that l has no members of r any more.
func (in *interest) release(r *nodeRoom, l *loop) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r.loops.And(^(uint64(1) << l.index))
	r.holders--
	if r.holders == 0 {
		in.list(r, time.Now())
	}
}

// emptyRoom is a room that had no members at since.
type emptyRoom struct {
	room  *nodeRoom
	since time.Time
}

// list notes that r is empty since t. in.mu is held.
func (in *interest) list(r *nodeRoom, t time.Time) {
	r.emptySince = t
	if !r.listed {
		r.listed = true
		in.empty = append(in.empty, emptyRoom{r, t})
	}
}

// count adds n members; the sum is announced within countEvery.
func (in *interest) count(r *nodeRoom, n int32) {
	r.members.Add(n)
	if r.changed.CompareAndSwap(false, true) {
		in.changedMu.Lock()
		in.changed = append(in.changed, r)
		in.changedMu.Unlock()
	}
}

// setOthers stores what a job says about members elsewhere.
func (in *interest) setOthers(counts []cluster.RoomCount) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range counts {
		if r := in.rooms[c.Room]; r != nil {
			r.others.Store(c.Count)
		}
	}
}

// run announces changed counts and forgets rooms that stayed empty, until ctx
// ends.
func (in *interest) run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			in.sweep(time.Now())
		}
	}
}

// sweep does what run does once.
func (in *interest) sweep(now time.Time) {
	in.changedMu.Lock()
	changed := in.changed
	in.changed = nil
	in.changedMu.Unlock()

	in.mu.Lock()
	var counts []cluster.RoomCount
	for _, r := range changed {
		r.changed.Store(false)
		if in.rooms[r.name] == r {
			counts = append(counts, cluster.RoomCount{Room: r.name, Count: r.members.Load()})
		}
	}
	counts = append(counts, in.forget(now)...)
	var tell []*stream
	var gone []*stream
	for st := range in.streams {
		st.counts = append(st.counts, counts...)
		st.recount = st.conns != st.srv.sessions.Load()
		tell = append(tell, st)
		if !st.listing && len(st.counts) > maxCounts {
			gone = append(gone, st)
		}
	}
	in.mu.Unlock()
	for _, st := range gone {
		st.end(errDeafJob)
	}
	for _, st := range tell {
		st.announce()
	}
}

var errDeafJob = errors.New("the job does not confirm announcements")

// forget removes rooms that have been empty for roomLinger. A room that was used
// in between is looked at again later. in.mu is held.
func (in *interest) forget(now time.Time) (gone []cluster.RoomCount) {
	for len(in.empty) > 0 && now.Sub(in.empty[0].since) >= roomLinger {
		e := in.empty[0]
		in.empty = in.empty[1:]
		e.room.listed = false
		switch {
		case e.room.holders > 0:
		case e.room.emptySince.After(e.since):
			in.list(e.room, e.room.emptySince)
		default:
			delete(in.rooms, e.room.name)
			gone = append(gone, cluster.RoomCount{Room: e.room.name, Count: -1})
		}
	}
	return gone
}

// open adds a stream and queues the list of all rooms for it. Joins do not wait
// for that list: until it is complete the job sends everything.
func (in *interest) open(st *stream) {
	in.mu.Lock()
	in.streams[st] = struct{}{}
	for _, r := range in.rooms {
		st.counts = append(st.counts, cluster.RoomCount{Room: r.name, Count: r.members.Load()})
	}
	st.listing = true
	in.mu.Unlock()
	st.announce()
}

// close removes a stream: nobody waits for its confirmations any more. It reports
// whether an announcement is under way, whose sender then calls Closed: that must
// be the last call to the job.
func (in *interest) close(st *stream, err error) (announcing bool) {
	in.mu.Lock()
	delete(in.streams, st)
	st.ended, st.reason = true, err
	announcing = st.announcing
	rooms := st.newRooms
	for _, a := range st.announced {
		rooms = append(rooms, a.rooms...)
	}
	st.newRooms, st.announced, st.counts = nil, nil, nil
	ready := confirm(rooms)
	in.mu.Unlock()
	ready.tell()
	return announcing
}

// confirmed handles a job's confirmation of everything up to seq.
func (in *interest) confirmed(st *stream, seq uint64) {
	in.mu.Lock()
	st.confirmed = max(st.confirmed, min(seq, st.seq))
	var rooms []*nodeRoom
	for len(st.announced) > 0 && st.announced[0].seq <= seq {
		rooms = append(rooms, st.announced[0].rooms...)
		st.announced = st.announced[1:]
	}
	ready := confirm(rooms)
	in.mu.Unlock()
	ready.tell()
	st.announce() // the window may have opened
}

// readyRooms are loops to be told that a room is ready.
type readyRooms []struct {
	loop *loop
	room *nodeRoom
}

func (rr readyRooms) tell() {
	for _, x := range rr {
		x.loop.mailbox.post(roomReady{x.room})
	}
}

// confirm notes one confirmation for each room. interest.mu is held.
func confirm(rooms []*nodeRoom) (ready readyRooms) {
	for _, r := range rooms {
		if r.unconfirmed--; r.unconfirmed > 0 {
			continue
		}
		for _, l := range r.waiting {
			ready = append(ready, struct {
				loop *loop
				room *nodeRoom
			}{l, r})
		}
		r.waiting = nil
	}
	return ready
}

// announcement is what was sent under a sequence number and is not confirmed.
type announcement struct {
	seq   uint64
	rooms []*nodeRoom
}

// announce sends what is queued for the stream. If another goroutine is at it,
// that one sends it all: announcements keep their order.
func (st *stream) announce() {
	in := st.srv.interest
	in.mu.Lock()
	if st.announcing || st.ended {
		in.mu.Unlock()
		return
	}
	st.announcing = true
	for {
		i, ok := st.nextInterest()
		if !ok {
			break
		}
		in.mu.Unlock()
		st.peer.Interest(i)
		in.mu.Lock()
	}
	st.announcing = false
	ended, reason := st.ended, st.reason
	in.mu.Unlock()
	if ended { // meanwhile, and it was left to us
		st.peer.Closed(reason)
	}
}

// nextInterest takes the next announcement off the queues: counts and the
// opening list first, so that a count never comes behind a newer one of the same
// room. interest.mu is held.
func (st *stream) nextInterest() (i push.Interest, ok bool) {
	if _, open := st.srv.interest.streams[st]; !open || st.seq-st.confirmed >= interestWindow {
		return i, false
	}
	switch {
	case len(st.counts) > 0:
		n := min(len(st.counts), interestChunk)
		i.Rooms, st.counts = st.counts[:n:n], st.counts[n:]
	case len(st.newRooms) > 0:
		n := min(len(st.newRooms), interestChunk)
		for _, r := range st.newRooms[:n] {
			i.Rooms = append(i.Rooms, cluster.RoomCount{Room: r.name, Count: r.members.Load()})
		}
		st.announced = append(st.announced, announcement{st.seq + 1, st.newRooms[:n:n]})
		st.newRooms = st.newRooms[n:]
	case !st.listing && !st.recount:
		return i, false
	}
	st.recount, st.conns = false, st.srv.sessions.Load()
	i.Conns, i.Counted = st.conns, true
	if st.listing && len(st.counts) == 0 {
		st.listing, i.Complete = false, true
	}
	st.seq++
	i.Seq = st.seq
	return i, true
}

// size is how many rooms are known here.
func (in *interest) size() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.rooms)
}
