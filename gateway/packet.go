package gateway

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
)

const (
	// maxName bounds keys and room ids, in bytes.
	maxName = 256
	// maxAccepts bounds the operations one session may accept.
	maxAccepts = 1024
	// maxChanges is how often a session may change its room at once, forgiveChanges
	// how many of them each sweep forgives: every new room is announced to all jobs
	// and remembered for a while.
	maxChanges     = 100
	forgiveChanges = 10
)

// packet handles one packet of a session that has finished its handshake.
// p.Body aliases the input.
func (l *loop) packet(s *session, p protocol.Packet) {
	l.srv.m.packets.Inc()
	if s.form.isIM() {
		l.packetIM(s, p)
		return
	}
	if s.state == stateNew {
		// goim waits for op 7 and ignores everything before it.
		if p.Op == protocol.OpAuth {
			l.authenticate(s, p)
		} else {
			l.srv.m.ignored.Inc()
		}
		return
	}
	s.active = l.now
	switch p.Op {
	case protocol.OpHeartbeat, protocol.OpHeartbeatReply:
		l.heartbeat(s, p)
	case protocol.OpChangeRoom:
		l.changeRoom(s, p)
	case protocol.OpSub:
		l.subscribe(s, p.Body)
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpSubReply, Seq: p.Seq, Body: p.Body})
	case protocol.OpUnsub:
		l.unsubscribe(s, p.Body)
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpUnsubReply, Seq: p.Seq, Body: p.Body})
	case protocol.OpRaw:
		// goim answers with an op-9 packet without a body, of which its TCP
		// transport writes the body only: nothing.
		if s.form.isWS() {
			l.answer(s, protocol.Packet{Ver: p.Ver, Op: p.Op, Seq: p.Seq})
		}
	default:
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: p.Op, Seq: p.Seq})
	}
}

// heartbeat answers with the number of members of the session's room in the
// cluster, 0 without a room: an int32, in JSON a number.
func (l *loop) heartbeat(s *session, p protocol.Packet) {
	var online int32
	if s.room != nil {
		online = s.room.node.online()
	}
	body := l.codec.plain[:0]
	if s.form.isJSON() {
		body = strconv.AppendInt(body, int64(online), 10)
	} else {
		body = binary.BigEndian.AppendUint32(body, uint32(online))
	}
	l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpHeartbeatReply, Seq: p.Seq, Body: body})
	l.codec.plain = body
}

// changeRoom leaves the room and joins the one named in the body, none if it is
// empty. As with goim the body is echoed also when the name cannot be used; the
// session then keeps its room.
func (l *loop) changeRoom(s *session, p protocol.Packet) {
	name := string(p.Body)
	switch {
	case s.changes >= maxChanges:
		l.closeReading(s, closeFlood)
		return
	case name == "":
		l.leave(s)
	case !validRoom(name):
		l.srv.m.refusedRooms.Inc()
	default:
		s.changes++
		if !l.moveTo(s, name) {
			// The input will be gone.
			l.sideOf(s).waiting = &reply{op: protocol.OpChangeRoomReply, ver: p.Ver, seq: p.Seq, body: []byte(name)}
			s.state = stateJoining
			return
		}
	}
	l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpChangeRoomReply, Seq: p.Seq, Body: p.Body})
}

// moveTo joins the room of that name in the session's app. It reports whether the
// jobs know already; where the session is there it stays: leaving first would drop
// the room of its only member.
func (l *loop) moveTo(s *session, name string) (ready bool) {
	app := l.srv.directory.app(s.handle)
	if scoped := cluster.Scope(app, name); s.room == nil || s.room.node.name != scoped {
		return l.join(s, scoped)
	}
	return true
}

func (r *reply) packet() protocol.Packet {
	return protocol.Packet{Ver: r.ver, Op: r.op, Seq: r.seq, Body: r.body}
}

// joined is called when the jobs know the room that s has joined: the answer
// that waited is sent, and what the client sent meanwhile is handled.
func (l *loop) joined(s *session) {
	s.state, s.active = stateOpen, l.now
	if s.side == nil {
		return
	}
	if r := s.side.waiting; r != nil {
		s.side.waiting = nil
		l.answer(s, r.packet())
	}
	if s.side != nil && len(s.side.partial) > 0 {
		l.input(s, nil)
		return
	}
	l.tidy(s)
}

// validRoom bounds the names that clients may give rooms. goim takes any; names
// with control characters could pass for another app's.
func validRoom(name string) bool {
	return len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return r < ' ' || r == '\x7f' || r == '\uFFFD'
	}) < 0
}

// parseOps reads op 14's and op 16's body, decimals separated by commas. As with
// goim, one that is not a number spoils all. ops is ascending, without repeats.
func parseOps(body []byte) (ops []int32, ok bool) {
	if len(body) == 0 {
		return nil, true
	}
	for part := range strings.SplitSeq(string(body), ",") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return nil, false
		}
		ops = append(ops, int32(n))
	}
	slices.Sort(ops)
	return slices.Compact(ops), true
}

func (l *loop) subscribe(s *session, body []byte) {
	ops, ok := parseOps(body)
	if !ok {
		return
	}
	have := s.accepts.list()
	for _, op := range ops {
		if len(have) == maxAccepts {
			break
		}
		if !s.accepts.has(op) {
			have = append(have, op)
		}
	}
	l.accept(s, have)
}

func (l *loop) unsubscribe(s *session, body []byte) {
	if ops, ok := parseOps(body); ok {
		l.accept(s, slices.DeleteFunc(s.accepts.list(), func(a int32) bool {
			_, found := slices.BinarySearch(ops, a)
			return found
		}))
	}
}

// accept makes ops what s accepts.
func (l *loop) accept(s *session, ops []int32) {
	before := s.accepts
	s.accepts = l.opSets.hold(ops)
	l.opSets.drop(before)
}
