package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/rooms"
	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/testkit"
)

// testLogic stands where logic would: it trusts tokens and remembers routes.
type testLogic struct {
	mu     sync.Mutex
	routes map[string]cluster.Route // by key
	stamp  cluster.Stamp
	hold   chan struct{} // when not nil, Connect waits for it
	fail   error         // when not nil, Connect returns it
	left   bool
	// It does not remember routes: then it stands for another process, whose memory is
	// not the gateway's.
	forgetful bool
}

func (b *testLogic) Connect(ctx context.Context, batch rpc.ConnectBatch) ([]rpc.ConnectReply, error) {
	b.mu.Lock()
	hold, fail := b.hold, b.fail
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var replies []rpc.ConnectReply
	for _, c := range batch.Clients {
		var tok struct {
			Mid     int64   `json:"mid"`
			Key     string  `json:"key"`
			Room    string  `json:"room_id"`
			Accepts []int32 `json:"accepts"`
			Hints   bool    `json:"hints"`
		}
		if err := json.Unmarshal(c.Token, &tok); err != nil {
			replies = append(replies, rpc.ConnectReply{Error: err.Error()})
			continue
		}
		b.stamp++
		if !b.forgetful {
			b.routes[tok.Key] = cluster.Route{Key: tok.Key, Node: batch.Node, Epoch: batch.Epoch, Stamp: b.stamp}
		}
		replies = append(replies, rpc.ConnectReply{Mid: tok.Mid, Key: tok.Key, Room: tok.Room, Accepts: tok.Accepts, Hints: tok.Hints, Stamp: b.stamp})
	}
	return replies, nil
}

func (b *testLogic) Disconnect(_ context.Context, routes []cluster.Route) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range routes {
		if b.routes[r.Key].Stamp == r.Stamp {
			delete(b.routes, r.Key)
		}
	}
	return nil
}

func (b *testLogic) Renew(context.Context, cluster.Node) (rpc.Lease, error) {
	return rpc.Lease{Version: cluster.Version, Epoch: testEpoch}, nil
}

func (b *testLogic) Leave(context.Context, string, cluster.Epoch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	return nil
}

func (b *testLogic) set(f func(b *testLogic)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func (b *testLogic) route(key string) cluster.Route {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.routes[key]
}

const testEpoch = 7

// rig is a running gateway with the logic and the addresses it has.
type rig struct {
	*Server
	t       testing.TB
	backend *testLogic
	bound   map[string]string
	tcp, ws string
	stop    func() // stops it and waits; called at the end of the test too
}

// testDeps are what a gateway stands on in tests; rules are the rooms' options.
func testDeps(t testing.TB, backend Backend, rules ...string) Deps {
	t.Helper()
	parsed, err := rooms.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return Deps{Backend: backend, Rules: parsed, Build: "test", Log: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()}
}

func start(t testing.TB, change func(c *Config)) *rig {
	t.Helper()
	return startRules(t, change)
}

// startRules starts a gateway whose rooms have options.
func startRules(t testing.TB, change func(c *Config), rules ...string) *rig {
	t.Helper()
	testkit.LeakCheck(t)
	cfg := Default()
	cfg.ID, cfg.TCPAddr, cfg.WSAddr, cfg.WSSAddr, cfg.Loops = "gw", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", 2
	cfg.MaxBacklog, cfg.Compression = 64<<20, true
	cfg.TLSCert, cfg.TLSKey = testkit.Certificate(t)
	if change != nil {
		change(&cfg)
	}
	backend := &testLogic{routes: map[string]cluster.Route{}}
	srv, err := New(cfg, testDeps(t, backend, rules...))
	if err != nil {
		t.Fatal(err)
	}
	bound, err := srv.Listen("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	r := &rig{Server: srv, t: t, backend: backend, bound: bound, tcp: bound["tcp_addr"], ws: bound["ws_addr"]}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	select {
	case <-srv.Ready():
	case err := <-done:
		t.Fatalf("Run ended: %v", err)
	}
	return r
}

// transports are the ways a client may come.
func (r *rig) transports() map[string]func(t testing.TB) *testkit.Client {
	dial := func(key string, o testkit.Options) func(t testing.TB) *testkit.Client {
		return func(t testing.TB) *testkit.Client { return testkit.Dial(t, r.bound[key], o) }
	}
	return map[string]func(t testing.TB) *testkit.Client{
		"tcp":          dial("tcp_addr", testkit.Options{}),
		"ws":           dial("ws_addr", testkit.Options{WS: true}),
		"ws-deflate":   dial("ws_addr", testkit.Options{WS: true, Deflate: true}),
		"json":         dial("ws_addr", testkit.Options{WS: true, JSON: true}),
		"json-deflate": dial("ws_addr", testkit.Options{WS: true, JSON: true, Deflate: true}),
		"tls-tcp":      dial("wss_addr", testkit.Options{TLS: true}),
		"wss":          dial("wss_addr", testkit.Options{TLS: true, WS: true}),
		"wss-json":     dial("wss_addr", testkit.Options{TLS: true, WS: true, JSON: true}),
	}
}

// isWS says that a transport has close frames.
func isWS(transport string) bool { return transport != "tcp" && transport != "tls-tcp" }

// testJob is the other end of a delivery stream.
type testJob struct {
	t      testing.TB
	stream push.Stream

	mu       sync.Mutex
	seq      map[int32]uint64 // last batch by partition
	acks     []push.Ack
	rooms    map[string]int32
	complete bool
	lastSeen uint64 // Interest seq
	silent   bool   // do not confirm
	closed   bool
}

func (r *rig) job(t testing.TB) *testJob {
	t.Helper()
	j := &testJob{t: t, rooms: map[string]int32{}, seq: map[int32]uint64{}}
	st, err := r.Open(context.Background(), cluster.Node{}, push.Hello{Version: cluster.Version, Job: "j", Node: "gw", Epoch: testEpoch}, j)
	if err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	j.stream = st
	j.mu.Unlock()
	t.Cleanup(st.Close)
	return j
}

func (j *testJob) Ack(a push.Ack) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acks = append(j.acks, a)
}

