package logic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/spool"
)

const testPartitions = 8

// rig is a Logic on the memory backends, with a hand on each of them.
type rig struct {
	*Logic
	t        testing.TB
	registry *registry
	queue    *queue
	gateways *gateways
	stop     func() // ends Run and waits for it
}

// newRig makes a Logic; change alters what it is made from. It runs only after
// start.
func newRig(t testing.TB, change func(cfg *Config, deps *Deps)) *rig {
	t.Helper()
	r := &rig{
		t:        t,
		registry: &registry{Registry: memory.NewRegistry()},
		queue:    &queue{Queue: memory.NewQueue(testPartitions, 1<<30), got: map[int32][]push.Message{}},
		gateways: &gateways{},
		stop:     func() {},
	}
	cfg := Default()
	deps := Deps{
		Registry: r.registry, Nodes: r.registry, Locks: r.registry, Rooms: r.registry,
		Publisher: r.queue, Spool: spool.NewMemory(1<<20, 1<<30), Gateways: r.gateways,
	}
	if change != nil {
		change(&cfg, &deps)
	}
	l, err := New(cfg, deps, slog.New(slog.NewTextHandler(io.Discard, nil)), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	r.Logic = l
	return r
}

func (r *rig) start() *rig {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }() // ends with cancel
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
	return r
}

// gateway gives a gateway a lease and returns its life.
func (r *rig) gateway(id string) life {
	r.t.Helper()
	return r.renew(cluster.Node{ID: id})
}

func (r *rig) renew(n cluster.Node) life {
	r.t.Helper()
	n.Role, n.Version = cluster.RoleGateway, cluster.Version
	lease, err := r.Renew(context.Background(), n)
	if err != nil || lease.Fenced {
		r.t.Fatalf("renew %s: %+v, %v", n.ID, lease, err)
	}
	return life{n.ID, lease.Epoch}
}

// route connects key (scoped) for mid to a gateway.
func (r *rig) route(at life, key, mid string) cluster.Route {
	r.t.Helper()
	route := cluster.Route{Key: key, Mid: mid, Node: at.node, Epoch: at.epoch}
	reg, err := r.registry.Connect(context.Background(), []cluster.Route{route})
	if err != nil {
		r.t.Fatal(err)
	}
	route.Stamp = reg[0].Stamp
	return route
}

// has says whether a key has a route.
func (r *rig) has(key string) bool {
	r.t.Helper()
	routes, err := r.registry.Registry.Keys(context.Background(), []string{key})
	if err != nil {
		r.t.Fatal(err)
	}
	return routes[0].Node != ""
}

// push accepts one push and returns its identity.
func (r *rig) push(m push.Message) push.ID {
	r.t.Helper()
	msgs := []push.Message{m}
	if err := r.Push(msgs); err != nil {
		r.t.Fatal(err)
	}
	r.Wake()
	return msgs[0].ID
}

// once is push with a push id.
func (r *rig) once(m push.Message, id string) push.ID {
	r.t.Helper()
	msgs := []push.Message{m}
	if err := r.PushOnce(msgs, []string{id}); err != nil {
		r.t.Fatal(err)
	}
	r.Wake()
	return msgs[0].ID
}

func (r *rig) queued(ids ...push.ID) error { return r.Queued(context.Background(), ids...) }

// mustQueue waits until the queue has pushes.
func (r *rig) mustQueue(ids ...push.ID) {
	r.t.Helper()
	if err := r.queued(ids...); err != nil {
		r.t.Fatal(err)
	}
}

func toKeys(keys ...string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Keys, Keys: keys}, Body: []byte("hi")}
}

func toMids(mids ...int64) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Mids, Mids: mids}, Body: []byte("hi")}
}

func toRoom(room string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Room, Room: room}, Body: []byte("hi")}
}

func toAll() push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.All, Speed: 7}, Body: []byte("hi")}
}

var errAway = errors.New("away")

// registry is the memory registry, which can be made to fail.
type registry struct {
	*memory.Registry

	mu    sync.Mutex // guards below
	away  bool
	lists int // calls of List
}

func (r *registry) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *registry) listed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists
}

func (r *registry) fault() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return errAway
	}
	return nil
}

func (r *registry) Connect(ctx context.Context, routes []cluster.Route) ([]cluster.Registered, error) {
	if err := r.fault(); err != nil {
		return nil, err
	}
	return r.Registry.Connect(ctx, routes)
}

func (r *registry) Disconnect(ctx context.Context, routes []cluster.Route) error {
	if err := r.fault(); err != nil {
		return err
	}
	return r.Registry.Disconnect(ctx, routes)
}

func (r *registry) Keys(ctx context.Context, keys []string) ([]cluster.Route, error) {
	if err := r.fault(); err != nil {
		return nil, err
	}
	return r.Registry.Keys(ctx, keys)
}

func (r *registry) Mids(ctx context.Context, mids []string) ([][]cluster.Route, error) {
	if err := r.fault(); err != nil {
		return nil, err
	}
	return r.Registry.Mids(ctx, mids)
}

func (r *registry) List(ctx context.Context, role cluster.Role) ([]cluster.Node, error) {
	if err := r.fault(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.lists++
	r.mu.Unlock()
	return r.Registry.List(ctx, role)
}

// queue is the memory queue; it records what it has acknowledged, can be held
// back, and can be made to fail in the middle of a call.
type queue struct {
	*memory.Queue

	mu       sync.Mutex // guards below
	got      map[int32][]push.Message
	calls    int
	held     chan struct{} // not nil: calls wait until it is closed
	fail     func(call int, partition int32, msgs []push.Message) (taken int, err error)
	entered  int
	tooLarge int // size from which messages are refused; 0 none
}

func (q *queue) hold() (release func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make(chan struct{})
	q.held = held
	return sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.held = nil
		close(held)
	})
}

// waiting says how many calls have begun.
func (q *queue) begun() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.entered
}

func (q *queue) Publish(ctx context.Context, partition int32, msgs []push.Message) error {
	q.mu.Lock()
	q.entered++
	held := q.held
	q.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	taken, err := len(msgs), error(nil)
	for i := range msgs {
		if q.tooLarge > 0 && len(msgs[i].Body) >= q.tooLarge && err == nil {
			taken, err = i, &push.TooLargeError{Index: i, Size: len(msgs[i].Body), Max: q.tooLarge}
		}
	}
	if q.fail != nil && err == nil {
		if n, e := q.fail(q.calls, partition, msgs); e != nil {
			taken, err = n, e
		}
	}
	q.got[partition] = append(q.got[partition], msgs[:taken]...)
	return err
}

// messages are those the queue has taken, of all partitions in their order.
func (q *queue) messages() []push.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []push.Message
	for p := range int32(testPartitions) {
		all = append(all, q.got[p]...)
	}
	return all
}

func (q *queue) partition(p int32) []push.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]push.Message(nil), q.got[p]...)
}

// gateways records whom it was told to close.
type gateways struct {
	mu     sync.Mutex // guards below
	closed []string   // "key@node"
	block  chan struct{}
}

func (g *gateways) CloseReplaced(ctx context.Context, nodes []cluster.Node, routes []cluster.Route) error {
	g.mu.Lock()
	block := g.block
	g.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range routes {
		for _, n := range nodes {
			if n.ID == r.Node {
				g.closed = append(g.closed, fmt.Sprintf("%s@%s/%d", r.Key, r.Node, r.Stamp))
			}
		}
	}
	return nil
}

func (g *gateways) told() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.closed...)
}
