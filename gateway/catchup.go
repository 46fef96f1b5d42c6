package gateway

import (
	"time"

	"github.com/halley-im/halley/pkg/sysmem"
)

const (
	pollBehind = 20 * time.Millisecond
	// closeFor is how long a poll may take to close sessions, a tenth of pollBehind: to
	// reset a socket with 128 KiB in it takes the kernel 100 µs and more, and others
	// wait. (4,000 at once held up everybody for 200 ms.)
	closeFor = pollBehind / 10
	// maxAsks is how many sessions a poll looks at, in turns. (A fifth of a CPU for
	// 4,500, with no bound.)
	maxAsks = 256
	// graceTime is for how long a peer has acknowledged nothing before it is closed
	// for the budget: some round trips. slowGrace is for how long one is behind that
	// does acknowledge.
	graceTime = 500 * time.Millisecond
	slowGrace = 5 * time.Second
	// littleQueued bytes in a socket are not worth to be counted: a small message
	// that is on its way, with the kernel's bookkeeping.
	littleQueued = 2 << 10
)

// askKernel looks at what the socket of s holds of what was written to it. It
// reports whether that is something.
func (l *loop) askKernel(s *session) (holds bool) {
	s.unmark(flagWritten)
	queued, err := sysmem.SendQueue(s.conn.Fd())
	if err != nil && s.conn.OutboundBuffered() > 0 {
		queued = l.srv.kernelBuffer // full
	}
	if queued <= littleQueued {
		queued = 0
	}
	if queued > 0 || s.side != nil {
		l.sideOf(s).backlog.kernel = int32(queued)
	}
	return queued > 0
}

// stuck asks the kernel, and reports whether the socket of s holds something and its
// peer has acknowledged nothing since the last look. Nobody is while there is budget.
func (l *loop) stuck(s *session) bool {
	holds := l.askKernel(s)
	if s.side == nil {
		return false
	}
	b := &s.side.backlog
	if !holds || !l.srv.short() {
		b.acked, b.moved = 0, 0
		if s.is(flagBehind) {
			b.moved = l.now
		}
		return false
	}
	n, err := sysmem.Acked(s.conn.Fd())
	if acked := max(1, uint32(n)); err == nil && acked != b.acked {
		b.acked, b.moved = acked, l.now
		return false
	}
	return true
}

// look is what the sweep does with an open session that is not behind.
func (l *loop) look(s *session) {
	if !s.is(flagWritten) && (s.side == nil || s.side.backlog.kernel == 0) {
		return // nothing has changed
	}
	l.looks++
	if l.stuck(s) && l.srv.tight() {
		l.fellBehind(s)
		return
	}
	l.count(s)
	l.tidy(s)
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
		still := true
		if l.mustGo(s) && time.Now().Before(until) {
			still = l.endSlow(s)
		} else if i >= from && asks < maxAsks && !s.side.backlog.doomed {
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

// mustGo says that s, which is behind, is too slow, as far as is known.
func (l *loop) mustGo(s *session) bool {
	b := &s.side.backlog
	return b.doomed || l.srv.over() &&
		(int32(l.now-b.moved) > ticks(graceTime) || int32(l.now-b.from) > ticks(slowGrace))
}

// endSlow closes s if it is too slow, looked at once more. It reports whether it is
// not.
func (l *loop) endSlow(s *session) (still bool) {
	defer l.recovered(s)
	if s.side.backlog.doomed {
		l.close(s, closeSlow)
		return false
	}
	if l.stuck(s); l.mustGo(s) {
		l.drop(s, closeBudget)
		return false
	}
	return true
}

// catchUp writes what waits for s as far as its socket takes it; while the budget is
// tight one write, and nothing if it is stuck: by reference it costs less. It reports
// whether s is still behind.
func (l *loop) catchUp(s *session) (still bool) {
	defer l.recovered(s)
	x, left := s.side, l.srv.cfg.MaxOutbound
	if l.srv.tight() {
		if left = 1; l.stuck(s) {
			left = 0
		}
	}
	for s.conn.OutboundBuffered() == 0 && left > 0 {
		if len(x.pending) == 0 {
			l.caughtUp(s)
			return false
		}
		before := x.backlog.bytes
		if l.writeSome(s); !s.live() {
			return s.is(flagBehind)
		}
		left -= before - x.backlog.bytes
	}
	l.weigh(s)
	return s.is(flagBehind)
}