func (j *testJob) Interest(i push.Interest) {
	j.mu.Lock()
	for _, rc := range i.Rooms {
		if rc.Count < 0 {
			delete(j.rooms, rc.Room)
		} else {
			j.rooms[rc.Room] = rc.Count
		}
	}
	j.complete = j.complete || i.Complete
	j.lastSeen = i.Seq
	st, silent := j.stream, j.silent
	j.mu.Unlock()
	if st != nil && !silent {
		if err := st.Confirm(i.Seq); err != nil {
			j.t.Errorf("Confirm: %v", err)
		}
	}
}

func (j *testJob) Closed(error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
}

func (j *testJob) get(f func(j *testJob) bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return f(j)
}

// send delivers one batch of partition 0, generation 1, and returns the answer.
func (j *testJob) send(items ...push.Message) push.Ack {
	j.t.Helper()
	j.mu.Lock()
	j.seq[0]++
	seq := j.seq[0]
	j.mu.Unlock()
	return j.batch(push.Batch{Generation: 1, Seq: seq, Items: items})
}

func (j *testJob) batch(b push.Batch) push.Ack {
	j.t.Helper()
	if err := j.stream.Deliver(&b); err != nil {
		j.t.Fatal(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acks[len(j.acks)-1]
}

// must delivers and fails the test unless the batch is admitted.
func (j *testJob) must(items ...push.Message) {
	j.t.Helper()
	if a := j.send(items...); a.Status != push.AckDone {
		j.t.Fatalf("batch was not admitted: %+v", a)
	}
}

func toRoom(room, body string) push.Message {
	return push.Message{Op: 1000, To: push.Target{Kind: push.Room, Room: room}, Body: []byte(body)}
}

func toKeys(op int32, body string, keys ...string) push.Message {
	return push.Message{Op: op, To: push.Target{Kind: push.Keys, Keys: keys, Node: "gw", Epoch: testEpoch}, Body: []byte(body)}
}

func toAll(op int32, body string) push.Message {
	return push.Message{Op: op, To: push.Target{Kind: push.All}, Body: []byte(body)}
}

func token(key, room string, accepts ...int32) string {
	b, err := json.Marshal(map[string]any{"mid": 1, "key": key, "room_id": room, "accepts": accepts})
	return string(b) + errText(err)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// counter reads a metric of the rig by its row in counters.
func closedBy(r *rig, why closeReason) uint64 { return r.m.closed[why].Get() }

var errTest = errors.New("test")

// onLoop runs f on the loop that holds key and waits for it.
func (r *rig) onLoop(key string, f func(l *loop, s *session)) {
	r.t.Helper()
	held := r.directory.get(key)
	if held.loop == nil {
		r.t.Fatalf("no session has key %s", key)
	}
	done := make(chan struct{})
	held.loop.mailbox.post(mailFunc(func(l *loop) {
		defer close(done)
		f(l, l.table.get(held.id))
	}))
	<-done
}

type mailFunc func(l *loop)

func (f mailFunc) run(l *loop) { f(l) }

// blockLoops stops all loops that have connections until the returned function
// is called.
func (r *rig) blockLoops() (release func()) {
	gate := make(chan struct{})
	var waiting sync.WaitGroup
	for _, l := range r.loops {
		waiting.Add(1)
		if !l.mailbox.post(mailFunc(func(*loop) { waiting.Done(); <-gate })) {
			waiting.Done()
		}
	}
	waiting.Wait()
	return sync.OnceFunc(func() { close(gate) })
}

func sorted(s []string) []string { slices.Sort(s); return s }

const patience = 10 * time.Second

// testTime is a time that grows with n.
func testTime(n int) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(n) * time.Second)
}
