package gateway

import (
	"slices"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rooms"
)

// room is what one loop knows of a room: its members on that loop, and what
// they shall get. All fields are owned by the loop.
type room struct {
	node    *nodeRoom
	options rooms.Options
	members []uint32    // slots. Those from todo on have what flushing is
	ready   bool        // the jobs know that this node has members
	waiting []sessionID // whose answer waits for ready

	pending  []*message // what the next flush writes to the members
	queued   bool       // it is in loop.dirtyRooms, or waits in the wheel
	openFrom int64      // coalesce and rest: ms of loop.clock before which followers wait

	flushing *flush // under way; nil: none
	begun    int64  // ms of loop.clock at which that was; 0: there was more than one write holds
	todo     int    // members[:todo] have not got it yet
}

// join puts s into the room called name (scoped) and out of the one it is in.
// It reports whether the jobs already know of the room; otherwise roomReady
// comes later, and until then messages may miss this node.
func (l *loop) join(s *session, name string) (ready bool) {
	l.leave(s)
	r := l.rooms[name]
	if r == nil {
		_, id := cluster.Unscope(name)
		r = &room{options: l.srv.rules.Match(id)}
		r.node, r.ready = l.srv.interest.acquire(name, l)
		l.rooms[name] = r
	}
	s.room, s.member = r, uint32(len(r.members))
	r.members = append(r.members, s.slot)
	l.srv.interest.count(r.node, 1)
	if !r.ready {
		l.await(r, s)
	}
	return r.ready
}

// await has s told when r is ready.
func (l *loop) await(r *room, s *session) {
	if len(r.waiting) > 64+2*len(r.members) { // most have left
		r.waiting = slices.DeleteFunc(r.waiting, func(id sessionID) bool {
			w := l.table.get(id)
			return w == nil || w.room != r
		})
	}
	r.waiting = append(r.waiting, s.id())
}

// leave takes s out of its room, if it is in one. A flush that is under way goes
// on: its gap among the members that wait is filled with the last of those, and
// the gap that leaves with the last of all.
func (l *loop) leave(s *session) {
	r := s.room
	if r == nil {
		return
	}
	s.room = nil
	gap := int(s.member)
	if gap < r.todo {
		r.todo--
		l.move(r, r.todo, gap)
		gap = r.todo
	}
	last := len(r.members) - 1
	l.move(r, last, gap)
	r.members = r.members[:last]
	if 4*last < cap(r.members) && last >= 16 {
		r.members = append(make([]uint32, 0, 2*last), r.members...)
	}
	l.srv.interest.count(r.node, -1)
	if last == 0 {
		delete(l.rooms, r.node.name)
		l.srv.interest.release(r.node, l)
	}
}

// move gives the member at one place another.
func (l *loop) move(r *room, from, to int) {
	if from != to {
		r.members[to] = r.members[from]
		l.table.at(r.members[to]).member = uint32(to)
	}
}

// roomReady is the mail that says: the jobs know that node has members here.
type roomReady struct{ node *nodeRoom }

func (m roomReady) run(l *loop) {
	r := l.rooms[m.node.name]
	if r == nil || r.node != m.node || r.ready {
		return
	}
	r.ready = true
	waiting := r.waiting
	r.waiting = nil
	for _, id := range waiting {
		if s := l.table.get(id); s != nil && s.room == r && (s.state == stateWelcoming || s.state == stateJoining) {
			l.joined(s)
		}
	}
}
