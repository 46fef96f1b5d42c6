package gateway

import "sync/atomic"

// castSlots is how many sessions a push to all reaches before the loop looks at
// its sockets again.
const castSlots = 256

// castShare is a push to all as the node counts it.
type castShare struct {
	speed int32        // messages per second on this node; 0: no limit
	left  atomic.Int32 // loops that are not done
}

// done is called once per loop.
func (c *castShare) done(srv *Server) {
	if c.left.Add(-1) > 0 {
		return
	}
	paced := 0
	if c.speed > 0 {
		paced = 1
	}
	srv.casts.put(1, paced)
}

// cast is a push to all on its way over the sessions of a loop. Slots do not
// move, so every session that was there when it began is met once.
type cast struct {
	shares []*castShare
	msgs   []*message
	next   int     // slot to go on from
	budget float64 // of a paced cast: sessions that may be written now
}

// addCast begins a push to all. One without a limit joins the last that has not
// begun, so that pushes that come together leave together.
func (l *loop) addCast(share *castShare, m *message) {
	if n := len(l.casts); n > 0 && share.speed == 0 {
		if c := l.casts[n-1]; c.next == 0 && c.shares[0].speed == 0 {
			c.shares, c.msgs = append(c.shares, share), append(c.msgs, m)
			return
		}
	}
	l.casts = append(l.casts, &cast{shares: []*castShare{share}, msgs: []*message{m}})
}

// stepCasts moves the first unpaced cast on by castSlots. It reports whether an
// unpaced cast is left.
func (l *loop) stepCasts() (more bool) {
	for i, c := range l.casts {
		if c.shares[0].speed > 0 {
			continue
		}
		l.advance(c, castSlots, castSlots)
		if c.next >= len(l.table.slots) {
			l.endCast(i)
		}
		break
	}
	for _, c := range l.casts {
		more = more || c.shares[0].speed == 0
	}
	return more
}

// paceCasts moves every paced cast on by what its speed allows in one tick. The
// loop's share of the node's speed is that of its connections.
func (l *loop) paceCasts() {
	for i := len(l.casts) - 1; i >= 0; i-- {
		c := l.casts[i]
		speed := float64(c.shares[0].speed)
		if speed == 0 {
			continue
		}
		if l.conns.Load() == 0 {
			l.endCast(i) // nobody is here; who comes now came later
			continue
		}
		share := float64(l.conns.Load()) / float64(max(1, l.srv.Conns()))
		c.budget += speed * share * tickEvery.Seconds()
		c.budget -= float64(l.advance(c, int(c.budget), len(l.table.slots)))
		if c.next >= len(l.table.slots) {
			l.endCast(i)
		}
	}
}

// advance queues c for up to max sessions that accept it, looking at no more than
// slots slots, and returns how many it was.
func (l *loop) advance(c *cast, max, slots int) (reached int) {
	defer l.recovered(nil)
	for ; slots > 0 && reached < max && c.next < len(l.table.slots); slots-- {
		s := l.table.slots[c.next].s
		c.next++
		if s == nil || !s.live() {
			continue
		}
		for _, m := range c.msgs {
			if s.wants(m.op) {
				l.addPending(s, m)
				reached++
			} else {
				l.srv.m.notAccepted.Inc()
			}
		}
	}
	return reached
}

// endCast removes the i-th cast.
func (l *loop) endCast(i int) {
	for _, share := range l.casts[i].shares {
		share.done(l.srv)
	}
	l.casts = append(l.casts[:i], l.casts[i+1:]...)
}
