package job

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// shards is how many parts the room index has. A sweep locks one at a time: with
// a million rooms each is held for about 2 ms.
const shards = 64

// unknown stands for a count the other side may or may not have.
const unknown = -1

// index knows which gateways want which rooms, and how many members each has
// there. It is ordered by room, not by gateway: a message to a room costs one
// look-up however many gateways there are, and most rooms (the inboxes) are on
// one or two of them. It is used concurrently.
type index struct {
	seed       maphash.Seed
	partitions int32
	owned      []atomic.Bool // by partition: this job counts its rooms
	shards     [shards]shard
}

type shard struct {
	mu sync.Mutex
	// guards below, and the rooms
	rooms map[string]*room
	dirty []*room // counts changed; only rooms of owned partitions
}

// room is one scoped room. It is kept while a gateway wants it, and while the
// registry has a count of it that this job must take back.
type room struct {
	name      string
	partition int32
	put       int32 // count in the registry, or unknown; for owners
	dirty     bool  // in shard.dirty
	members   []member
}

// member is a room on one gateway.
type member struct {
	link  *link
	pipe  uint32 // number of the pipe that announced it last
	count int32
	told  int32 // what the gateway was told of the others, or unknown
}

func newIndex(partitions int32) *index {
	x := &index{seed: maphash.MakeSeed(), partitions: partitions, owned: make([]atomic.Bool, partitions)}
	for i := range x.shards {
		x.shards[i].rooms = map[string]*room{}
	}
	return x
}

func (x *index) shard(name string) *shard { return &x.shards[maphash.String(x.seed, name)%shards] }

// size is how many rooms the index holds.
func (x *index) size() (n int) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		n += len(s.rooms)
		s.mu.Unlock()
	}
	return n
}

// appendTargets adds the gateways that announced the room to dst, those that are in it
// already left out.
func (x *index) appendTargets(dst []*link, name string) []*link {
	had := len(dst)
	s := x.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[name]; r != nil {
		for i := range r.members {
			if l := r.members[i].link; !slices.Contains(dst[:had], l) {
				dst = append(dst, l)
			}
		}
	}
	return dst
}

// announce takes what a gateway said on pipe number n of its link: a negative
// count says that it does not want the room any more.
func (x *index) announce(l *link, n uint32, rooms []cluster.RoomCount) {
	for _, rc := range rooms {
		s := x.shard(rc.Room)
		s.mu.Lock()
		if rc.Count < 0 {
			s.remove(x, s.rooms[rc.Room], func(m member) bool { return m.link == l })
		} else {
			s.put(x, l, n, rc)
		}
		s.mu.Unlock()
	}
}

// put stores one announced count. mu is held.
func (s *shard) put(x *index, l *link, n uint32, rc cluster.RoomCount) {
	r := s.rooms[rc.Room]
	if r == nil {
		r = &room{name: rc.Room, partition: push.RoomPartition(rc.Room, x.partitions)}
		s.rooms[rc.Room] = r
	}
	i := slices.IndexFunc(r.members, func(m member) bool { return m.link == l })
	if i < 0 {
		i = len(r.members)
		r.members = append(r.members, member{link: l})
	}
	m := &r.members[i]
	if m.pipe != n {
		m.pipe, m.told = n, unknown
	}
	m.count = rc.Count
	s.mark(x, r)
}

// mark notes that the room's counts changed. mu is held.
func (s *shard) mark(x *index, r *room) {
	if !r.dirty && x.owned[r.partition].Load() {
		r.dirty = true
		s.dirty = append(s.dirty, r)
	}
}

// remove takes members off a room, which may be nil. mu is held.
func (s *shard) remove(x *index, r *room, which func(member) bool) {
	if r == nil {
		return
	}
	n := len(r.members)
	r.members = slices.DeleteFunc(r.members, which)
	if len(r.members) < n {
		s.mark(x, r)
		s.tidy(x, r)
	}
}

// tidy forgets a room nobody has or waits for. mu is held.
func (s *shard) tidy(x *index, r *room) {
	if len(r.members) == 0 && (r.put == 0 || !x.owned[r.partition].Load()) {
		delete(s.rooms, r.name)
	}
}

// forget removes a gateway from all rooms.
func (x *index) forget(l *link) { x.removeAll(func(m member) bool { return m.link == l }) }

// sweep removes a gateway from the rooms it announced on pipes before n, and not
// on n.
func (x *index) sweep(l *link, n uint32) {
	x.removeAll(func(m member) bool { return m.link == l && m.pipe < n })
}

func (x *index) removeAll(which func(member) bool) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for _, r := range s.rooms {
			s.remove(x, r, which)
		}
		s.mu.Unlock()
	}
}

// own says which partitions' rooms are counted from now on. Nothing is known of
// what the registry and the gateways were told about them before.
func (x *index) own(partitions []int32) {
	for p := range x.owned {
		x.owned[p].Store(slices.Contains(partitions, int32(p)))
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		s.dirty = nil
		for _, r := range s.rooms {
			r.dirty, r.put = false, 0
			if x.owned[r.partition].Load() {
				r.put = unknown
			}
			for j := range r.members {
				r.members[j].told = unknown
			}
			s.mark(x, r)
			s.tidy(x, r)
		}
		s.mu.Unlock()
	}
}

// changes is what collect found.
type changes struct {
	puts  map[int32][]cluster.RoomCount // by partition
	tells map[*link][]cluster.RoomCount // members elsewhere, for gateways that have the room
}

// collect takes the changed rooms: their totals for the registry, and for each
// gateway what it was not told yet.
func (x *index) collect() changes {
	c := changes{map[int32][]cluster.RoomCount{}, map[*link][]cluster.RoomCount{}}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for _, r := range s.dirty {
			r.dirty = false
			total := r.total()
			if total != r.put {
				c.puts[r.partition] = append(c.puts[r.partition], cluster.RoomCount{Room: r.name, Count: total})
			}
			for j := range r.members {
				m := &r.members[j]
				if others := total - m.count; m.told != others {
					m.told = others
					c.tells[m.link] = append(c.tells[m.link], cluster.RoomCount{Room: r.name, Count: others})
				}
			}
		}
		s.dirty = nil
		s.mu.Unlock()
	}
	return c
}

// total is the number of members on all gateways.
func (r *room) total() (n int32) {
	for i := range r.members {
		n += r.members[i].count
	}
	return n
}

// whole lists all rooms with members of a partition, to be written in place of
// what the registry has. Rooms nobody has any more are forgotten with that.
func (x *index) whole(partition int32) (counts []cluster.RoomCount) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for _, r := range s.rooms {
			if r.partition != partition {
				continue
			}
			if n := r.total(); n > 0 {
				counts = append(counts, cluster.RoomCount{Room: r.name, Count: n})
			}
			if len(r.members) == 0 {
				r.put = 0
				s.tidy(x, r)
			}
		}
		s.mu.Unlock()
	}
	return counts
}

// written notes what the registry has now; with ok false it may have it or not,
// and the rooms are collected again.
func (x *index) written(counts []cluster.RoomCount, ok bool) {
	for _, rc := range counts {
		s := x.shard(rc.Room)
		s.mu.Lock()
		if r := s.rooms[rc.Room]; r != nil {
			r.put = rc.Count
			if !ok {
				r.put = unknown
				s.mark(x, r)
			}
			s.tidy(x, r)
		}
		s.mu.Unlock()
	}
}
