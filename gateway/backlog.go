package gateway

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/rooms"
)

// A session is behind when its socket has not taken all that was written to it.
// gnet then holds the rest of that write and nothing more: what comes meanwhile
// waits in side.pending, by reference, and is written when the socket has taken
// the rest, merged. gnet tells nobody when that is, so we look every pollBehind.
//
// Before that the kernel has taken up to 128 KiB for a client that does not read,
// which adds up. So the sweep, once a second, asks the kernel about sessions that
// were written to; one with more than muchUnsent in its socket is behind, too.

// backlog is what a session that is behind costs.
type backlog struct {
	bytes   int    // of pending
	kernel  int32  // of the socket, as far as is known
	since   uint32 // loop.now when it went over max_outbound; 0: it is not
	doomed  bool   // it gets nothing more, and is closed by one of the next polls
	counted int64  // its part of Server.backlog
}

const (
	pollBehind = 20 * time.Millisecond
	// A burst that the kernel does not take at once is not a slow reader: a session
	// may be over max_outbound for slowTime, and by hardOutbound times never.
	slowTime     = time.Second
	hardOutbound = 16
	// closeFor is how long a poll may take to close sessions, a tenth of pollBehind: to
	// reset a socket with 128 KiB in it takes the kernel 100 µs and more, and others
	// wait. (4,000 at once held up everybody for 200 ms.)
	closeFor = pollBehind / 10
	// maxAsks is how many sessions a poll looks at, in turns: to ask the kernel takes
	// 1 µs. (A fifth of a CPU for 4,500, with no bound.)
	maxAsks = 256
	// muchUnsent bytes wait in the socket of a client that is behind: a fast one has
	// a round trip's worth there, and only now and then.
	muchUnsent = 16 << 10
)

// fellBehind is called when gnet holds back what was written to s.
func (l *loop) fellBehind(s *session) {
	if !s.is(flagBehind) {
		s.mark(flagBehind)
		l.behind = append(l.behind, s.id())
		x := l.sideOf(s)
		for _, m := range x.pending {
			x.backlog.bytes += len(m.inner)
		}
	}
	if s.conn.OutboundBuffered() > 0 {
		s.side.backlog.kernel = int32(l.srv.kernelBuffer) // full
	}
	l.weigh(s)
	l.poll.in(pollBehind)
}

// askKernel looks at how much of what was written to s its socket still holds. It
// reports whether that is so much that s is behind.
func (l *loop) askKernel(s *session) (behind bool) {
	s.unmark(flagWritten)
	unsent, err := unix.IoctlGetInt(s.conn.Fd(), unix.SIOCOUTQ)
	if err != nil || unsent <= muchUnsent {
		return false
	}
	// What the kernel charges for it is up to twice as much.
	l.sideOf(s).backlog.kernel = int32(min(2*unsent, l.srv.kernelBuffer))
	return true
}

// weigh counts what s costs, and decides whether it is too slow. Polls close it:
// clients that stopped together reach their bound with the same message, and to
// close thousands at once would hold up everybody else.
func (l *loop) weigh(s *session) {
	b := &s.side.backlog
	held := s.conn.OutboundBuffered() + b.bytes
	cost := int64(held) + int64(b.kernel)
	l.srv.backlog.Add(cost - b.counted)
	b.counted = cost
	bound := l.srv.maxOutbound(s)
	switch {
	case held <= bound:
		b.since = 0
	case b.since == 0:
		b.since = max(1, l.now)
	}
	if held > hardOutbound*bound || b.since != 0 && int32(l.now-b.since) > ticks(slowTime) {
		b.doomed = true
	}
}

// maxOutbound bounds what may wait for s, in bytes. The echo service must give
// back what it has taken.
func (srv *Server) maxOutbound(s *session) int {
	if s.form.isEcho() {
		return maxEcho
	}
	return srv.cfg.MaxOutbound
}

