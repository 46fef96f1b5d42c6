package gateway

import (
	"math"
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
	// graceTime is for how long one is behind before it is closed for the budget: a
	// round trip, so that it is not one that was written to just now.
	graceTime = 200 * time.Millisecond
	// littleQueued bytes in a socket are not worth to be counted: a small message
	// that is on its way, with the kernel's bookkeeping.
	littleQueued = 2 << 10
)

// askKernel looks at what the socket of s holds of what was written to it. It
// reports whether that is something.
func (l *loop) askKernel(s *session) (holds bool) {
	s.unmark(flagWritten)
	queued, err := sysmem.SendQueue(s.conn.Fd())
	if err != nil || queued <= littleQueued {
		queued = 0
	}
	if queued > 0 || s.side != nil {
		l.sideOf(s).backlog.kernel = int32(queued)
	}
	return queued > 0
}

// stuck asks the kernel, and reports whether the socket of s holds something, and no
// less than when it was asked last.
func (l *loop) stuck(s *session) bool {
	before := int32(math.MaxInt32)
	if s.side != nil && s.side.backlog.kernel > 0 {
		before = s.side.backlog.kernel
	}
	return l.askKernel(s) && s.side.backlog.kernel >= before
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
		doomed := s.side.backlog.doomed
		mustGo := doomed || l.srv.over() && int32(l.now-s.side.backlog.from) >= ticks(graceTime)
		if mustGo && time.Now().Before(until) {
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

// catchUp writes what waits for s as far as its socket takes it, and nothing while
// the budget is tight and the socket is stuck: by reference it costs less. It reports
// whether s is still behind.
func (l *loop) catchUp(s *session) (still bool) {
	defer l.recovered(s)
	x := s.side
	for budget := l.srv.cfg.MaxOutbound; s.conn.OutboundBuffered() == 0 && budget > 0; {
		if l.srv.tight() && l.stuck(s) {
			break
		}
		if len(x.pending) == 0 {
			l.caughtUp(s)
			return false
		}
		before := x.backlog.bytes
		if l.writeSome(s); !s.live() {
			return s.is(flagBehind)
		}
		budget -= before - x.backlog.bytes
	}
	l.weigh(s)
	return s.is(flagBehind)
}
