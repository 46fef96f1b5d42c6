package gateway

// room is what one loop knows of a room: its members on that loop, and what
// they shall get. All fields are owned by the loop.
type room struct {
	node    *nodeRoom
	members []*session
	ready   bool        // the jobs know that this node has members
	waiting []sessionID // whose answer waits for ready
	pending []*message  // what the next settle writes to the members
}

// join puts s into the room called name (scoped) and out of the one it is in.
// It reports whether the jobs already know of the room; otherwise roomReady
// comes later, and until then messages may miss this node.
func (l *loop) join(s *session, name string) (ready bool) {
	l.leave(s)
	r := l.rooms[name]
	if r == nil {
		r = &room{}
		r.node, r.ready = l.srv.interest.acquire(name, l)
		l.rooms[name] = r
	}
	s.room, s.roomPos = r, len(r.members)
	r.members = append(r.members, s)
	l.srv.interest.count(r.node, 1)
	if !r.ready {
		r.waiting = append(r.waiting, s.id)
	}
	return r.ready
}

// leave takes s out of its room, if it is in one. A flush that walks over the
// members from the last to the first survives it: only places that were already
// visited change.
func (l *loop) leave(s *session) {
	r := s.room
	if r == nil {
		return
	}
	last := len(r.members) - 1
	moved := r.members[last]
	r.members[s.roomPos], moved.roomPos = moved, s.roomPos
	r.members[last] = nil
	r.members = r.members[:last]
	s.room = nil
	l.srv.interest.count(r.node, -1)
	if last == 0 {
		delete(l.rooms, r.node.name)
		l.srv.interest.release(r.node, l)
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
