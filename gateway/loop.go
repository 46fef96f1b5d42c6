package gateway

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
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

	lastTick atomic.Int64                // unix ms of the last tick or the first connection; 0: no tick is due. For the watchdog
	conns    atomic.Int32                // open connections, any state
	engine   atomic.Pointer[gnet.Engine] // of the present run; nil before the first

	// Owned by the loop.
	now      uint32 // coarse time: units of tickEvery since the server was made
	table    table
	rooms    map[string]*room // by scoped name
	opSets   opSets
	codec    codec
	reading  *session // whose input is being handled
	writing  *session // to which a flush is writing
	refusing int      // sessions that are open only to be told that there is no room

	dirtyRooms    fifo[*room]     // have pending pushes
	dirtySessions fifo[sessionID] // have pending pushes
	casts         []*cast         // pushes to all that are under way
	left          int             // writes of this slice
	wheel         wheel           // rooms whose followers wait
	ticker        alarm           // for time
	chime         alarm           // for the wheel
	behind        []sessionID     // those with flagBehind, and some that have gone; longest first
	asked         int             // those of behind before it have had their turn
	poll          alarm           // for behind
	pace          alarm           // for casts with a speed
	sweepFrom     int             // slot at which the next sweep begins
	looks         int             // at sockets in this sweep
	unasked       int64           // bytes written since the sweep has looked at sockets, about
	drain         *drain          // nil: not draining

	// To use again.
	sides   []*side
	spare   [][]*message
	flushes []*flush
	out     []byte // answers to reading, written when its input is handled
	merged  []byte // pushes to one session
	sealed  []byte // records of TLS

	// To be added to the metrics with the next tick.
	writes int
	pushed int // messages written
}

const (
	// tickEvery is the grain of all deadlines.
	tickEvery = 100 * time.Millisecond
	// quietEvery is how often a loop ticks on which nothing happens: to be woken
	// costs more than all that a tick does. The runtime's own monitor polls every 20
	// µs for some time after each. 15,000 idle connections with 20 ticks a second cost
	// 2.5 µs each a second, and 0.3 µs with 2.
	quietEvery = sweepTicks * tickEvery
)

func newLoop(srv *Server, index int) *loop {
	l := &loop{srv: srv, index: index, codec: newCodec(&srv.cfg), rooms: map[string]*room{}, opSets: opSets{}}
	l.ticker = alarm{loop: l, mail: tick{}}
	l.chime = alarm{loop: l, mail: chime{}}
	l.poll = alarm{loop: l, mail: pollMail{}}
	l.pace = alarm{loop: l, mail: paceMail{}}
	l.mailbox = &mailbox{loop: l, limit: int64(srv.cfg.Mailbox)}
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
			gnet.WithSocketSendBuffer(cfg.Sndbuf),
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
	l.ticker.stop()
	l.chime.stop()
	l.poll.stop()
	l.pace.stop()
	l.dirtyRooms, l.dirtySessions, l.wheel = fifo[*room]{}, fifo[sessionID]{}, wheel{}
	l.behind, l.asked = nil, 0
	l.lastTick.Store(0)
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

// tick is the mail that moves the loop's time on, and what is done at times. The
// first comes with the first connection.
type tick struct{}

func (tick) run(l *loop) {
	l.ticker.set = false
	l.srv.m.writes.Add(l.writes)
	l.srv.m.pushed.Add(l.pushed)
	quiet := l.writes == 0 && len(l.behind) == 0 && !l.srv.draining.Load()
	l.writes, l.pushed = 0, 0
	l.sweep(quiet)
	l.drainSome()
	l.tickIn(l.nextTick(quiet))
}

// nextTick is when the next tick is due: soon, too, when the sweep had more sockets to
// look at than it may.
func (l *loop) nextTick(quiet bool) time.Duration {
	if quiet && l.looks < maxLooks {
		return quietEvery
	}
	return tickEvery
}

// tickIn has a tick come after d, unless one is due already.
func (l *loop) tickIn(d time.Duration) {
	if !l.ticker.set {
		l.lastTick.Store(time.Now().UnixMilli())
		l.ticker.in(d)
	}
}

// clock is the time in milliseconds since the server was made.
func (l *loop) clock() int64 { return time.Since(l.srv.start).Milliseconds() }

// OnOpen is called for each accepted connection.
func (l *loop) OnOpen(c gnet.Conn) (out []byte, action gnet.Action) {
	l.mailbox.attach(c.EventLoop())
	l.now = l.srv.coarse()
	l.tickIn(tickEvery)
	s := l.table.add()
	s.conn, s.active = c, l.now
	c.SetContext(s)
	defer l.recovered(s)
	if !l.opened(s) {
		return nil, gnet.Close
	}
	return nil, gnet.None
}

// opened makes of a new connection what its listener wants. False: it must be
// closed.
func (l *loop) opened(s *session) bool {
	ln := l.srv.listen.of(s.conn.LocalAddr())
	s.form = ln.form
	if s.form.isWS() {
		s.mark(flagFirst)
	} else {
		s.state = stateNew
	}
	if !l.admitConn(s, ln) {
		return false
	}
	if ln.tls {
		l.startTLS(s)
	}
	l.setUserTimeout(s)
	return true
}

// OnClose is called once for each connection, also from within a write to it
// that fails: whoever writes must expect that the session is gone afterwards.
func (l *loop) OnClose(c gnet.Conn, _ error) gnet.Action {
	s := sessionOf(c)
	if s == nil {
		return gnet.None
	}
	defer l.recovered(nil)
	was := s.state
	s.state = stateClosed // before all else: the descriptor is about to be a stranger's
	if was < stateClosing {
		l.detach(s, closePeer)
	}
	l.dismiss(s)
	return gnet.None
}

// dismiss gives back what s has as a connection.
func (l *loop) dismiss(s *session) {
	l.closedConn(s)
	if s.side != nil {
		if s.side.tls != nil {
			s.side.tls.Close()
		}
		l.putPending(s.side)
		l.srv.backlog.Add(-s.side.backlog.counted)
		*s.side = side{}
		l.tidy(s)
	}
	l.table.remove(s)
}

// sessionOf is the session of c, nil when it has none any more.
func sessionOf(c gnet.Conn) *session {
	if s, ok := c.Context().(*session); ok && s.conn == c {
		return s
	}
	return nil
}

// OnTraffic is called when there are bytes to read.
func (l *loop) OnTraffic(c gnet.Conn) (action gnet.Action) {
	s := sessionOf(c)
	if s == nil {
		return gnet.Close
	}
	defer l.recovered(s)
	l.now = l.srv.coarse()
	in, _ := c.Peek(-1) // an error means no bytes, which input accepts
	if s.side != nil && s.side.tls != nil {
		l.inputTLS(s, in)
	} else {
		l.input(s, in)
	}
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
