package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// waiting says that logic has been asked n times and not answered.
func (r *rig) asked(n int) func() bool {
	return func() bool {
		count := 0
		for _, l := range r.loops {
			done := make(chan int)
			if !l.mailbox.post(mailFunc(func(l *loop) {
				n := 0
				for s := range l.table.all() {
					if s.state == stateConnecting {
						n++
					}
				}
				done <- n
			})) {
				continue
			}
			count += <-done
		}
		return count == n
	}
}

// A key connects elsewhere while logic's answer for the session here is on its
// way: the session must not be let in, its route points elsewhere.
func TestReplacedBeforeConnected(t *testing.T) {
	r := start(t, nil)
	hold := make(chan struct{})
	r.backend.set(func(b *testLogic) { b.hold = hold })
	c := testkit.DialTCP(t, r.tcp)
	c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", "", 1000))})
	testkit.Eventually(t, patience, r.asked(1), "logic is asked")
	// logic stores stamp 1 for this gateway, then 2 elsewhere, and tells us first.
	r.CloseReplaced([]cluster.Route{{Key: "k", Node: "gw", Epoch: testEpoch, Stamp: 1}})
	r.backend.set(func(b *testLogic) { b.hold = nil })
	close(hold)
	if got := c.ExpectClosed(); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
	// The key may come back here with a newer stamp.
	testkit.DialTCP(t, r.tcp).Auth(token("k", "", 1000))
}

// What the directory remembers of keys that went elsewhere is forgotten in time.
func TestGravesAreForgotten(t *testing.T) {
	d := newDirectory(nil)
	now := testTime(0)
	for i := range 1000 {
		d.replaced(fmt.Sprint(i), 1, now)
	}
	for i := range 1000 {
		d.replaced(fmt.Sprint("later ", i), 1, now.Add(graveTime+time.Second))
	}
	left := 0
	for i := range d.shards {
		left += len(d.shards[i].graves)
		if len(d.shards[i].graves) != len(d.shards[i].buried) {
			t.Fatalf("shard %d: %d graves, %d entries", i, len(d.shards[i].graves), len(d.shards[i].buried))
		}
	}
	if left != 1000 {
		t.Errorf("%d graves are left, want 1000", left)
	}
}

// A producer that repeats a call puts 1 2 1 2 on the queue, which a job with a
// backlog delivers in one batch.
func TestRepeatsWithinBatch(t *testing.T) {
	r := start(t, nil)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "live://1"))
	j := r.job(t)
	m := func(spool, index uint64) push.Message {
		x := toRoom("live://1", fmt.Sprint(spool, ".", index))
		x.ID = push.ID{Spool: spool, Index: index}
		return x
	}
	j.must(m(5, 1), m(6, 1), m(5, 2), m(5, 1), m(5, 2), m(6, 1), m(6, 2), toRoom("live://1", "end"))
	for _, body := range []string{"5.1", "6.1", "5.2", "6.2", "end"} {
		want(t, c, 1000, body)
	}
	if n := r.m.repeats.Get(); n != 3 {
		t.Errorf("%d repeats counted, want 3", n)
	}
}

// A burst that no socket takes at once does not make a reader slow.
func TestBurstToReader(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "live://1"))
	release := r.blockLoops()
	body := strings.Repeat("x", 60<<10)
	for i := range 40 { // 2.4 MB
		j.must(toRoom("live://1", fmt.Sprint(i, " ", body)))
	}
	release()
	for i := range 40 {
		if got := string(c.Push().Body); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("got %.10q, want message %d", got, i)
		}
	}
	testkit.Eventually(t, patience, func() bool {
		done := make(chan bool)
		r.loops[0].mailbox.post(mailFunc(func(l *loop) { done <- len(l.behind) == 0 }))
		return <-done
	}, "nobody is behind any more")
}

