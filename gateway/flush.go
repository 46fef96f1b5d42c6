package gateway

import (
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// maxMerged bounds the inner packets of one op-9 packet, in bytes. A single
// larger one goes alone.
const maxMerged = 64 << 10

// toRoom queues m for all members of a room on this loop.
func (l *loop) toRoom(node *nodeRoom, m *message) {
	r := l.rooms[node.name]
	if r == nil {
		l.srv.m.noMember.Inc()
		return
	}
	if len(r.pending) == 0 {
		r.pending = l.getPending()
		l.dirtyRooms = append(l.dirtyRooms, r)
	}
	r.pending = append(r.pending, m)
}

// toSession queues m for one session if it accepts the operation.
func (l *loop) toSession(id sessionID, m *message) {
	s := l.table.get(id)
	switch {
	case s == nil || !s.live():
		l.srv.m.moved.Inc()
	case !s.wants(m.op):
		l.srv.m.notAccepted.Inc()
	default:
		l.addPending(s, m)
	}
}

// addPending queues m for s.
func (l *loop) addPending(s *session, m *message) {
	if len(s.pending) == 0 {
		s.pending = l.getPending()
		l.dirtySessions = append(l.dirtySessions, s)
	}
	s.pending = append(s.pending, m)
}

// settle moves pushes to all on by a slice and writes everything pending, once
// per connection. It reports whether pushes to all are left to be moved on.
func (l *loop) settle() (more bool) {
	more = l.stepCasts()
	for i, r := range l.dirtyRooms {
		l.dirtyRooms[i] = nil
		l.flushRoom(r)
	}
	l.dirtyRooms = l.dirtyRooms[:0]
	for i, s := range l.dirtySessions {
		l.dirtySessions[i] = nil
		l.flushSession(s)
	}
	l.dirtySessions = l.dirtySessions[:0]
	l.shrink()
	return more
}

// maxScratch bounds what a loop keeps of a burst, in bytes.
const maxScratch = 1 << 20

func (l *loop) shrink() {
	for _, b := range []*[]byte{&l.frameTCP, &l.frameWS, &l.out} {
		if cap(*b) > maxScratch {
			*b = nil
		}
	}
}

// flushRoom writes a room's pending messages to its members. If a write panics,
// that one session is closed and the others still get theirs.
func (l *loop) flushRoom(r *room) {
	l.frameTCP, l.frameWS = l.frameTCP[:0], l.frameWS[:0]
	l.pushed += len(r.pending) * len(r.members)
	for i := len(r.members) - 1; i >= 0; {
		i = l.flushMembers(r, i)
	}
	l.writing = nil
	l.recycle(r.pending)
	r.pending = nil
}

// flushMembers writes to the members from index from down to 0 and returns -1,
// or after a panic the index to go on with. It walks backwards: a write that
// fails closes its session, which leaves the room within the call; only places
// behind are affected then.
func (l *loop) flushMembers(r *room, from int) (next int) {
	defer l.recovered(nil)
	for i := from; i >= 0; i-- {
		next = i - 1
		s := r.members[i]
		if !s.live() {
			continue // clients expect op 8 before everything else
		}
		l.writing = s
		if len(s.pending) == 0 {
			s.write(l.roomFrame(r, s.ws)) // Fast path - the frame is shared by all.
			continue
		}
		l.out = append(l.out[:0], l.roomFrame(r, s.ws)...)
		l.out = appendPushes(l.out, s.ws, s.pending)
		l.pushed += len(s.pending)
		l.putPending(s)
		s.write(l.out)
	}
	return -1
}

// roomFrame is what a room's members get now, made once per transport in use.
func (l *loop) roomFrame(r *room, isWS bool) []byte {
	frame := &l.frameTCP
	if isWS {
		frame = &l.frameWS
	}
	if len(*frame) == 0 {
		*frame = appendPushes(*frame, isWS, r.pending)
	}
	return *frame
}

// flushSession writes what is pending for s alone.
func (l *loop) flushSession(s *session) {
	if len(s.pending) == 0 {
		return // written together with its room, or gone
	}
	defer l.recovered(s)
	l.out = appendPushes(l.out[:0], s.ws, s.pending)
	l.pushed += len(s.pending)
	l.putPending(s)
	s.write(l.out)
}

// appendPushes appends msgs as they travel to a client: over TCP the inner
// packets alone, over WebSocket in op-9 packets, one to a frame.
func appendPushes(dst []byte, isWS bool, msgs []*message) []byte {
	for len(msgs) > 0 {
		n, size := 0, 0
		for n < len(msgs) && (n == 0 || size+len(msgs[n].inner) <= maxMerged) {
			size += len(msgs[n].inner)
			n++
		}
		if isWS {
			dst = ws.AppendHeader(dst, ws.OpBinary, protocol.HeaderSize+size)
			dst = protocol.AppendHeader(dst, protocol.PushVer, protocol.OpRaw, 0, size)
		}
		for _, m := range msgs[:n] {
			dst = append(dst, m.inner...)
		}
		msgs = msgs[n:]
	}
	return dst
}

// maxSpare bounds the pending lists kept for use again, and their length.
const maxSpare, maxSpareCap = 256, 1024

// getPending returns an empty list for a session or a room that has none; it goes
// back by putPending or recycle, after which nobody may hold it.
func (l *loop) getPending() []*message {
	if n := len(l.spare); n > 0 {
		p := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return p
	}
	return make([]*message, 0, 4)
}

// putPending takes the pending list from s.
func (l *loop) putPending(s *session) {
	l.recycle(s.pending)
	s.pending = nil
}

// recycle keeps a list for getPending.
func (l *loop) recycle(p []*message) {
	if p != nil && len(l.spare) < maxSpare && cap(p) <= maxSpareCap {
		clear(p)
		l.spare = append(l.spare, p[:0])
	}
}
