package gateway

import (
	"encoding/binary"
	"slices"
)

// opSet is a set of operations that sessions of a loop accept. Most clients of a
// product accept the same, so that sets are shared; nobody writes to one.
type opSet struct {
	ops      []int32 // ascending
	name     string  // in opSets
	sessions int     // that have it
}

// has says that op is in the set; a nil set is empty.
func (o *opSet) has(op int32) bool {
	if o == nil {
		return false
	}
	_, found := slices.BinarySearch(o.ops, op)
	return found
}

// list is a copy of the set's operations.
func (o *opSet) list() []int32 {
	if o == nil {
		return nil
	}
	return slices.Clone(o.ops)
}

// opSets are the sets in use on a loop.
type opSets map[string]*opSet

// hold returns the set of these operations and counts a session for it; nil when
// there are none. ops is sorted in place and not kept.
func (all opSets) hold(ops []int32) *opSet {
	if len(ops) == 0 {
		return nil
	}
	slices.Sort(ops)
	ops = slices.Compact(ops)
	name := make([]byte, 0, 4*len(ops))
	for _, op := range ops {
		name = binary.BigEndian.AppendUint32(name, uint32(op))
	}
	o := all[string(name)]
	if o == nil {
		o = &opSet{ops: slices.Clone(ops), name: string(name)}
		all[o.name] = o
	}
	o.sessions++
	return o
}

// drop undoes one hold.
func (all opSets) drop(o *opSet) {
	if o == nil {
		return
	}
	if o.sessions--; o.sessions == 0 {
		delete(all, o.name)
	}
}