// A loop without connections takes none while the gateway drains either.
func TestDrainRefuses(t *testing.T) {
	r := start(t, func(c *Config) { c.DrainTimeout = 2 * time.Second })
	a := testkit.DialTCP(t, r.tcp) // one loop has a connection, the others never had
	a.Auth(token("a", ""))
	r.loops[0].conns.Add(1) // as if somebody did not go: the drain takes all its time
	go r.stop()
	a.ExpectClosed()
	for range 20 {
		conn, err := net.Dial("tcp", r.tcp)
		if err != nil {
			break // the drain is over
		}
		_, _ = conn.Write(protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("late", ""))}))
		if n, err := conn.Read(make([]byte, 100)); err == nil {
			t.Errorf("%d bytes for a client that came too late", n)
		}
		conn.Close()
	}
	r.stop()
	if n := closedBy(r, closeDrain); n < 2 {
		t.Errorf("%d closed for the drain", n)
	}
}

// launchGate is a log handler that stops gnet where it begins to start the n-th
// engine.
type launchGate struct {
	slog.Handler
	n         atomic.Int32
	at        int32
	hit, open chan struct{}
}

func (g *launchGate) Enabled(context.Context, slog.Level) bool { return true }

func (g *launchGate) Handle(_ context.Context, rec slog.Record) error {
	if strings.Contains(rec.Message, "Launching gnet") && g.n.Add(1) == g.at {
		close(g.hit)
		<-g.open
	}
	return nil
}

// The stop comes while a loop that has ended by itself is starting again.
func TestStopDuringRestart(t *testing.T) {
	testkit.LeakCheck(t)
	g := &launchGate{at: 3, hit: make(chan struct{}), open: make(chan struct{})}
	cfg := Default()
	cfg.ID, cfg.TCPAddr, cfg.WSAddr, cfg.Loops, cfg.DrainTimeout = "gw", "127.0.0.1:0", "127.0.0.1:0", 2, 0
	backend := &testLogic{routes: map[string]cluster.Route{}}
	deps := testDeps(t, backend)
	deps.Log = slog.New(g)
	srv, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Listen("127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	_ = srv.loops[0].engine.Load().Stop(context.Background()) // as if accept had failed
	<-g.hit                                                   // it starts again
	cancel()
	testkit.Eventually(t, patience, func() bool {
		backend.mu.Lock()
		defer backend.mu.Unlock()
		return backend.left
	}, "the drain is over")
	close(g.open)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not return")
	}
}

// Paced pushes to all end also where nobody is, so that they do not use up what
// may be under way.
func TestPacedToNobody(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", ""))
	c.Close()
	testkit.Eventually(t, patience, func() bool { return r.Conns() == 0 }, "nobody is here")
	m := toAll(1000, "x")
	m.To.Speed = 100
	for range maxPaced {
		j.must(m)
	}
	testkit.Eventually(t, patience, func() bool { return r.casts.all.Load() == 0 && r.casts.paced.Load() == 0 }, "they have ended")
}

// A batch of more pushes to all than may be under way is taken when none is.
func TestManyCastsInABatch(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "", 1000))
	items := make([]push.Message, maxCasts+1)
	for i := range items {
		items[i] = toAll(1000, fmt.Sprint(i))
	}
	j.must(items...)
	for i := range items {
		want(t, c, 1000, fmt.Sprint(i))
	}
}

// A loop ends while logic is asked: the route that logic then stores is removed.
func TestRouteOfEndedLoop(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	hold := make(chan struct{})
	r.backend.set(func(b *testLogic) { b.hold = hold })
	c := testkit.DialTCP(t, r.tcp)
	c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", "", 1000))})
	testkit.Eventually(t, patience, r.asked(1), "logic is asked")
	_ = r.loops[0].engine.Load().Stop(context.Background())
	testkit.Eventually(t, patience, func() bool { return r.m.loopRestarts.Get() > 0 }, "the loop has ended")
	r.backend.set(func(b *testLogic) { b.hold = nil })
	close(hold)
	testkit.Eventually(t, patience, func() bool {
		stored := false
		r.backend.set(func(b *testLogic) { stored = b.stamp > 0 && len(b.routes) == 0 })
		return stored
	}, "the route was stored and removed")
}

