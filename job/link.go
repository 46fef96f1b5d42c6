package job

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// pumpCalls is how many calls one goroutine makes on a stream before it leaves
	// the rest to the link's own: a partition's reader must get back to reading
	// though others keep filling the link.
	pumpCalls = 64
	// countsChunk bounds the rooms of one Counts call.
	countsChunk = 1000
	// unanswered is how long a gateway without a lease may leave batches
	// unanswered on a stream that still stands before it counts as gone.
	unanswered = cluster.LeaseTTL
)

// link is the way to one gateway: its delivery stream and the lanes that are sent
// on it. It stands as long as the node is known, over streams and lives.
//
// Whoever changes something that may make it send calls pump after it. One
// goroutine at a time pumps, the others return at once; so what is sent keeps
// its order, and a gateway that answers within Deliver does not recurse.
type link struct {
	// Set by newLink, then read-only.
	id     string
	job    *Job
	cancel context.CancelFunc // ends run
	kick   chan struct{}      // wakes serve; holds one
	reborn chan struct{}      // ends pause: a new life began; holds one

	// Written under mu, read without.
	life     atomic.Uint64 // epoch of the gateway's life
	conns    atomic.Int64  // sessions it has, by its lease
	told     atomic.Int64  // sessions it has, as it said on the current stream; negative: nothing
	filtered atomic.Bool   // its room list is complete: rooms it did not announce are not sent

	mu sync.Mutex
	// guards below
	node     cluster.Node
	gone     bool                // the job has given the node up
	cur      *pipe               // the open or opening stream; nil between
	pipes    uint32              // how many were made
	lanes    map[int32]*lane     // by partition
	ready    []*lane             // have something to send, in turn
	resting  int                 // lanes that were refused as busy
	inflight int                 // bytes
	answered time.Time           // last answer, or when the first byte went in flight
	counts   []cluster.RoomCount // to be told to the gateway
	pumping  bool                // a goroutine is in pump
}

func newLink(j *Job, n cluster.Node, cancel context.CancelFunc) *link {
	l := &link{
		id:     n.ID,
		job:    j,
		cancel: cancel,
		kick:   make(chan struct{}, 1),
		reborn: make(chan struct{}, 1),
		node:   n,
		lanes:  map[int32]*lane{},
	}
	l.life.Store(uint64(n.Epoch))
	l.conns.Store(n.Conns)
	l.told.Store(-1)
	j.unfiltered.Add(1)
	return l
}

// wake makes serve look again.
func (l *link) wake() { signal(l.kick) }

// signal puts a token into a channel that holds one, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// setFiltered also keeps the job's count of links that are not. mu is held.
func (l *link) setFiltered(v bool) {
	if l.gone || l.filtered.Load() == v {
		return
	}
	l.filtered.Store(v)
	if v {
		l.job.unfiltered.Add(-1)
	} else {
		l.job.unfiltered.Add(1)
	}
}

// update takes over what the node's lease says. A new life closes the stream of
// the old one and drops pushes to its keys; the rest goes to the new life. It
// reports whether there was one.
func (l *link) update(n cluster.Node) (newLife bool) {
	l.conns.Store(n.Conns)
	l.mu.Lock()
	newLife = n.Epoch != l.node.Epoch
	l.node = n
	var old push.Stream
	if newLife {
		l.life.Store(uint64(n.Epoch))
		if l.cur != nil {
			old = l.cur.stream
		}
		l.detach()
		for _, ln := range l.lanes {
			ln.enter(uint64(n.Epoch))
		}
		l.refill()
	}
	l.mu.Unlock()
	if !newLife {
		return false
	}
	l.job.log.Info("gateway began a new life", "node", n.ID, "epoch", n.Epoch)
	if old != nil {
		old.Close()
	}
	signal(l.reborn)
	return true
}

// missing says that the node's lease is not in the registry's list and reports
// whether the node is to be given up: it has no open stream either, or one it
// does not answer on.
func (l *link) missing(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.openLocked() {
		return true
	}
	return l.inflight > 0 && now.Sub(l.answered) >= unanswered
}

// giveUp drops what was for the node and ends run.
func (l *link) giveUp() {
	l.mu.Lock()
	l.setFiltered(true) // it does not count as one that is not
	l.gone = true
	for p, ln := range l.lanes {
		ln.close(dropNodeGone)
		delete(l.lanes, p)
	}
	l.ready = nil
	l.mu.Unlock()
	l.cancel()
}

// isGone says that the node was given up.
func (l *link) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// openLocked says whether batches can be sent.
func (l *link) openLocked() bool { return l.cur != nil && l.cur.stream != nil && !l.cur.failed }

// detach leaves the current stream: nothing is sent on it and its answers do not
// count any more. Everything unanswered waits again. mu is held.
func (l *link) detach() {
	l.cur = nil
	l.told.Store(-1)
	l.setFiltered(false)
	l.counts = nil
	for _, ln := range l.lanes {
		ln.rewind()
	}
	l.refill()
}

