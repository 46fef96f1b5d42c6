package gateway

import "slices"

// flush is what all members of a room, or all sessions, get: some messages, with
// the bytes of each form made when the first receiver of that form is met.
type flush struct {
	msgs   []*message
	frames [forms][]byte
}

// frame is what a receiver of form f gets.
func (l *loop) frame(x *flush, f form) []byte {
	if len(x.frames[f]) == 0 {
		x.frames[f] = l.appendPushes(x.frames[f], f, x.msgs)
	}
	return x.frames[f]
}

const (
	// sliceWrites is how many connections a loop writes to before it looks at its
	// sockets and its mail again: at 10 µs a write, 2.5 ms.
	sliceWrites = 256
	// roomWrites is how many members of one room are served before it is the next
	// room's turn, so that a small room does not wait for a large one.
	roomWrites = 64
	// maxWrite is how many bytes of messages a write takes at most, or one message: a
	// socket that does not take them leaves them with gnet, which copies them for each.
	maxWrite = 64 << 10
	// sliceBytes are as much work as a write.
	sliceBytes = 16 << 10
	// maxScratch bounds what a loop keeps of a burst, in bytes per buffer.
	maxScratch = 1 << 20
)

// settle writes what is pending, once per connection, up to a slice. It reports
// whether there is more to do.
func (l *loop) settle() (more bool) {
	l.left = sliceWrites
	l.stepCasts()
	for l.left > 0 && l.dirtyRooms.size()+l.dirtySessions.size() > 0 {
		if l.dirtyRooms.size() > 0 {
			if r := l.dirtyRooms.pop(); l.flushRoom(r) {
				l.dirtyRooms.push(r)
			}
		}
		for n := roomWrites; n > 0 && l.dirtySessions.size() > 0; n-- {
			l.flushSession(l.dirtySessions.pop())
		}
	}
	l.shrink()
	return l.dirtyRooms.size() > 0 || l.dirtySessions.size() > 0 || l.casting()
}

func (l *loop) shrink() {
	for _, b := range []*[]byte{&l.codec.plain, &l.merged, &l.out, &l.sealed} {
		if cap(*b) > maxScratch {
			*b = nil
		}
	}
}

// toRoom queues m for all members of a room on this loop.
func (l *loop) toRoom(node *nodeRoom, m *message) {
	r := l.rooms[node.name]
	if r == nil {
		l.srv.m.noMember.Inc()
		return
	}
	if r.pending == nil {
		r.pending = l.getPending()
	}
	r.pending = append(r.pending, m)
	if r.flushing == nil && !r.queued {
		l.schedule(r)
	}
}

// schedule has the room flushed: at once, or, within coalesce of the last time or
// while it rests, when that is over. The first message never waits, its followers leave
// together.
func (l *loop) schedule(r *room) {
	r.queued = true
	if r.openFrom > 0 && l.clock() < r.openFrom {
		l.flushAt(r.openFrom, r)
		return
	}
	l.dirtyRooms.push(r)
}

// flushRoom writes to the next members of a room. It reports whether there are
// more.
func (l *loop) flushRoom(r *room) (more bool) {
	if r.flushing == nil {
		r.queued = false
		l.beginFlush(r)
	}
	for turn := min(roomWrites, l.left); turn > 0 && r.todo > 0; {
		turn = l.flushMembers(r, turn)
	}
	if r.todo > 0 {
		return true
	}
	l.putFlush(r.flushing)
	r.flushing = nil
	l.rest(r)
	if r.pending != nil {
		l.schedule(r)
	}
	return false
}

const (
	// restFactor is how many times as long as a flush has taken its room rests, up to
	// maxRest ms: so a room takes a third of a loop's time at most, unless serving it takes more than
	// half of maxRest. What takes less than a millisecond counts as nothing: a small room never rests.
	//
	// One room of 5,000, everything on 2 cores (halley bench fanout, with and without), at
	// 20, 100 and 400 messages a second: 0.59, 0.56 and 0.54 cores for the gateway instead of
	// 0.99, 0.93 and 0.83; 1.8, 9.4 and 51 messages to a write instead of 1.1, 5.5 and 31; and as
	// nobody waits for the CPU any more, p99 161, 163 and 295 ms instead of 182, 228 and 377.
	restFactor = 2
	maxRest    = 50
)

// rest has what comes for a large room after a flush wait a little, and leave
// together.
func (l *loop) rest(r *room) {
	now := l.clock()
	// Two ticks of the clock are a millisecond at least; one may be no time at all.
	if took := now - r.begun; r.begun > 0 && took >= 2 {
		r.openFrom = max(r.openFrom, now+min(restFactor*took, maxRest))
	}
}

// beginFlush takes what one write holds of what is pending. What is left is not kept
// back.
func (l *loop) beginFlush(r *room) {
	n := l.fits(r.pending)
	r.flushing, r.todo, r.begun = l.getFlush(r.pending[:n:n]), len(r.members), l.clock()
	if r.pending = r.pending[n:]; len(r.pending) > 0 {
		r.begun = 0
		return
	}
	r.pending = nil
	if r.options.Coalesce > 0 {
		r.openFrom = l.clock() + r.options.Coalesce.Milliseconds()
	}
}

