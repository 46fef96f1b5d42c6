package gateway

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
)

const (
	// maxName bounds keys and room ids, in bytes.
	maxName = 256
	// maxAccepts bounds the operations one session may accept.
	maxAccepts = 1024
	// maxChanges is how often a session may change its room within changesIn: every
	// new room is announced to all jobs and remembered for a while.
	maxChanges = 100
	changesIn  = 10 * time.Second
)

// packet handles one packet of a session that has finished its handshake.
// p.Body aliases the input.
func (l *loop) packet(s *session, p protocol.Packet) {
	l.srv.m.packets.Inc()
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
		s.subscribe(p.Body)
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpSubReply, Seq: p.Seq, Body: p.Body})
	case protocol.OpUnsub:
		s.unsubscribe(p.Body)
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpUnsubReply, Seq: p.Seq, Body: p.Body})
	case protocol.OpRaw:
		// goim answers with an op-9 packet without a body, of which its TCP
		// transport writes the body only: nothing.
		if s.ws {
			l.answer(s, protocol.Packet{Ver: p.Ver, Op: p.Op, Seq: p.Seq})
		}
	default:
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: p.Op, Seq: p.Seq})
	}
}

// heartbeat answers with the number of members of the session's room in the
// cluster, 0 without a room.
func (l *loop) heartbeat(s *session, p protocol.Packet) {
	var online int32
	if s.room != nil {
		online = s.room.node.online()
	}
	var body [4]byte
	binary.BigEndian.PutUint32(body[:], uint32(online))
	l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpHeartbeatReply, Seq: p.Seq, Body: body[:]})
}

// changeRoom leaves the room and joins the one named in the body, none if it is
// empty. As with goim the body is echoed also when the name cannot be used; the
// session then keeps its room.
func (l *loop) changeRoom(s *session, p protocol.Packet) {
	answer := reply{op: protocol.OpChangeRoomReply, ver: p.Ver, seq: p.Seq, body: p.Body}
	name := string(p.Body)
	switch {
	case s.tooManyChanges():
		l.closeReading(s, closeFlood)
		return
	case name == "":
		l.leave(s)
	case !validRoom(name):
		l.srv.m.refusedRooms.Inc()
	case s.room != nil && s.room.node.name == cluster.Scope(s.app, name):
		// Already there: leaving first would drop the room of its only member.
	case !l.join(s, cluster.Scope(s.app, name)):
		answer.body = []byte(name) // the input will be gone
		s.waiting = &answer
		s.state = stateJoining
		return
	}
	l.answer(s, answer.packet())
}

// tooManyChanges counts a change of room.
func (s *session) tooManyChanges() bool {
	if int32(s.loop.now-s.changesFrom) >= ticks(changesIn) {
		s.changesFrom, s.changes = s.loop.now, 0
	}
	s.changes++
	return s.changes > maxChanges
}

func (r *reply) packet() protocol.Packet {
	return protocol.Packet{Ver: r.ver, Op: r.op, Seq: r.seq, Body: r.body}
}

// joined is called when the jobs know the room that s has joined: the answer
// that waited is sent, and what the client sent meanwhile is handled.
func (l *loop) joined(s *session) {
	s.state, s.active = stateOpen, l.now
	if r := s.waiting; r != nil {
		s.waiting = nil
		l.answer(s, r.packet())
	}
	if len(s.partial) > 0 {
		l.input(s, nil)
	}
}

// validRoom bounds the names that clients may give rooms. goim takes any; names
// with control characters could pass for another app's.
func validRoom(name string) bool {
	return len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return r < ' ' || r == '\x7f' || r == '\uFFFD'
	}) < 0
}

// parseOps reads op 14's and op 16's body, decimals separated by commas. As with
// goim, one that is not a number spoils all.
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
	return ops, true
}

func (s *session) subscribe(body []byte) {
	ops, ok := parseOps(body)
	if !ok {
		return
	}
	for _, op := range ops {
		if !s.wants(op) && len(s.accepts) < maxAccepts {
			s.accepts = append(s.accepts, op)
		}
	}
}

func (s *session) unsubscribe(body []byte) {
	if ops, ok := parseOps(body); ok {
		s.accepts = slices.DeleteFunc(s.accepts, func(a int32) bool { return slices.Contains(ops, a) })
	}
}