// slowPeer holds the announcement of a room until out is closed.
type slowPeer struct {
	in, out       chan struct{}
	once          sync.Once
	inCall, early atomic.Bool
	closed        chan struct{}
}

func (p *slowPeer) Ack(push.Ack) {}

func (p *slowPeer) Interest(i push.Interest) {
	if len(i.Rooms) == 0 {
		return
	}
	p.once.Do(func() {
		p.inCall.Store(true)
		close(p.in)
		<-p.out
		p.inCall.Store(false)
	})
}

func (p *slowPeer) Closed(error) {
	p.early.Store(p.inCall.Load())
	close(p.closed)
}

// Closed is the last call on a stream, also when it ends during an announcement.
func TestClosedIsLast(t *testing.T) {
	r := start(t, nil)
	p := &slowPeer{in: make(chan struct{}), out: make(chan struct{}), closed: make(chan struct{})}
	st, err := r.Open(context.Background(), cluster.Node{}, push.Hello{Version: cluster.Version, Job: "j", Node: "gw", Epoch: testEpoch}, p)
	if err != nil {
		t.Fatal(err)
	}
	c := testkit.DialTCP(t, r.tcp)
	c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", "live://1", 1000))})
	<-p.in
	st.Close()
	close(p.out)
	<-p.closed
	if p.early.Load() {
		t.Error("Closed was called while Interest was under way")
	}
	c.RecvOp(protocol.OpAuthReply)
}

// A batch that is refused and repeated counts what it drops once.
func TestBusyCountsOnce(t *testing.T) {
	r := start(t, func(c *Config) { c.Mailbox, c.MaxOutbound, c.Loops = 1<<20, 64<<20, 1 })
	j := r.job(t)
	testkit.DialTCP(t, r.tcp).Auth(token("k", "live://1"))
	release := r.blockLoops()
	defer release()
	body := strings.Repeat("x", 100<<10)
	seq := uint64(0)
	for a := j.send(toRoom("live://1", body)); a.Status == push.AckDone; a = j.send(toRoom("live://1", body)) {
		seq = a.Seq
	}
	again := push.Batch{Generation: 1, Seq: seq + 1, Items: []push.Message{toRoom("nobody://1", "a"), toRoom("live://1", body)}}
	for range 10 {
		j.batch(again)
	}
	release()
	testkit.Eventually(t, patience, func() bool { return j.batch(again).Status == push.AckDone }, "there is room")
	if n := r.m.noMember.Get(); n != 1 {
		t.Errorf("one message without a receiver was counted %d times", n)
	}
}

// A client that changes its room all the time is closed: every new room costs all
// jobs.
func TestTooManyChanges(t *testing.T) {
	r := start(t, nil)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", ""))
	for i := range maxChanges + 1 {
		c.Send(protocol.Packet{Op: protocol.OpChangeRoom, Body: fmt.Append(nil, "r://", i)})
	}
	if got := c.ExpectClosed(); len(got) != maxChanges {
		t.Errorf("%d changes were answered, want %d", len(got), maxChanges)
	}
	if closedBy(r, closeFlood) != 1 {
		t.Error("not counted as a flood")
	}
}

// A list of rooms leaves at the pace of its reader.
func TestListWaitsForReader(t *testing.T) {
	in := newInterest()
	srv := &Server{interest: in}
	j := &testJob{t: t, rooms: map[string]int32{}, silent: true}
	const rooms = 3 * interestWindow * interestChunk
	for i := range rooms {
		name := fmt.Sprint("r://", i)
		in.rooms[name] = &nodeRoom{name: name}
	}
	st := &stream{srv: srv, peer: j}
	in.open(st)
	if len(j.rooms) != interestWindow*interestChunk || j.complete {
		t.Fatalf("%d rooms without a confirmation, complete %v", len(j.rooms), j.complete)
	}
	for !j.complete {
		if err := st.Confirm(j.lastSeen); err != nil {
			t.Fatal(err)
		}
	}
	if len(j.rooms) != rooms {
		t.Errorf("%d of %d rooms", len(j.rooms), rooms)
	}
}
