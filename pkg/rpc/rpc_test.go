package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// serve runs an internal address and returns it.
func serve(t *testing.T, secret string, add func(base context.Context, in *Internal)) string {
	t.Helper()
	ln, err := Listen("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := NewInternal(secret, metrics.NewSet(), func() error { return nil })
	add(ctx, in)
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, in.Serve, ServerOptions{MaxConns: 100, MaxBody: 8 << 20}, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// echoLogic answers with what it got.
type echoLogic struct {
	mu     sync.Mutex
	routes []cluster.Route
	node   cluster.Node
	left   string
}

func (e *echoLogic) Connect(_ context.Context, b ConnectBatch) (out []ConnectReply, err error) {
	for _, c := range b.Clients {
		if string(c.Token) == "fail" {
			return nil, errors.New("registry away")
		}
		out = append(out, ConnectReply{Mid: 42, Key: string(c.Token), Room: "live://1", Accepts: []int32{-1, 7}, Stamp: cluster.Stamp(b.Epoch)})
	}
	return out, nil
}

func (e *echoLogic) Disconnect(_ context.Context, routes []cluster.Route) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.routes = routes
	return nil
}

func (e *echoLogic) Renew(_ context.Context, n cluster.Node) (Lease, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.node = n
	return Lease{Version: cluster.Version, Epoch: 5, Jobs: []string{"a", "b"}}, nil
}

func (e *echoLogic) Leave(_ context.Context, id string, epoch cluster.Epoch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = fmt.Sprint(id, epoch)
	return nil
}

func TestLogicCalls(t *testing.T) {
	testkit.LeakCheck(t)
	l := &echoLogic{}
	addr := serve(t, "s3cret", func(base context.Context, in *Internal) { HandleLogic(base, in, l) })
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	ctx := context.Background()
	c := NewLogicClient([]string{dead.Addr().String(), addr}, "s3cret") // the first is away
	defer c.http.CloseIdleConnections()

	token := []byte("any \x00 bytes \xff")
	replies, err := c.Connect(ctx, ConnectBatch{Version: 1, Node: "gw", Epoch: 1 << 60, Clients: []ConnectRequest{{Token: token}, {Token: []byte("k")}}})
	if err != nil || len(replies) != 2 || replies[1].Stamp != 1<<60 || !reflect.DeepEqual(replies[1].Accepts, []int32{-1, 7}) {
		t.Fatalf("Connect: %+v, %v", replies, err)
	}
	if _, err := c.Connect(ctx, ConnectBatch{Clients: []ConnectRequest{{Token: []byte("fail")}}}); err == nil || !strings.Contains(err.Error(), "registry away") {
		t.Errorf("a failing Connect: %v", err)
	}
	routes := []cluster.Route{{Key: "a\x1fb", Mid: "1", Node: "gw", Epoch: 2, Stamp: 3}}
	if err := c.Disconnect(ctx, routes); err != nil || !reflect.DeepEqual(l.routes, routes) {
		t.Errorf("Disconnect: %v, %v", l.routes, err)
	}
	node := cluster.Node{ID: "gw", Role: cluster.RoleGateway, Conns: 3, Draining: true}
	if lease, err := c.Renew(ctx, node); err != nil || lease.Epoch != 5 || len(lease.Jobs) != 2 || l.node != node {
		t.Errorf("Renew: %+v, %v", lease, err)
	}
	if err := c.Leave(ctx, "gw", 9); err != nil || l.left != "gw9" {
		t.Errorf("Leave: %q, %v", l.left, err)
	}
	stranger := NewLogicClient([]string{addr}, "guess")
	defer stranger.http.CloseIdleConnections()
	if err := stranger.Leave(ctx, "gw", 10); err == nil || !strings.Contains(err.Error(), "401") || l.left != "gw9" {
		t.Errorf("a wrong secret: %q, %v", l.left, err)
	}
}

// fakeGateway is the other end of streams: it keeps what it gets.
type fakeGateway struct {
	refuse error

	mu     sync.Mutex
	peer   push.Receiver
	got    []*push.Batch
	seq    uint64
	counts []cluster.RoomCount
	closed int
	routes []cluster.Route
}

func (g *fakeGateway) Open(_ context.Context, _ cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	if g.refuse != nil {
		return nil, g.refuse
	}
	g.mu.Lock()
	g.peer = r
	g.mu.Unlock()
	r.Interest(push.Interest{Seq: 1, Complete: true, Rooms: []cluster.RoomCount{{Room: h.Job, Count: int32(h.Epoch)}}})
	return g, nil
}

func (g *fakeGateway) Deliver(b *push.Batch) error {
	g.mu.Lock()
	g.got = append(g.got, b)
	g.mu.Unlock()
	g.peer.Ack(push.Ack{Partition: b.Partition, Generation: b.Generation, Seq: b.Seq})
	return nil
}

func (g *fakeGateway) Confirm(seq uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seq = seq
	return nil
}

func (g *fakeGateway) Counts(c []cluster.RoomCount) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts = c
	return nil
}

