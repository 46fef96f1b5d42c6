package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
)

// A drain goes: unready, no new connections, op 6 to the clients that asked for
// hints, 1012 to all at a rate, end. Clients that have the hint come back where it
// says and when it says, so that not all of them do at once.

// drain is a loop's part of it.
type drain struct {
	hints    int    // slot to go on from with hints
	next     int    // slot to go on from with closing
	start    uint32 // loop.now when closing begins
	deadline uint32 // loop.now by which all shall be closed
}

const (
	// hintShare of the time that a drain has is left to clients that got a hint, to
	// leave by themselves.
	hintShare = 0.25
	// hintSlots bounds the hints of a loop per tick.
	hintSlots = 4096
	// minDrain is how many sessions a loop closes per tick at least.
	minDrain = 100
)

// drainSome does a tick's part of the drain. A loop that has no event loop yet
// needs none: it refuses what comes.
func (l *loop) drainSome() {
	if !l.srv.draining.Load() {
		return
	}
	if l.drain == nil {
		d := &drain{deadline: l.srv.drainBy.Load(), start: l.now}
		if left := int32(d.deadline - l.now); left > 0 && l.hinting() {
			d.start += uint32(float64(left) * hintShare)
		}
		l.drain = d
	}
	l.hintSome(l.drain)
	if int32(l.now-l.drain.start) >= 0 {
		l.closeSome(l.drain)
	}
}

// hinting says that a session here wants hints.
func (l *loop) hinting() bool {
	for s := range l.table.all() {
		if s.is(flagHints) {
			return true
		}
	}
	return false
}

// hint is the body of op 6 to a client that asked for it: the connection will be
// closed; connect again after so many milliseconds, to one of these nodes if there
// are any.
type hint struct {
	Reason      string   `json:"reason"`
	ReconnectMS int64    `json:"reconnect_ms"`
	Nodes       []string `json:"nodes"`
}

// hintSome tells sessions that asked for it what is coming.
func (l *loop) hintSome(d *drain) {
	h := hint{Reason: closeTable[closeDrain].label, Nodes: l.srv.elsewhere()}
	window := max(int64(1), int64(hintShare*float64(l.srv.cfg.DrainTimeout.Milliseconds())))
	for n := hintSlots; n > 0 && d.hints < l.table.size(); n, d.hints = n-1, d.hints+1 {
		s := l.table.at(uint32(d.hints))
		if s.conn == nil || !s.live() || !s.is(flagHints) || s.is(flagHinted) {
			continue
		}
		s.mark(flagHinted)
		h.ReconnectMS = rand.Int64N(window)
		body, err := json.Marshal(h)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		l.answer(s, protocol.Packet{Ver: protocol.PushVer, Op: protocol.OpDisconnectReply, Body: body})
	}
}

// closeSome closes a tick's share of the sessions: at gateway.drain_rate, give or
// take a half, or as many as the deadline demands. At the deadline all go. Who came too
// late is told so when its request is there, if the drain lasts until then.
func (l *loop) closeSome(d *drain) {
	left := int(int32(d.deadline - l.now))
	n := max(minDrain, (l.table.size()-d.next)/max(1, left)+1)
	if rate := l.srv.cfg.DrainRate; rate > 0 && left > 0 {
		share := float64(l.conns.Load()) / float64(max(1, l.srv.Conns()))
		n = min(n, max(1, int(float64(rate)*share*tickEvery.Seconds()*(0.5+rand.Float64()))))
	}
	for ; n > 0 && d.next < l.table.size(); d.next++ {
		if s := l.table.at(uint32(d.next)); s.conn != nil && s.state < stateClosing && l.refusal(s) == closePeer {
			l.close(s, closeDrain)
			n--
		}
	}
}

// drain refuses new connections and closes those there are, until none is left,
// their routes are removed, or the time is up.
func (srv *Server) drain() {
	deadline := time.Now().Add(srv.cfg.DrainTimeout)
	// Three quarters of the time are for hints and closing, the rest for goodbyes and
	// routes. Each loop begins with a tick.
	srv.drainBy.Store(srv.coarse() + uint32(ticks(srv.cfg.DrainTimeout*3/4)))
	srv.draining.Store(true)
	for _, l := range srv.loops {
		l.mailbox.post(tick{}) // its own may be a second away
	}
	for time.Now().Before(deadline) && (srv.Conns() > 0 || !srv.registrar.settled()) {
		time.Sleep(10 * time.Millisecond)
	}
	if left := srv.sessions.Load(); left > 0 {
		srv.log.Warn("not all clients could be closed in time", "left", left)
	}
}
