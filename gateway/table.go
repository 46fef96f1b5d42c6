package gateway

import "iter"

// sessionID names a session of one loop for ever: a slot is used again, with
// another generation.
type sessionID struct{ slot, gen uint32 }

// table holds the sessions of one loop in slabs: they do not move, so that gnet's
// connections and walks that are interrupted may refer to them, and the collector
// sees one object for many of them.
type table struct {
	slabs []*slab
	free  []uint32 // slots to use again
	used  uint32   // slots that were ever used
	count int      // sessions
}

const (
	slabBits = 8
	slabSize = 1 << slabBits // 16 KiB of sessions
)

type slab [slabSize]session

// size is how many slots there are, used or free.
func (t *table) size() int { return int(t.used) }

// at returns the slot; whether a session is in it, its conn tells.
func (t *table) at(slot uint32) *session { return &t.slabs[slot>>slabBits][slot&(slabSize-1)] }

// add gives out an empty session with an id of its own.
func (t *table) add() *session {
	var slot uint32
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		slot = t.used
		if t.used++; slot>>slabBits == uint32(len(t.slabs)) {
			t.slabs = append(t.slabs, new(slab))
		}
	}
	t.count++
	s := t.at(slot)
	*s = session{slot: slot, gen: s.gen + 1}
	return s
}

// get returns the session, nil when it is gone.
func (t *table) get(id sessionID) *session {
	if id.slot >= t.used {
		return nil
	}
	if s := t.at(id.slot); s.conn != nil && s.gen == id.gen {
		return s
	}
	return nil
}

// remove frees the slot of s. Its generation stays.
func (t *table) remove(s *session) {
	*s = session{slot: s.slot, gen: s.gen, state: stateClosed}
	t.free = append(t.free, s.slot)
	t.count--
}

// all goes over the sessions there are.
func (t *table) all() iter.Seq[*session] {
	return func(yield func(*session) bool) {
		for slot := range t.used {
			if s := t.at(slot); s.conn != nil && !yield(s) {
				return
			}
		}
	}
}
