package gateway

import (
	"time"

	"github.com/halley-im/halley/pkg/rooms"
)

// A session is behind when its socket has not taken all that was written to it.
// gnet then holds the rest of that write and nothing more: what comes meanwhile
// waits in side.pending, by reference, and is written when the socket has taken
// the rest, merged. gnet tells nobody when that is, so we look every pollBehind.
//
// Before that the kernel has taken up to 128 KiB for a client that does not read,
// which adds up. So the sweep asks the kernel about sessions that were written to,
// and counts what it holds. That alone is nothing bad: bytes may be on their way. But
// when half of the node's budget is used, a session whose peer has acknowledged
// nothing since the last look is behind, too, and gets no more into its socket. When
// the budget is exceeded those are closed, the first first, that have acknowledged
// nothing for graceTime or are behind for slowGrace.

// backlog is what waits for a session: for one that is behind, and otherwise what
// the kernel held when it was asked.
type backlog struct {
	bytes   int    // of pending, which others may share; 0 while it is not behind
	kernel  int32  // what the kernel charges for the socket's queue, as far as is known
	acked   uint32 // bytes its peer had acknowledged at the last look, mod 2³²; 0: unknown
	moved   uint32 // loop.now when that was seen to change, or it fell behind; 0: unknown
	from    uint32 // loop.now when it fell behind
	since   uint32 // loop.now when it went over max_outbound; 0: it is not
	doomed  bool   // it gets nothing more, and is closed by one of the next polls
	counted int64  // its part of Server.backlog, without the messages of pending
}

const (
	// A burst that the kernel does not take at once is not a slow reader: a session
	// may be over max_outbound for slowTime, and by hardOutbound times never.
	slowTime     = time.Second
	hardOutbound = 16
	// refBytes is a reference in pending, which grows by doubling.
	refBytes = 16
)

// short says that an eighth of the budget for what waits is used, tight that half
// is, over that all is.
func (srv *Server) short() bool { return srv.backlog.Load() > srv.maxBacklog/8 }
func (srv *Server) tight() bool { return srv.backlog.Load() > srv.maxBacklog/2 }
func (srv *Server) over() bool  { return srv.backlog.Load() > srv.maxBacklog }

// fellBehind is called when gnet holds back what was written to s, or its socket is
// stuck and the budget is tight.
func (l *loop) fellBehind(s *session) {
	x := l.sideOf(s)
	if !s.is(flagBehind) {
		s.mark(flagBehind)
		l.behind = append(l.behind, s.id())
		x.backlog.from, x.backlog.moved = l.now, l.now
		for _, m := range x.pending {
			l.hold(s, m)
		}
	}
	if s.conn.OutboundBuffered() > 0 {
		l.askKernel(s)
	}
	l.weigh(s)
	l.poll.in(pollBehind)
}

// count has the node's backlog hold what waits for s.
func (l *loop) count(s *session) {
	if s.side == nil {
		return
	}
	b := &s.side.backlog
	cost := int64(s.conn.OutboundBuffered()) + int64(b.kernel)
	if s.is(flagBehind) {
		cost += refBytes * int64(len(s.side.pending))
	}
	l.srv.backlog.Add(cost - b.counted)
	b.counted = cost
}

// hold counts m, which waits for s, and for whom else it may wait only once.
func (l *loop) hold(s *session, m *message) {
	s.side.backlog.bytes += len(m.inner)
	if m.held.Add(1) == 1 {
		l.srv.backlog.Add(m.cost())
	}
}

// letGo ends hold for msgs.
func (l *loop) letGo(s *session, msgs ...*message) {
	for _, m := range msgs {
		s.side.backlog.bytes -= len(m.inner)
		if m.held.Add(-1) == 0 {
			l.srv.backlog.Add(-m.cost())
		}
	}
}

// weigh counts what s costs, and decides whether it is too slow. Polls close it:
// clients that stopped together reach their bound with the same message, and to
// close thousands at once would hold up everybody else.
func (l *loop) weigh(s *session) {
	l.count(s)
	b := &s.side.backlog
	held := s.conn.OutboundBuffered() + b.bytes
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
	if policy == rooms.Conflate && l.conflated(s, m) {
		return false
	}
	if policy == rooms.Drop && s.conn.OutboundBuffered()+x.backlog.bytes+len(m.inner) > l.srv.maxOutbound(s) {
		l.srv.m.slowDropped.Inc()
		return false
	}
	if x.backlog.doomed {
		return false
	}
	l.hold(s, m)
	l.weigh(s)
	return true
}

// conflated puts m in the place of the message of its room that waits already; it
// reports whether there was one.
func (l *loop) conflated(s *session, m *message) bool {
	for i, old := range s.side.pending {
		if old.room == m.room {
			s.side.pending[i] = m
			l.letGo(s, old)
			l.hold(s, m)
			l.srv.m.conflated.Inc()
			return true
		}
	}
	return false
}

// keepCounted counts what gnet still holds for s, which is closing: until the sweep
// ends it, it is no less than before.
func (l *loop) keepCounted(s *session) {
	if s.state != stateClosing || s.conn.OutboundBuffered() == 0 {
		return
	}
	l.sideOf(s).backlog.kernel = int32(l.srv.kernelBuffer)
	l.count(s)
}

// caughtUp ends being behind, also when the session ends. What its socket still
// holds is counted until the sweep finds that it has gone, or the session has.
func (l *loop) caughtUp(s *session) {
	s.unmark(flagBehind)
	b := &s.side.backlog
	l.letGo(s, s.side.pending...)
	l.putPending(s.side)
	*b = backlog{kernel: b.kernel, counted: b.counted}
	l.askKernel(s)
	l.count(s)
	l.tidy(s)
}
