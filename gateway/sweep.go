package gateway

import "time"

const (
	// sweepTicks is how many ticks a sweep over all sessions takes, unless there are
	// more sockets to look at: a deadline is seen at most that much late.
	sweepTicks = 10
	// lingerTime is how long we wait for the peer's FIN after a close frame.
	lingerTime = 2 * time.Second
	// When 1/hurryShare of the budget for what waits was written since sockets were
	// looked at, a tick sweeps over maxLooks sessions more.
	hurryShare = 8
	// maxLooks is how many sockets a tick looks at, up to 6 ms; the next goes on from
	// there.
	maxLooks = 4096
)

// coarse is the time in units of tickEvery since the server was made.
func (srv *Server) coarse() uint32 { return uint32(time.Since(srv.start) / tickEvery) }

func ticks(d time.Duration) int32 { return int32((d + tickEvery - 1) / tickEvery) }

// sweep looks at sessions for deadlines that have passed, and for what waits in
// their sockets: at the next part of them, or at all. No session has a timer of its
// own.
func (l *loop) sweep(all bool) {
	n := l.table.size()
	if n == 0 {
		return
	}
	part := n/sweepTicks + 1
	if all {
		part = n
	} else if l.unasked > l.srv.maxBacklog/int64(hurryShare*len(l.srv.loops)) {
		part = min(n, part+maxLooks)
	}
	left := part
	for l.looks = 0; left > 0 && l.looks < maxLooks; left-- {
		if l.sweepFrom >= n {
			l.sweepFrom = 0
		}
		if s := l.table.at(uint32(l.sweepFrom)); s.conn != nil {
			s.changes -= min(s.changes, forgiveChanges)
			l.check(s)
		}
		l.sweepFrom++
	}
	l.unasked -= l.unasked / int64(n) * int64(part-left)
}

// check ends s if it has been silent for longer than its state allows.
func (l *loop) check(s *session) {
	cfg := &l.srv.cfg
	silent := int32(l.now - s.active) // negative when it was active within this tick
	switch s.state {
	case stateOpen:
		if silent > ticks(cfg.Heartbeat*time.Duration(cfg.HeartbeatMax)) {
			l.close(s, closeHeartbeat)
		} else if !s.is(flagBehind) {
			l.look(s)
		}
	case stateClosing:
		if silent > ticks(lingerTime) {
			l.abort(s)
		}
	case stateWelcoming, stateJoining:
		if silent > ticks(cfg.HandshakeTimeout) {
			l.close(s, closeBackend) // a job does not answer
		}
	case stateClosed:
	default:
		if why := l.refusal(s); why != closePeer && int32(l.now-s.side.deadline) > 0 {
			l.drop(s, why)
		} else if silent > ticks(cfg.HandshakeTimeout) {
			l.close(s, closeHandshake)
		}
	}
}