func (g *fakeGateway) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed++
}

func (g *fakeGateway) CloseReplaced(routes []cluster.Route) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.routes = append(g.routes, routes...)
}

func (g *fakeGateway) get(f func() bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return f()
}

// receiver is a job's side.
type receiver struct {
	acks     chan push.Ack
	interest chan push.Interest
	closed   chan error
}

func newReceiver() *receiver {
	return &receiver{make(chan push.Ack, 1<<16), make(chan push.Interest, 16), make(chan error, 1)}
}
func (r *receiver) Ack(a push.Ack)           { r.acks <- a }
func (r *receiver) Interest(i push.Interest) { r.interest <- i }
func (r *receiver) Closed(err error)         { r.closed <- err }

func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("not in time: " + what)
		panic("unreachable")
	}
}

func TestDeliveryStream(t *testing.T) {
	testkit.LeakCheck(t)
	g := &fakeGateway{}
	addr := serve(t, "s3cret", func(base context.Context, in *Internal) { HandleGateway(base, in, g, slog.New(slog.DiscardHandler)) })
	c := NewGatewayClient("s3cret")
	defer c.http.CloseIdleConnections()
	node := cluster.Node{ID: "gw", Internal: addr}
	r := newReceiver()
	st, err := c.Open(context.Background(), node, push.Hello{Version: 1, Job: "job-1", Node: "gw", Epoch: 77}, r)
	if err != nil {
		t.Fatal(err)
	}
	if i := within(t, r.interest, "the room list"); !i.Complete || i.Rooms[0] != (cluster.RoomCount{Room: "job-1", Count: 77}) {
		t.Errorf("room list %+v", i)
	}
	const n = 2000
	big := bytes.Repeat([]byte{7}, 900_000)
	for i := range n {
		b := &push.Batch{Partition: 1, Generation: 2, Seq: uint64(i + 1), Items: []push.Message{{Op: int32(i), To: push.Target{Kind: push.Room, Room: "live://1"}}}}
		if i == n/2 {
			b.Items[0].Body = big
		}
		if err := st.Deliver(b); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if a := within(t, r.acks, "an ack"); a != (push.Ack{Partition: 1, Generation: 2, Seq: uint64(i + 1)}) {
			t.Fatalf("ack %d is %+v", i, a)
		}
	}
	for i, b := range g.got {
		if b.Items[0].Op != int32(i) || i == n/2 && !bytes.Equal(b.Items[0].Body, big) {
			t.Fatalf("batch %d has op %d", i, b.Items[0].Op)
		}
	}
	if err := errors.Join(st.Confirm(9), st.Counts([]cluster.RoomCount{{Room: "a", Count: 1}})); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return g.get(func() bool { return g.seq == 9 && len(g.counts) == 1 }) }, "confirm and counts arrive")
	st.Close()
	if err := within(t, r.closed, "Closed"); err == nil {
		t.Error("Closed without a reason")
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return g.get(func() bool { return g.closed == 1 }) }, "the gateway's end is closed")
	if err := st.Deliver(&push.Batch{}); err == nil {
		t.Error("a closed stream takes batches")
	}

	if err := c.CloseReplaced(context.Background(), []cluster.Node{node}, []cluster.Route{{Key: "k", Node: "gw", Stamp: 4}, {Key: "other", Node: "gone"}}); err != nil {
		t.Error(err)
	}
	if len(g.routes) != 1 || g.routes[0].Key != "k" {
		t.Errorf("closed %+v", g.routes)
	}
}

