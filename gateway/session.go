package gateway

import (
	"net"
	"net/netip"

	"github.com/panjf2000/gnet/v2"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/tlsloop"
	"github.com/halley-im/halley/pkg/ws"
)

// state is where a session is in its life; it only moves on.
type state uint8

const (
	stateUpgrade    state = iota // WebSocket: the HTTP request is not complete
	stateNew                     // waits for op 7
	stateConnecting              // logic was asked who it is
	stateWelcoming               // authenticated; op 8 waits until the jobs know that its room is here
	stateJoining                 // op 13 waits likewise; messages flow
	stateOpen                    // messages flow
	stateClosing                 // we have said goodbye and wait for the peer's FIN
	stateClosed                  // the descriptor is gone: never write
)

// session is one client connection: 64 bytes in a slab of its loop, all of them
// owned by that loop. An idle one has no side, so this, its record in the
// directory and its place in a room are all that we hold of it; gnet holds 352
// bytes in 4 objects and its map's entry.
type session struct {
	conn    gnet.Conn
	side    *side  // nil: nothing but the connection itself
	room    *room  // nil: none
	accepts *opSet // nil before op 8
	active  uint32 // loop.now of the last sign of life; of the opening before op 8
	slot    uint32 // its place in the table
	gen     uint32 // counts the sessions that this slot has had
	member  uint32 // its place in room.members
	handle  handle // its record in the directory; 0 before op 8
	state   state
	form    form
	flags   flags
	changes uint8 // of room lately; each sweep forgives some
}

// flags are what a session is besides its state and form.
type flags uint8

const (
	flagFirst   flags = 1 << iota // its first message, which decides its form, has not come
	flagSniff                     // TLS: the first byte decides between WebSocket and TCP
	flagHints                     // it asked for op 6 before it is closed for a drain
	flagHinted                    // op 6 was sent
	flagBehind                    // it is in loop.behind
	flagCounted                   // it is counted in srv.ips
	flagWritten                   // it was written to since the kernel was asked what it holds
)

// side is what a session has only at times: while input is not complete, an
// answer waits, or messages do. It goes back to the loop when all of it is zero.
type side struct {
	partial  []byte       // input that is not complete, or must wait for an answer
	frames   ws.Assembler // an open fragmented WebSocket message
	cookie   string       // of the upgrade, until logic was asked
	waiting  *reply       // answer to send when logic has answered or joining is done
	pending  []*message   // pushes to this session that are not written yet
	backlog  backlog
	deadline uint32        // state new and before: loop.now at which it is too late; 0: by active
	refusal  closeReason   // why its upgrade will be refused; closePeer: it will not
	tls      *tlsloop.Conn // nil: not TLS. Kept as long as the session
}

// empty says that s need not be kept.
func (x *side) empty() bool {
	return x.partial == nil && x.waiting == nil && len(x.pending) == 0 && x.tls == nil &&
		x.backlog == (backlog{}) && x.frames == (ws.Assembler{}) && x.cookie == "" && x.refusal == 0
}

// reply is an answer that waits: to op 7 or to op 12.
type reply struct {
	op   protocol.Op
	ver  int16
	seq  int32
	body []byte
}

// live says that pushes may be written to it: op 8 has gone before them.
func (s *session) live() bool { return s.state == stateOpen || s.state == stateJoining }

// reads says that its input is handled now: not while an answer is waited for, so
// that answers keep the order of questions, and not after the goodbye.
func (s *session) reads() bool {
	return s.state == stateUpgrade || s.state == stateNew || s.state == stateOpen
}

func (s *session) id() sessionID   { return sessionID{s.slot, s.gen} }
func (s *session) is(f flags) bool { return s.flags&f != 0 }
func (s *session) mark(f flags)    { s.flags |= f }
func (s *session) unmark(f flags)  { s.flags &^= f }

// addr is the client's address. It is not stored: gnet has it as long as the
// connection is open.
func (s *session) addr() netip.Addr {
	a, ok := s.conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return ip.Unmap()
}

// wants is goim's filter for pushes by key, by mid and to all: the operation
// must be among those the client accepts. Pushes to rooms are not filtered, nor
// are im-cloud's clients.
func (s *session) wants(op int32) bool { return s.form.isIM() || s.accepts.has(op) }

// sideOf returns the session's side and makes it if need be.
func (l *loop) sideOf(s *session) *side {
	if s.side == nil {
		if n := len(l.sides); n > 0 {
			s.side, l.sides = l.sides[n-1], l.sides[:n-1]
		} else {
			s.side = &side{}
		}
	}
	return s.side
}

// maxSides bounds the sides a loop keeps for use again, about 150 bytes each.
const maxSides = 1024

// tidy takes the side from s if nothing is in it.
func (l *loop) tidy(s *session) {
	if s.side == nil || !s.side.empty() {
		return
	}
	if len(l.sides) < maxSides {
		l.putPending(s.side)
		*s.side = side{}
		l.sides = append(l.sides, s.side)
	}
	s.side = nil
}
