package job

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// testRegistry is Nodes and Rooms, and notes what is called.
type testRegistry struct {
	mu      sync.Mutex
	nodes   map[string]cluster.Node // gateways
	err     error
	fenced  bool
	calls   []string // renew, list, leave, consume
	lists   int
	renewed []time.Time
	rooms   map[int32]map[string]int32
	puts    []testPut
	putErr  error
}

type testPut struct {
	at        time.Time
	partition int32
	counts    []cluster.RoomCount
	all       bool
}

func newTestRegistry() *testRegistry {
	return &testRegistry{nodes: map[string]cluster.Node{}, rooms: map[int32]map[string]int32{}}
}

func (r *testRegistry) note(what string) {
	if n := len(r.calls); n == 0 || r.calls[n-1] != what {
		r.calls = append(r.calls, what)
	}
}

func (r *testRegistry) Renew(_ context.Context, n cluster.Node) (cluster.Epoch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("renew " + string(n.Role))
	if r.fenced {
		return 0, cluster.ErrFenced
	}
	if r.err != nil {
		return 0, r.err
	}
	r.renewed = append(r.renewed, time.Now())
	return max(n.Epoch, 7), nil
}

func (r *testRegistry) Leave(context.Context, string, cluster.Epoch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("leave")
	return nil
}

func (r *testRegistry) List(_ context.Context, role cluster.Role) (out []cluster.Node, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("list " + string(role))
	r.lists++
	for _, n := range r.nodes {
		out = append(out, n)
	}
	return out, r.err
}

func (r *testRegistry) Put(_ context.Context, p int32, counts []cluster.RoomCount, all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.putErr != nil {
		return r.putErr
	}
	r.puts = append(r.puts, testPut{time.Now(), p, slices.Clone(counts), all})
	if all || r.rooms[p] == nil {
		r.rooms[p] = map[string]int32{}
	}
	for _, c := range counts {
		if c.Count == 0 {
			delete(r.rooms[p], c.Room)
		} else {
			r.rooms[p][c.Room] = c.Count
		}
	}
	return nil
}

// set changes the registry under its lock.
func (r *testRegistry) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *testRegistry) add(id string, epoch cluster.Epoch) {
	r.set(func() { r.nodes[id] = cluster.Node{ID: id, Role: cluster.RoleGateway, Epoch: epoch} })
}

func (r *testRegistry) remove(id string) { r.set(func() { delete(r.nodes, id) }) }

func (r *testRegistry) room(name string, partitions int32) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rooms[push.RoomPartition(name, partitions)][name]
}

// called are the calls so far, repeats of one in a row left out, and the times of
// the renewals among them.
func (r *testRegistry) called() (calls []string, renewed []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls), slices.Clone(r.renewed)
}

// written are the writes of room counts so far.
func (r *testRegistry) written() []testPut {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.puts)
}

func (r *testRegistry) listed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists
}