func TestStreamRefused(t *testing.T) {
	testkit.LeakCheck(t)
	g := &fakeGateway{refuse: errors.New("this is another epoch")}
	addr := serve(t, "s3cret", func(base context.Context, in *Internal) { HandleGateway(base, in, g, slog.New(slog.DiscardHandler)) })
	f := func(secret, addr, want string) {
		t.Helper()
		r := newReceiver()
		_, err := NewGatewayClient(secret).Open(context.Background(), cluster.Node{ID: "gw", Internal: addr}, push.Hello{}, r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
		if len(r.closed) != 0 {
			t.Error("Closed was called for a stream that was never open")
		}
	}
	f("s3cret", addr, "another epoch")
	f("guess", addr, "401")
	f("s3cret", "127.0.0.1:1", "refused")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	f("s3cret", mute.Addr().String(), "deadline") // accepts and never answers
}

// The gateway ends a stream: the job learns it.
func TestGatewayEndsStream(t *testing.T) {
	testkit.LeakCheck(t)
	g := &fakeGateway{}
	addr := serve(t, "", func(base context.Context, in *Internal) { HandleGateway(base, in, g, slog.New(slog.DiscardHandler)) })
	r := newReceiver()
	if _, err := NewGatewayClient("").Open(context.Background(), cluster.Node{ID: "gw", Internal: addr}, push.Hello{}, r); err != nil {
		t.Fatal(err)
	}
	g.peer.Closed(nil)
	// By the end of the connection: not because nothing is heard any more.
	if err := within(t, r.closed, "Closed"); !errors.Is(err, io.EOF) {
		t.Errorf("closed with %v, want EOF", err)
	}
}

// A logic node that is frozen: the others are asked in time, and first from then on.
func TestFrozenLogic(t *testing.T) {
	testkit.LeakCheck(t)
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	good := serve(t, "", func(base context.Context, in *Internal) { HandleLogic(base, in, &echoLogic{}) })
	c := NewLogicClient([]string{frozen.Addr().String(), good}, "")
	defer c.http.CloseIdleConnections()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if _, err := c.Renew(ctx, cluster.Node{ID: "gw"}); err != nil {
			t.Errorf("Renew: %v", err)
		}
		cancel()
	}
	if n := c.last.Load(); n != 1 {
		t.Errorf("the next call begins with node %d, want the one that answers", n)
	}
}

// A panic behind the stream ends the stream, not the process.
func TestPanicOnStream(t *testing.T) {
	testkit.LeakCheck(t)
	g := &fakeGateway{}
	addr := serve(t, "", func(base context.Context, in *Internal) {
		HandleGateway(base, in, g, slog.New(slog.DiscardHandler))
	})
	r := newReceiver()
	st, err := NewGatewayClient("").Open(context.Background(), cluster.Node{ID: "gw", Internal: addr}, push.Hello{}, r)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.peer = nil // Deliver will panic
	g.mu.Unlock()
	if err := st.Deliver(&push.Batch{Seq: 1}); err != nil {
		t.Fatal(err)
	}
	if err := within(t, r.closed, "Closed"); !errors.Is(err, io.EOF) {
		t.Errorf("closed with %v, want EOF", err)
	}
}

func TestInternalPaths(t *testing.T) {
	addr := serve(t, "s3cret", func(base context.Context, in *Internal) {
		in.Handle("/internal/panic", func(*RequestCtx) { panic("test") })
	})
	f := func(path, auth string, wantStatus int, wantBody string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", auth)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != wantStatus || !strings.Contains(body.String(), wantBody) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body.String())
		}
	}
	f("/healthz", "", 200, "ok")
	f("/readyz", "", 200, "ok")
	f("/metrics", "", 200, "process_")
	f("/debug/pprof/", "", 200, "goroutine")
	f("/nothing", "", 404, "/healthz")
	f("/internal/panic", "", 401, "cluster.secret")
	f("/internal/panic", "Bearer s3cret", 500, "")
	f("/healthz", "", 200, "ok") // the process lives
}