// admits says that m may be queued for s, which is behind. What the room's policy
// drops instead is counted.
func (l *loop) admits(s *session, m *message) bool {
	x := s.side
	policy := rooms.Close
	if r := s.room; r != nil && m.room == r.node {
		policy = r.options.Slow
	}
	if policy == rooms.Conflate && l.conflated(x, m) {
		return false
	}
	if policy == rooms.Drop && s.conn.OutboundBuffered()+x.backlog.bytes+len(m.inner) > l.srv.maxOutbound(s) {
		l.srv.m.slowDropped.Inc()
		return false
	}
	if x.backlog.doomed {
		return false
	}
	x.backlog.bytes += len(m.inner)
	l.weigh(s)
	return true
}

// conflated puts m in the place of the message of its room that waits already; it
// reports whether there was one.
func (l *loop) conflated(x *side, m *message) bool {
	for i, old := range x.pending {
		if old.room == m.room {
			x.pending[i] = m
			x.backlog.bytes += len(m.inner) - len(old.inner)
			l.srv.m.conflated.Inc()
			return true
		}
	}
	return false
}

// pollMail is the mail that looks at the sessions that are behind: the first are so
// for longest. It closes what is too slow, and the first while the node's budget is
// exceeded; what comes for the others until they have their turn is only references.
type pollMail struct{}

func (pollMail) run(l *loop) {
	l.poll.set = false
	until := time.Now().Add(closeFor)
	from, asks := l.asked, 0
	kept := l.behind[:0]
	l.asked = 0
	for i, id := range l.behind {
		s := l.table.get(id)
		if s == nil || !s.is(flagBehind) {
			continue
		}
		doomed := s.side.backlog.doomed
		if (doomed || l.srv.backlog.Load() > l.srv.maxBacklog) && time.Now().Before(until) {
			l.endSlow(s, doomed)
			continue
		}
		still := true
		if i >= from && asks < maxAsks && !doomed {
			still = l.catchUp(s)
			asks++
		}
		if still {
			kept = append(kept, id)
		}
		if asks == maxAsks && l.asked == 0 {
			l.asked = len(kept)
		}
	}
	clear(l.behind[len(kept):])
	l.behind = kept
	if len(kept) > 0 {
		l.poll.in(pollBehind)
	}
}

// endSlow closes s, which is too slow, or still behind when the budget is exceeded.
func (l *loop) endSlow(s *session, doomed bool) {
	if doomed {
		l.close(s, closeSlow)
	} else if l.catchUp(s) {
		l.drop(s, closeBudget)
	}
}

// catchUp writes what waits for s as far as its socket takes it. It reports
// whether s is still behind.
func (l *loop) catchUp(s *session) (still bool) {
	defer l.recovered(s)
	x := s.side
	for budget := l.srv.cfg.MaxOutbound; s.conn.OutboundBuffered() == 0 && budget > 0; {
		if len(x.pending) == 0 {
			if l.askKernel(s) {
				break
			}
			l.caughtUp(s)
			return false
		}
		size := 0
		for _, m := range x.pending[:l.fits(x.pending)] {
			size += len(m.inner)
		}
		x.backlog.bytes -= size
		budget -= size
		if l.writeSome(s); !s.live() {
			return s.is(flagBehind)
		}
	}
	l.weigh(s)
	return s.is(flagBehind)
}

// keepCounted counts what gnet still holds for s, which is closing: until the sweep
// ends it, it is no less than before.
func (l *loop) keepCounted(s *session) {
	if s.state != stateClosing || s.conn.OutboundBuffered() == 0 {
		return
	}
	b := &l.sideOf(s).backlog
	b.counted = int64(s.conn.OutboundBuffered()) + int64(l.srv.kernelBuffer)
	l.srv.backlog.Add(b.counted)
}

// caughtUp ends being behind, also when the session ends.
func (l *loop) caughtUp(s *session) {
	s.unmark(flagBehind)
	l.srv.backlog.Add(-s.side.backlog.counted)
	s.side.backlog = backlog{}
	l.putPending(s.side)
	l.tidy(s)
}