// refill puts every lane that can send in the queue for it. mu is held.
func (l *link) refill() {
	l.ready = l.ready[:0]
	for _, ln := range l.lanes {
		ln.queued = false
		l.enqueue(ln)
	}
}

// enqueue gives ln its turn if it can send. mu is held.
func (l *link) enqueue(ln *lane) {
	if !ln.queued && ln.sendable() {
		ln.queued = true
		l.ready = append(l.ready, ln)
	}
}

// addInflight counts bytes in flight. mu is held.
func (l *link) addInflight(n int) {
	if l.inflight == 0 {
		l.answered = time.Now()
	}
	l.inflight += n
	l.job.m.inflight.Add(int64(n))
}

// lane makes the lane of p. That of a node that is gone is closed.
func (l *link) lane(p *partition) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := newLane(l, p)
	if l.gone {
		ln.close(dropNodeGone)
	} else {
		l.lanes[p.id] = ln
	}
	return ln
}

// drop closes a lane whose assignment is over.
func (l *link) drop(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln.close(dropUnassigned)
	if l.lanes[ln.part.id] == ln {
		delete(l.lanes, ln.part.id)
	}
	l.refill()
}

// take hands what st holds to its lane and sends what can be sent. It returns
// false, and takes nothing, when the lane is full. A node that is gone takes
// everything and drops it.
func (l *link) take(st *stage) bool {
	l.mu.Lock()
	ln := st.lane
	st.leave(l.job, l.life.Load())
	if ln.closed {
		l.job.m.copies.Add(len(st.items))
		l.job.dropCopies(dropNodeGone, st.items)
		st.reset(true)
		l.mu.Unlock()
		return true
	}
	if len(st.items) > 0 {
		if !ln.room(st.bytes, l.job.cfg.LaneBytes) {
			l.mu.Unlock()
			return false
		}
		l.job.m.copies.Add(len(st.items))
		st.reset(ln.add(st.items, st.bytes, st.first, l.job.cfg.BatchBytes))
		l.enqueue(ln)
	}
	l.mu.Unlock()
	l.pump()
	return true
}

// tell queues counts for the gateway; without a stream they are of no use, the
// next one is told everything anew.
func (l *link) tell(counts []cluster.RoomCount) {
	l.mu.Lock()
	if l.openLocked() {
		l.counts = append(l.counts, counts...)
	}
	l.mu.Unlock()
	l.pump()
}

// pump sends what can be sent, up to pumpCalls calls.
func (l *link) pump() {
	l.mu.Lock()
	if l.pumping {
		l.mu.Unlock()
		return
	}
	l.pumping = true
	var broken push.Stream
	calls := 0
	for ; calls < pumpCalls; calls++ {
		s, ok := l.next()
		if !ok {
			break
		}
		l.mu.Unlock()
		err := s.do()
		l.mu.Lock()
		if err != nil {
			s.pipe.failed, broken = true, s.pipe.stream
		}
	}
	l.pumping = false
	l.mu.Unlock()
	if broken != nil {
		broken.Close() // it has ended; this makes sure that Closed is called
	}
	if calls == pumpCalls {
		l.wake()
	}
}

// step is one call on a stream.
type step struct {
	pipe    *pipe
	batch   *push.Batch
	counts  []cluster.RoomCount
	confirm uint64
}

func (s *step) do() error {
	switch {
	case s.batch != nil:
		return s.pipe.stream.Deliver(s.batch)
	case s.counts != nil:
		return s.pipe.stream.Counts(s.counts)
	default:
		return s.pipe.stream.Confirm(s.confirm)
	}
}

// next takes what is to be called next: confirmations first, since joins wait
// for them, then counts, then a batch of the lane whose turn it is, if the window
// allows. mu is held.
func (l *link) next() (s step, ok bool) {
	if !l.openLocked() {
		return s, false
	}
	p := l.cur
	s.pipe = p
	if p.heard > p.confirmed {
		p.confirmed = p.heard
		s.confirm = p.heard
		return s, true
	}
	if len(l.counts) > 0 {
		n := min(len(l.counts), countsChunk)
		s.counts, l.counts = l.counts[:n:n], l.counts[n:]
		return s, true
	}
	for len(l.ready) > 0 {
		ln := l.ready[0]
		if ln.sendable() && l.inflight > 0 && l.inflight+ln.peek().bytes > l.job.cfg.Window {
			return s, false // an answer makes room and pumps
		}
		l.ready = l.ready[:copy(l.ready, l.ready[1:])]
		ln.queued = false
		if !ln.sendable() {
			continue
		}
		s.batch = ln.take()
		l.enqueue(ln)
		return s, true
	}
	return s, false
}
