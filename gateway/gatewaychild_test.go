package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// productionGC is the GOGC that main runs a gateway with. Keep it in step:
// memory and CPU measured with another one say nothing.
const productionGC = "50"

// gatewayChild is the process of a gateway: its rig, and a job that pushes.
type gatewayChild struct {
	tb   *childTB
	rig  *rig
	job  *testJob
	seqs map[int]uint32 // last sequence number by room
}

// addresses are those a gateway takes clients on, as clients use them.
type addresses struct{ TCP, WS string }

// pushSpec is one batch for one room. Each message is stamped with where it stands
// in its room's sequence, so that clients can tell loss, repeats and wrong order.
type pushSpec struct {
	Room        int
	Count, Size int           // messages, and bytes of each body
	Due         time.Duration // by clock; 0 means now
}

// heap is what the collector knows, after a collection.
type heap struct {
	Live    int64 // bytes of live objects
	InUse   int64 // bytes of spans that hold at least one of them
	Objects int64
	Stacks  int64
}

func gatewayMain() error {
	g := &gatewayChild{tb: &childTB{}, seqs: map[int]uint32{}}
	err := obey(map[string]work.Command{
		"start": g.start, "push": work.Do(g.push),
		"heap": work.Do(g.heap), "conns": work.Do(g.conns), "closed": work.Do(g.closed),
	})
	return errors.Join(err, g.tb.finish())
}

// start starts the gateway; with is a JSON object of Config's fields to change.
func (g *gatewayChild) start(with json.RawMessage) (any, error) {
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
	return addresses{"tcp://" + g.rig.tcp, "ws://" + g.rig.ws + ws.Path}, nil
}

// push delivers one batch the way a job does.
func (g *gatewayChild) push(p pushSpec) (work.None, error) {
	if p.Due == 0 {
		p.Due = clock.Now()
	}
	items := make([]push.Message, p.Count)
	for i := range items {
		g.seqs[p.Room]++
		s := stamp.Stamp{Run: childRun, Target: stamp.To(stamp.Room, p.Room), Seq: g.seqs[p.Room], Due: p.Due}
		items[i] = toRoom(roomName(p.Room), string(stamp.Append(nil, s, p.Size)))
	}
	g.job.must(items...)
	return work.None{}, nil
}

func (g *gatewayChild) heap(work.None) (heap, error) {
	runtime.GC()
	runtime.GC() // what finalizers and pools have kept through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap{int64(m.HeapAlloc), int64(m.HeapInuse), int64(m.HeapObjects), int64(m.StackInuse)}, nil
}

func (g *gatewayChild) conns(work.None) (int, error) { return g.rig.Conns(), nil }

// closed is how many connections have ended, by reason.
func (g *gatewayChild) closed(work.None) (map[string]uint64, error) {
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
	*work.Process
	addresses
}

// startGateway starts a gateway in a process of its own, with production's
// collector settings. change names fields of Config and their values.
func startGateway(t testing.TB, change map[string]any) *gatewayProcess {
	t.Helper()
	if change == nil {
		change = map[string]any{}
	}
	g := &gatewayProcess{Process: startChild(t, "gateway", "GOGC="+productionGC)}
	g.addresses = call[addresses](t, g.Process, "start", change)
	return g
}

// push delivers one batch to a room.
func (g *gatewayProcess) push(t testing.TB, p pushSpec) {
	t.Helper()
	tell(t, g.Process, "push", p)
}

// empty waits until the gateway has no connection left.
func (g *gatewayProcess) empty(t testing.TB) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func() bool { return g.conns(t) == 0 },
		"all connections are gone")
}

// conns is how many connections the gateway has.
func (g *gatewayProcess) conns(t testing.TB) int {
	t.Helper()
	return call[int](t, g.Process, "conns", work.None{})
}

// closed is how many connections of the gateway have ended, by reason.
func (g *gatewayProcess) closed(t testing.TB) map[string]uint64 {
	t.Helper()
	return call[map[string]uint64](t, g.Process, "closed", work.None{})
}

// used is the CPU time a process has used so far. On loopback a sender also pays for
// the receiver's softirq: the kernel has no IRQ time accounting of its own then.
func used(t testing.TB, p *work.Process) time.Duration {
	t.Helper()
	return call[work.Usage](t, p, "usage", work.None{}).CPU
}
