package gateway

import (
	"sync/atomic"
	"time"
)

// castShare is a push to all as the node counts it.
type castShare struct {
	rate float64      // messages per second on this node; 0: no limit
	left atomic.Int32 // loops that are not done
}

// done is called once per loop.
func (c *castShare) done(srv *Server) {
	if c.left.Add(-1) > 0 {
		return
	}
	paced := 0
	if c.rate > 0 {
		paced = 1
	}
	srv.casts.put(1, paced)
}

// cast is a push to all on its way over the sessions of a loop. Slots do not
// move, so every session that was there when it began is met once.
type cast struct {
	shares []*castShare
	flush
	size int // bytes of its messages
	next int // slot to go on from

	// Of one with a speed, which is a single message.
	rate   float64 // messages per second on this loop; 0: no limit
	since  int64   // ms of loop.clock up to which budget was given
	budget float64 // messages that may be written now
}

// addCast begins a push to all; part is the loop's share of its rate. One without
// a limit joins the last that has not begun, so that pushes that come together
// leave together.
func (l *loop) addCast(share *castShare, m *message, part float64) {
	rate := share.rate * part
	switch n := len(l.casts); {
	case share.rate > 0 && l.conns.Load() == 0:
		share.done(l.srv) // nobody is here; who comes now came later
		return
	case share.rate > 0:
		// A rate of 0 would be none: a loop that was empty a moment ago.
		rate = max(rate, 1)
		l.pace.in(paceEvery)
	case n > 0 && l.casts[n-1].joins(m):
		c := l.casts[n-1]
		c.shares, c.msgs, c.size = append(c.shares, share), append(c.msgs, m), c.size+len(m.inner)
		return
	}
	l.casts = append(l.casts, &cast{
		shares: []*castShare{share}, flush: flush{msgs: []*message{m}}, size: len(m.inner),
		rate: rate, since: l.clock(),
	})
}

// joins says that m may leave with c: it has not begun, and one write holds both.
func (c *cast) joins(m *message) bool {
	return c.next == 0 && c.rate == 0 && c.size+len(m.inner) <= maxWrite
}

// casting says that a push to all without a limit is under way.
func (l *loop) casting() bool {
	for _, c := range l.casts {
		if c.rate == 0 {
			return true
		}
	}
	return false
}

// castWrites is how many sessions a push to all reaches in one slice, less if it is
// long: half of the slice, so that rooms and keys go on beside it.
const castWrites = sliceWrites / 2

// stepCasts moves the first unpaced cast on by a slice.
func (l *loop) stepCasts() {
	for i, c := range l.casts {
		if c.rate > 0 {
			continue
		}
		l.left -= l.advance(c, castWrites/(1+c.size/sliceBytes), 8*castWrites)
		if c.next >= l.table.size() {
			l.endCast(i)
		}
		return
	}
}

const (
	// paceEvery is how often paced casts move on.
	paceEvery = 10 * time.Millisecond
	// maxPace bounds what a paced cast writes at a time, 5 ms of writing: 50,000
	// messages per second and loop.
	maxPace = 500
)

// paceMail is the mail that moves every paced cast on by what its speed allows
// since the last time.
type paceMail struct{}

func (paceMail) run(l *loop) {
	l.pace.set = false
	now := l.clock()
	for i := len(l.casts) - 1; i >= 0; i-- {
		c := l.casts[i]
		if c.rate == 0 {
			continue
		}
		c.budget += c.rate * float64(now-c.since) / 1000
		c.since = now
		c.budget -= float64(l.advance(c, min(int(c.budget), maxPace), l.table.size()))
		c.budget = min(c.budget, maxPace) // what a loop could not do in its time is not made up for in a burst
		if c.next >= l.table.size() {
			l.endCast(i)
			continue
		}
		l.pace.in(paceEvery)
	}
}

// advance gives c to up to most sessions that accept it, looking at no more than
// slots slots, and returns how many that were.
func (l *loop) advance(c *cast, most, slots int) (reached int) {
	defer l.recovered(nil)
	for ; slots > 0 && reached < most && c.next < l.table.size(); slots-- {
		s := l.table.at(uint32(c.next))
		c.next++
		if s.conn == nil || !s.live() {
			continue
		}
		wanted := 0
		for _, m := range c.msgs {
			if s.wants(m.op) {
				wanted++
			}
		}
		l.srv.m.notAccepted.Add(len(c.msgs) - wanted)
		if wanted > 0 {
			reached++
		}
		l.cast(s, c, wanted)
	}
	return reached
}

// cast gives s those messages of c that it wants.
func (l *loop) cast(s *session, c *cast, wanted int) {
	switch wanted {
	case 0:
	case len(c.msgs):
		l.give(s, &c.flush)
	default:
		for _, m := range c.msgs {
			if s.wants(m.op) {
				l.addPending(s, m)
			}
		}
	}
}

// endCast removes the i-th cast.
func (l *loop) endCast(i int) {
	for _, share := range l.casts[i].shares {
		share.done(l.srv)
	}
	l.casts = append(l.casts[:i], l.casts[i+1:]...)
}
