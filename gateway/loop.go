package gateway

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// loop is one gnet engine with one event loop. It owns its sessions and rooms;
// nothing else touches them, so there are no locks on the data path. Others
// reach it through its mailbox.
type loop struct {
	gnet.BuiltinEventEngine

	// Set by newLoop, then read-only.
	srv     *Server
	index   int
	mailbox *mailbox

	lastTick atomic.Int64                // unix ms of the last tick that ran; for the watchdog
	ticking  atomic.Bool                 // a tick waits in the mailbox
	conns    atomic.Int32                // open connections, any state
	engine   atomic.Pointer[gnet.Engine] // of the present run; nil before the first

	// Owned by the loop.
	now      uint32 // coarse time: units of tickEvery since the server was made
	table    table
	rooms    map[string]*room // by scoped name
	upgrader *ws.Upgrader
	reading  *session // whose input is being handled
	out      []byte   // answers to reading, written when its input is handled

	dirtyRooms    []*room      // have pending pushes
	dirtySessions []*session   // have pending pushes
	casts         []*cast      // pushes to all that are under way
	spare         [][]*message // pending lists to use again
	behind        []*session   // over max_outbound
	sweepFrom     int          // slot at which the next sweep begins
	drain         *drain       // nil: not draining
	frameTCP      []byte       // scratch: pushes as written to TCP
	frameWS       []byte       // scratch: pushes as written to WebSockets
	writing       *session     // to which a flush is writing
	writes        int          // to be added to the metric with the next tick
	pushed        int          // likewise: messages written
}

// tickEvery is the grain of all deadlines.
const tickEvery = 100 * time.Millisecond

func newLoop(srv *Server, index int) *loop {
	l := &loop{srv: srv, index: index, upgrader: ws.NewUpgrader(), rooms: map[string]*room{}}
	l.mailbox = &mailbox{loop: l, limit: int64(srv.cfg.Mailbox)}
	l.lastTick.Store(time.Now().UnixMilli())
	return l
}

