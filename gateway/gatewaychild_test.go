package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// productionGC is the GOGC that main runs a gateway with. Keep it in step:
// memory and CPU measured with another one say nothing.
const productionGC = "50"

// gatewayChild is the process of a gateway: its rig, and a job that pushes.
type gatewayChild struct {
	tb   *childTB
	rig  *rig
	job  *testJob
	seqs map[string]uint64 // last sequence number by room
}

// addresses are those a gateway takes clients on.
type addresses struct{ TCP, WS string }

// pushSpec is one batch for one room. Each message says where it stands in its
// room's sequence, so that clients can tell loss, repeats and wrong order.
type pushSpec struct {
	Room        string
	Count, Size int   // messages, and bytes of each body
	At          int64 // when it was due, by monotonic; 0 means now
}

// heap is what the collector knows, after a collection.
type heap struct {
	Live    int64 // bytes of live objects
	InUse   int64 // bytes of spans that hold at least one of them
	Objects int64
	Stacks  int64
}

func gatewayMain() error {
	g := &gatewayChild{tb: &childTB{}, seqs: map[string]uint64{}}
	err := obey(map[string]command{
		"start": g.start, "push": cmd(g.push), "usage": cmd(ownUsage),
		"heap": cmd(g.heap), "conns": cmd(g.conns), "closed": cmd(g.closed),
	})
	return errors.Join(err, g.tb.finish())
}

// start starts the gateway; with is a JSON object of Config's fields to change.
func (g *gatewayChild) start(with []byte) (any, error) {
	change := func(c *Config) {
		d := json.NewDecoder(bytes.NewReader(with))
		d.DisallowUnknownFields()
		if err := d.Decode(c); err != nil {
			g.tb.Fatal("configuration: ", err)
		}
	}
	g.rig = start(g.tb, change)
	g.job = g.rig.job(g.tb)
	g.rig.backend.set(func(b *testLogic) { b.forgetful = true })
	return addresses{g.rig.tcp, g.rig.ws}, nil
}

// push delivers one batch the way a job does.
func (g *gatewayChild) push(p pushSpec) (none, error) {
	if p.At == 0 {
		p.At = monotonic()
	}
	items := make([]push.Message, p.Count)
	for i := range items {
		g.seqs[p.Room]++
		items[i] = toRoom(p.Room, string(appendStamped(nil, g.seqs[p.Room], p.At, p.Size)))
	}
	g.job.must(items...)
	return none{}, nil
}

func (g *gatewayChild) heap(none) (heap, error) {
	runtime.GC()
	runtime.GC() // what finalizers and pools have kept through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap{int64(m.HeapAlloc), int64(m.HeapInuse), int64(m.HeapObjects), int64(m.StackInuse)}, nil
}

func (g *gatewayChild) conns(none) (int, error) { return g.rig.Conns(), nil }

// closed is how many connections have ended, by reason.
func (g *gatewayChild) closed(none) (map[string]uint64, error) {
	m := map[string]uint64{}
	for why := range closeReasons {
		if n := closedBy(g.rig, why); n > 0 {
			m[why.String()] = n
		}
	}
	return m, nil
}

// gatewayProcess is a gatewayChild as a test sees it.
type gatewayProcess struct {
	*child
	addresses
}

// startGateway starts a gateway in a process of its own, with production's
// collector settings. change names fields of Config and their values.
func startGateway(t testing.TB, change map[string]any) *gatewayProcess {
	t.Helper()
	if change == nil {
		change = map[string]any{}
	}
	g := &gatewayProcess{child: startChild(t, "gateway", "GOGC="+productionGC)}
	g.addresses = call[addresses](t, g.child, "start", change)
	return g
}

// push delivers one batch to a room.
func (g *gatewayProcess) push(t testing.TB, p pushSpec) {
	t.Helper()
	call[none](t, g.child, "push", p)
}

// empty waits until the gateway has no connection left.
func (g *gatewayProcess) empty(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func() bool { return call[int](t, g.child, "conns", none{}) == 0 },
		"all connections are gone")
}
