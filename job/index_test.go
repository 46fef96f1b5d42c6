package job

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// indexModel is what the index should hold, kept the simple way, and what the
// registry and the gateways made of what it told them.
type indexModel struct {
	t   *testing.T
	rng *rand.Rand
	x   *index

	links    []*link
	pipes    []uint32
	rooms    map[string]map[int]indexEntry // by room and link
	owned    []int32
	registry map[string]int32
	told     map[string]map[int]int32 // by room and link
}

type indexEntry struct {
	count int32
	pipe  uint32
}

const (
	modelPartitions = 4
	modelRooms      = 40
)

func TestIndexAgainstModel(t *testing.T) {
	r := newRig(t, modelPartitions)
	j := New(r.cfg, Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: r.gateways}, discard, r.set)
	m := &indexModel{
		t: t, rng: newRand(t), x: j.index,
		rooms: map[string]map[int]indexEntry{}, registry: map[string]int32{}, told: map[string]map[int]int32{},
	}
	for i := range 5 {
		m.links = append(m.links, newLink(j, cluster.Node{ID: fmt.Sprint(i)}, func() {}))
		m.pipes = append(m.pipes, 1)
	}
	for step := range 100_000 {
		m.step()
		if step%50 == 0 {
			m.compareTargets(step, m.name())
		}
	}
	m.collect(func() (took, ok bool) { return true, true })
	m.compareCounts()
}

func (m *indexModel) name() string { return fmt.Sprint("live://", m.rng.IntN(modelRooms)) }

func (m *indexModel) step() {
	switch i := m.rng.IntN(len(m.links)); m.rng.IntN(20) {
	default:
		m.announce(i, m.name(), int32(m.rng.IntN(5)-1))
	case 0:
		m.pipes[i]++ // the list begins anew
	case 1:
		m.x.sweep(m.links[i], m.pipes[i])
		for _, r := range m.rooms {
			if r[i].pipe < m.pipes[i] {
				delete(r, i)
			}
		}
	case 2:
		m.x.forget(m.links[i])
		for _, r := range m.rooms {
			delete(r, i)
		}
	case 3:
		m.own()
	case 4, 5:
		m.collect(func() (took, ok bool) { // an error leaves open whether it was written
			ok = m.rng.IntN(3) > 0
			return ok || m.rng.IntN(2) == 0, ok
		})
	}
}

func (m *indexModel) announce(i int, room string, n int32) {
	m.x.announce(m.links[i], m.pipes[i], []cluster.RoomCount{{Room: room, Count: n}})
	if m.rooms[room] == nil {
		m.rooms[room] = map[int]indexEntry{}
	}
	if n < 0 {
		delete(m.rooms[room], i)
	} else {
		m.rooms[room][i] = indexEntry{n, m.pipes[i]}
	}
}

// own gives the job other partitions, whose rooms it writes whole.
func (m *indexModel) own() {
	m.owned = nil
	for p := range int32(modelPartitions) {
		if m.rng.IntN(2) == 0 {
			m.owned = append(m.owned, p)
		}
	}
	m.x.own(m.owned)
	m.told = map[string]map[int]int32{}
	for room := range m.registry {
		if slices.Contains(m.owned, push.RoomPartition(room, modelPartitions)) {
			delete(m.registry, room)
		}
	}
	for _, p := range m.owned {
		whole := m.x.whole(p)
		m.put(whole)
		m.x.written(whole, true)
	}
}

func (m *indexModel) put(counts []cluster.RoomCount) {
	for _, rc := range counts {
		m.registry[rc.Room] = rc.Count
	}
}

// collect hands on what changed. write says of each write whether the registry
// took it and whether it said so.
func (m *indexModel) collect(write func() (took, ok bool)) {
	c := m.x.collect()
	for p, counts := range c.puts {
		if !slices.Contains(m.owned, p) {
			m.t.Fatalf("counts of partition %d, owned are %v", p, m.owned)
		}
		took, ok := write()
		if took {
			m.put(counts)
		}
		m.x.written(counts, ok)
	}
	for l, counts := range c.tells {
		for _, rc := range counts {
			if m.told[rc.Room] == nil {
				m.told[rc.Room] = map[int]int32{}
			}
			m.told[rc.Room][slices.Index(m.links, l)] = rc.Count
		}
	}
}

func (m *indexModel) compareTargets(step int, room string) {
	var want, got []string
	for i := range m.rooms[room] {
		want = append(want, fmt.Sprint(i))
	}
	for _, l := range m.x.appendTargets(nil, room) {
		got = append(got, l.id)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		m.t.Fatalf("step %d: %s is wanted by %v, want %v", step, room, got, want)
	}
}

// compareCounts checks that the registry and the gateways know what is so.
func (m *indexModel) compareCounts() {
	known := 0
	for room, members := range m.rooms {
		if len(members) > 0 {
			known++
		}
		if !slices.Contains(m.owned, push.RoomPartition(room, modelPartitions)) {
			continue
		}
		var total int32
		for _, e := range members {
			total += e.count
		}
		if m.registry[room] != total {
			m.t.Errorf("%s: the registry has %d, want %d", room, m.registry[room], total)
		}
		for i, e := range members {
			if others, ok := m.told[room][i]; !ok || others != total-e.count {
				m.t.Errorf("%s: gateway %d was told %d (%v), want %d", room, i, others, ok, total-e.count)
			}
		}
	}
	if m.x.size() != known {
		m.t.Errorf("%d rooms in the index, want %d", m.x.size(), known)
	}
	if known == 0 || len(m.registry) == 0 {
		m.t.Error("nothing was tested")
	}
}
