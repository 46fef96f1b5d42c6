package gateway

import (
	"slices"

	"github.com/panjf2000/gnet/v2"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
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

// session is one client connection.
type session struct {
	// Set when it is opened, then read-only.
	loop *loop
	conn gnet.Conn
	id   sessionID
	ip   string
	ws   bool

	// Owned by loop; touched on no other goroutine.
	state  state
	active uint32 // loop.now of the last sign of life; of the opening before op 8

	// Who it is: set when logic has answered.
	app     string
	key     string // scoped
	mid     string // scoped; "" none
	stamp   cluster.Stamp
	accepts []int32

	behind uint32 // loop.now when it went over max_outbound; 0: it is not

	changesFrom uint32 // loop.now when changes began to be counted
	changes     uint16 // of the room since then

	room    *room // nil: none
	roomPos int   // in room.members

	// Only while needed.
	partial []byte       // input that is not complete, or must wait for an answer
	frames  ws.Assembler // an open fragmented WebSocket message
	cookie  string       // of the upgrade, until logic was asked
	waiting *reply       // answer to send when logic has answered or joining is done
	pending []*message   // pushes to this session that the next settle writes
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

// route is how the registry knows it.
func (s *session) route() cluster.Route {
	srv := s.loop.srv
	return cluster.Route{Key: s.key, Mid: s.mid, Node: srv.cfg.ID, Epoch: srv.Epoch(), Stamp: s.stamp}
}

// wants is goim's filter for pushes by key, by mid and to all: the operation
// must be among those the client accepts. Pushes to rooms are not filtered.
func (s *session) wants(op int32) bool { return slices.Contains(s.accepts, op) }

// sessionID names a session of one loop for ever: a slot is used again, with
// another generation.
type sessionID struct{ slot, gen uint32 }

// table holds the sessions of one loop by slot. Slots do not move, so that a
// walk over all of them may be interrupted.
type table struct {
	slots []slot
	free  []uint32 // slots to use again
	count int
}

type slot struct {
	s   *session
	gen uint32
}

// put gives s a slot and an id.
func (t *table) put(s *session) {
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	t.slots[i].gen++
	t.slots[i].s = s
	s.id = sessionID{i, t.slots[i].gen}
	t.count++
}

// get returns the session, nil when it is gone.
func (t *table) get(id sessionID) *session {
	if int(id.slot) >= len(t.slots) || t.slots[id.slot].gen != id.gen {
		return nil
	}
	return t.slots[id.slot].s
}

// remove frees the slot of s.
func (t *table) remove(s *session) {
	if t.get(s.id) != s {
		return
	}
	t.slots[s.id.slot].s = nil
	t.free = append(t.free, s.id.slot)
	t.count--
}