// flushMembers writes to up to turn members, from the last that waits down, and
// returns how many of turn are left, also after a panic, which closes the one it
// came from. A write that fails closes its session, which leaves the room within
// the call.
func (l *loop) flushMembers(r *room, turn int) (left int) {
	defer l.recovered(nil)
	for left = turn; left > 0 && r.todo > 0; {
		left--
		l.left--
		r.todo--
		s := l.table.at(r.members[r.todo])
		if !s.live() {
			continue // clients expect op 8 before everything else
		}
		l.give(s, r.flushing)
	}
	return left
}

// fits is how many of msgs one write takes.
func (l *loop) fits(msgs []*message) (n int) {
	most := min(maxWrite, l.srv.cfg.MaxOutbound)
	for size := 0; n < len(msgs); n++ {
		if size += len(msgs[n].inner); size > most && n > 0 {
			break
		}
	}
	return n
}

// give writes x to s, behind what is pending for it.
func (l *loop) give(s *session, x *flush) {
	l.writing = s
	switch {
	case s.is(flagBehind), s.side != nil && l.fits(s.side.pending) < len(s.side.pending):
		for _, m := range x.msgs {
			l.addPending(s, m)
		}
	case s.side != nil && len(s.side.pending) > 0:
		l.merged = l.appendPushes(l.merged[:0], s.form, s.side.pending)
		l.pushed += len(s.side.pending) + len(x.msgs)
		l.putPending(s.side)
		l.merged = append(l.merged, l.frame(x, s.form)...)
		l.write(s, l.merged)
	default: // Fast path - the frame is shared by all.
		l.pushed += len(x.msgs)
		l.write(s, l.frame(x, s.form))
	}
	l.writing = nil
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

// addPending queues m for s: for the next settle, or while it is behind for when
// its socket takes more.
func (l *loop) addPending(s *session, m *message) {
	x := l.sideOf(s)
	if s.is(flagBehind) && !l.admits(s, m) {
		return
	}
	if len(x.pending) == 0 {
		x.pending = l.getPending()
		if !s.is(flagBehind) {
			l.dirtySessions.push(s.id())
		}
	}
	x.pending = append(x.pending, m)
}

// flushSession writes what is pending for one session alone.
func (l *loop) flushSession(id sessionID) {
	s := l.table.get(id)
	if s == nil || s.side == nil || len(s.side.pending) == 0 || s.is(flagBehind) {
		return // written together with its room, gone, or must wait
	}
	defer l.recovered(s)
	l.left--
	l.writeSome(s)
	if s.live() && len(s.side.pending) > 0 && !s.is(flagBehind) {
		l.dirtySessions.push(id)
		return
	}
	l.tidy(s)
}

// writeSome writes what is pending for s alone, as much as one write takes.
func (l *loop) writeSome(s *session) {
	x := s.side
	n := l.fits(x.pending)
	l.merged = l.appendPushes(l.merged[:0], s.form, x.pending[:n])
	l.pushed += n
	if s.is(flagBehind) {
		l.letGo(s, x.pending[:n]...)
	}
	if n == len(x.pending) {
		l.putPending(x)
	} else {
		x.pending = slices.Delete(x.pending, 0, n)
	}
	l.write(s, l.merged)
}

const (
	// maxSpare bounds the lists of messages kept for use again, maxSpareCap their
	// length.
	maxSpare, maxSpareCap = 256, 1024
	// maxFlushes bounds the flushes kept, maxFlushFrame their buffers, in bytes.
	maxFlushes, maxFlushFrame = 16, 64 << 10
)

// getPending returns an empty list of messages; it goes back by putPending or
// recycle, after which nobody may hold it.
func (l *loop) getPending() []*message {
	if n := len(l.spare); n > 0 {
		p := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return p
	}
	return make([]*message, 0, 4)
}

// putPending takes the pending list from x.
func (l *loop) putPending(x *side) {
	l.recycle(x.pending)
	x.pending = nil
}

// recycle keeps a list for getPending.
func (l *loop) recycle(p []*message) {
	if p != nil && len(l.spare) < maxSpare && cap(p) <= maxSpareCap {
		clear(p)
		l.spare = append(l.spare, p[:0])
	}
}

// getFlush makes a flush of msgs, which it takes.
func (l *loop) getFlush(msgs []*message) *flush {
	n := len(l.flushes)
	if n == 0 {
		return &flush{msgs: msgs}
	}
	x := l.flushes[n-1]
	l.flushes = l.flushes[:n-1]
	x.msgs = msgs
	return x
}

// putFlush keeps x and its buffers for getFlush.
func (l *loop) putFlush(x *flush) {
	l.recycle(x.msgs)
	x.msgs = nil
	if len(l.flushes) >= maxFlushes {
		return
	}
	for f := range x.frames {
		if x.frames[f] = x.frames[f][:0]; cap(x.frames[f]) > maxFlushFrame {
			x.frames[f] = nil
		}
	}
	l.flushes = append(l.flushes, x)
}