// serve runs engines on the listen addresses until stop was called. An engine
// that ends by itself (gnet ends it when accept fails, for instance for lack of
// descriptors) takes its sessions with it; it is counted and started again.
func (l *loop) serve(ctx context.Context, booted func()) error {
	cfg := l.srv.cfg
	for {
		err := gnet.Rotate(&booter{l, ctx, booted}, l.srv.listen.uris(),
			gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true),
			gnet.WithTicker(true), gnet.WithSocketSendBuffer(cfg.Sndbuf),
			gnet.WithLogger(gnetLogger{l.srv.log}))
		l.reset()
		if ctx.Err() != nil {
			return nil
		}
		if l.engine.Load() == nil {
			return fmt.Errorf("start event loop %d: %w", l.index, err)
		}
		l.srv.m.loopRestarts.Inc()
		l.srv.log.Error("event loop ended by itself, starting it again", "loop", l.index, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

// reset clears what an ended engine has left: its sessions are closed, what
// waited for them is for nobody.
func (l *loop) reset() {
	for _, x := range l.mailbox.detach() {
		if m, ok := x.(interface{ abandon(srv *Server) }); ok {
			m.abandon(l.srv)
		}
	}
	for len(l.casts) > 0 {
		l.endCast(0)
	}
	l.dirtyRooms, l.dirtySessions, l.behind = nil, nil, nil
	l.ticking.Store(false)
}

// restartDelay lets descriptors be freed before a loop listens again.
const restartDelay = 200 * time.Millisecond

// stop ends the engine; its sessions fall.
func (l *loop) stop(ctx context.Context) {
	if e := l.engine.Load(); e != nil {
		_ = e.Stop(ctx) // an engine that has already ended is what we want
	}
}

// booter passes gnet's calls to the loop and tells when the engine listens.
type booter struct {
	*loop
	ctx    context.Context // of serve
	booted func()
}

// OnBoot is called when the engine begins to listen. Either stop sees this engine,
// or this sees that stop has been.
func (b *booter) OnBoot(e gnet.Engine) gnet.Action {
	b.engine.Store(&e)
	b.booted()
	if b.ctx.Err() != nil {
		return gnet.Shutdown
	}
	return gnet.None
}

// OnTick runs on a goroutine of its own, so it may only post.
func (l *loop) OnTick() (time.Duration, gnet.Action) {
	if l.ticking.CompareAndSwap(false, true) {
		if !l.mailbox.post(tick{}) {
			l.ticking.Store(false)
			l.lastTick.Store(time.Now().UnixMilli()) // without sessions nothing can be stuck
		}
	}
	return tickEvery, gnet.None
}

// tick is the mail that moves the loop's time on.
type tick struct{}

func (tick) run(l *loop) {
	l.ticking.Store(false)
	l.lastTick.Store(time.Now().UnixMilli())
	l.now = l.srv.coarse()
	l.srv.m.writes.Add(l.writes)
	l.srv.m.pushed.Add(l.pushed)
	l.writes, l.pushed = 0, 0
	l.sweep()
	l.closeBehind()
	l.paceCasts()
	l.drainSome()
}

// OnOpen is called for each accepted connection.
func (l *loop) OnOpen(c gnet.Conn) (out []byte, action gnet.Action) {
	l.mailbox.attach(c.EventLoop())
	l.conns.Add(1)
	l.srv.m.accepted.Inc()
	s := &session{loop: l, conn: c, active: l.srv.coarse()}
	l.now = s.active
	c.SetContext(s)
	defer l.recovered(s)
	if addr, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		s.ip = addr.IP.String()
	}
	if s.ws = l.srv.listen.isWS(c.LocalAddr()); !s.ws {
		s.state = stateNew
	}
	l.table.put(s)
	if l.srv.full() {
		l.refuse(s, closeFull)
		return nil, gnet.Close
	}
	if l.srv.draining.Load() {
		l.refuse(s, closeDrain)
		return nil, gnet.Close
	}
	return nil, gnet.None
}

// OnClose is called once for each connection, also from within a write to it
// that fails: whoever writes must expect that the session is gone afterwards.
func (l *loop) OnClose(c gnet.Conn, _ error) gnet.Action {
	l.conns.Add(-1)
	s, ok := c.Context().(*session)
	if !ok {
		return gnet.None
	}
	defer l.recovered(nil)
	was := s.state
	s.state = stateClosed // before all else: the descriptor is about to be a stranger's
	s.partial, s.frames = nil, ws.Assembler{}
	l.table.remove(s)
	if was < stateClosing {
		l.detach(s, closePeer)
	}
	return gnet.None
}

// OnTraffic is called when there are bytes to read.
func (l *loop) OnTraffic(c gnet.Conn) (action gnet.Action) {
	s, ok := c.Context().(*session)
	if !ok {
		return gnet.Close
	}
	defer l.recovered(s)
	in, _ := c.Peek(-1) // an error means no bytes, which input accepts
	l.input(s, in)
	if s.state == stateClosed {
		return gnet.Close // gnet ignores it for a connection it has closed
	}
	_, _ = c.Discard(-1)
	return gnet.None
}

// runMail runs x. What panics here is our fault; the loop goes on.
func (l *loop) runMail(x mail) {
	defer l.recovered(nil)
	x.run(l)
}

// recovered, deferred, turns a panic into the end of the one connection that was
// being handled, s or, when s is nil, whichever was being read.
func (l *loop) recovered(s *session) {
	p := recover()
	if p == nil {
		return
	}
	l.srv.m.panics.Inc()
	l.srv.log.Error("panic on an event loop", "loop", l.index, "err", p, "stack", string(debug.Stack()))
	if s == nil {
		s = l.reading
	}
	if s == nil {
		s = l.writing
	}
	l.reading, l.writing = nil, nil
	if s != nil {
		l.bury(s)
	}
}

// bury closes a session whose state may be broken. If that panics too, only its
// descriptor is closed.
func (l *loop) bury(s *session) {
	defer func() {
		if recover() != nil {
			s.room = nil
			l.hangUp(s)
		}
	}()
	l.close(s, closePanic)
}

// close says goodbye to s as its transport can, and ends it. It does nothing for
// a session that is closing already.
func (l *loop) close(s *session, why closeReason) {
	if s.state >= stateClosing {
		return
	}
	if s.ws && s.state != stateUpgrade {
		l.closeWS(s, why, closeTable[why].code, closeTable[why].text)
		return
	}
	l.detach(s, why)
	s.state = stateClosing
	l.hangUp(s)
}

// closeWS ends a WebSocket session with a close frame. RFC 6455 §7.1.1: the peer
// shall see the frame before the connection ends. Closing a socket with unread
// input resets it and may destroy the frame on its way, so we send FIN and wait
// for the peer's, or for the sweep.
func (l *loop) closeWS(s *session, why closeReason, code ws.StatusCode, text string) {
	l.detach(s, why)
	s.state, s.active = stateClosing, l.srv.coarse()
	s.write(ws.AppendClose(nil, code, text))
	if s.state == stateClosing && s.conn.OutboundBuffered() == 0 {
		_ = unix.Shutdown(s.conn.Fd(), unix.SHUT_WR) // it may be gone already
	}
}

// refuse ends a session in OnOpen, which then returns gnet.Close.
func (l *loop) refuse(s *session, why closeReason) {
	l.detach(s, why)
	s.state = stateClosing
}

// hangUp closes the descriptor, which calls OnClose. gnet allows it within
// OnTraffic of the same connection if that then returns gnet.Close.
func (l *loop) hangUp(s *session) {
	if s.state == stateClosed {
		return
	}
	_ = s.conn.EventLoop().Close(s.conn)
}

// detach ends what s is to others: its room, its key, its route. It is counted
// here, once.
func (l *loop) detach(s *session, why closeReason) {
	authenticated := s.key != ""
	l.leave(s)
	s.waiting = nil
	l.putPending(s)
	l.srv.m.closed[why].Inc()
	if authenticated {
		l.srv.directory.remove(s.key, ref{l, s.id, s.stamp})
		l.srv.sessionEnded(s)
	}
}

// write sends b now or queues what the socket does not take. A session that
// falls behind too far is closed.
func (s *session) write(b []byte) {
	if s.state == stateClosed || len(b) == 0 {
		return // the descriptor may already be a stranger's
	}
	l := s.loop
	l.writes++
	if _, err := s.conn.Write(b); err != nil || s.state == stateClosed {
		return // gnet has closed it and called OnClose
	}
	if s.state == stateClosing {
		return
	}
	switch backlog := s.conn.OutboundBuffered(); {
	case backlog > hardOutbound*l.srv.cfg.MaxOutbound:
		l.closeSlow(s)
	case backlog > l.srv.cfg.MaxOutbound && s.behind == 0:
		s.behind = max(1, l.now)
		l.behind = append(l.behind, s)
	}
}

const (
	// A burst that the kernel does not take at once is not a slow reader: a session
	// may be over max_outbound for slowTime, and by hardOutbound times never.
	slowTime     = time.Second
	hardOutbound = 16
)

// closeBehind looks at the sessions that are over their bound: those that have
// caught up are forgotten, those that have not in slowTime are closed.
func (l *loop) closeBehind() {
	kept := l.behind[:0]
	for _, s := range l.behind {
		switch {
		case s.state >= stateClosing:
		case s.conn.OutboundBuffered() <= l.srv.cfg.MaxOutbound:
			s.behind = 0
		case int32(l.now-s.behind) > ticks(slowTime):
			l.closeSlow(s)
		default:
			kept = append(kept, s)
		}
	}
	clear(l.behind[len(kept):])
	l.behind = kept
}

// closeSlow ends a session whose client does not read: a goodbye would only wait
// behind its backlog.
func (l *loop) closeSlow(s *session) {
	l.detach(s, closeSlow)
	s.state = stateClosing
	l.hangUp(s)
}

// answer queues an answer to the session being read, or writes it to another.
func (l *loop) answer(s *session, p protocol.Packet) {
	if l.reading == s {
		l.out = appendOuter(l.out, s.ws, p)
		return
	}
	s.write(appendOuter(nil, s.ws, p))
}

// appendOuter appends a packet as the transport carries it.
func appendOuter(dst []byte, isWS bool, p protocol.Packet) []byte {
	if isWS {
		dst = ws.AppendHeader(dst, ws.OpBinary, protocol.HeaderSize+len(p.Body))
	}
	return protocol.AppendPacket(dst, p)
}
