package rest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/logic/rest"
	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/spool"
)

// rig is a logic node on the memory backends with its REST API on a real socket.
type rig struct {
	t     testing.TB
	logic *logic.Logic
	set   *metrics.Set
	queue *queue
	addr  string
}

// options say what differs from a healthy node.
type options struct {
	cfg      func(*logic.Config)
	deps     func(*logic.Deps)
	listener func(net.Listener) net.Listener
}

func start(t testing.TB, o options) *rig {
	t.Helper()
	reg := memory.NewRegistry()
	r := &rig{t: t, set: metrics.NewSet(), queue: &queue{Queue: memory.NewQueue(4, 1<<30)}}
	cfg := logic.Default()
	deps := logic.Deps{
		Registry: reg, Nodes: reg, Locks: reg, Rooms: reg,
		Publisher: r.queue, Spool: spool.NewMemory(1000, 1<<26), Gateways: gateways{},
	}
	fill(t, reg)
	if o.cfg != nil {
		o.cfg(&cfg)
	}
	if o.deps != nil {
		o.deps(&deps)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	l, err := logic.New(cfg, deps, log, r.set)
	if err != nil {
		t.Fatal(err)
	}
	r.logic = l
	api := rest.New(l, cfg, log, r.set)
	srv := server(api, cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	if o.listener != nil {
		ln = o.listener(ln)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })    // ends with cancel
	wg.Go(func() { _ = srv.Serve(ln) }) // ends with Shutdown
	t.Cleanup(func() {
		stop, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		_ = srv.ShutdownWithContext(stop)
		r.queue.release()
		cancel()
		wg.Wait()
	})
	return r
}

// server is set up as pkg/rpc's.
func server(api *rest.API, cfg logic.Config) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: api.Handler, ErrorHandler: api.TooLarge,
		MaxRequestBodySize: api.MaxRequestBody(), ReadBufferSize: cfg.MaxHeader,
		NoDefaultServerHeader: true, DisablePreParseMultipartForm: true, CloseOnShutdown: true,
		ReadTimeout: 10 * time.Second, Logger: quiet{},
	}
}

// fill gives the registry two gateways, their routes, and rooms.
func fill(t testing.TB, reg *memory.Registry) {
	t.Helper()
	ctx := context.Background()
	for _, n := range []cluster.Node{
		{ID: "gw-1", PublicHost: "198.51.100.1", Weight: 10, Conns: 300, IPs: 200, Build: "v1.2.3", Region: "sh", Zone: "sh001", Env: "prod"},
		{ID: "gw-2", PublicHost: "198.51.100.2", Weight: 10, Conns: 100, IPs: 90},
		{ID: "gw-3", PublicHost: "198.51.100.3", Weight: 10, Conns: 1, IPs: 1, Draining: true},
	} {
		n.Role, n.Version, n.Internal = cluster.RoleGateway, cluster.Version, n.PublicHost+":3109"
		n.TCPPort, n.WSPort = 3101, 3102
		epoch, err := reg.Renew(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reg.Connect(ctx, []cluster.Route{{Key: "key-of-" + n.ID, Mid: "7", Node: n.ID, Epoch: epoch}}); err != nil {
			t.Fatal(err)
		}
	}
	counts := []cluster.RoomCount{
		{Room: "live://1000", Count: 100}, {Room: "live://2000", Count: 300}, {Room: "live://a/b", Count: 200},
		{Room: "chat://1", Count: 50}, {Room: cluster.Scope("live2", "live://9"), Count: 999},
	}
	if err := reg.Put(ctx, 0, counts, false); err != nil {
		t.Fatal(err)
	}
}

// raw sends bytes on a connection of its own and returns all that comes back. The
// request has to ask for the connection to be closed.
func (r *rig) raw(request string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(c, request) }() // ends with the connection
	var all bytes.Buffer
	if _, err := io.Copy(&all, c); err != nil && all.Len() == 0 {
		r.t.Fatal(err)
	}
	return all.String()
}

// counter is the value of a metric.
func (r *rig) counter(name string) uint64 { return r.set.GetOrCreateCounter(name).Get() }

type quiet struct{}

func (quiet) Printf(string, ...any) {}

type gateways struct{}

func (gateways) CloseReplaced(context.Context, []cluster.Node, []cluster.Route) error { return nil }

// queue is the memory queue; it records what it was given and can be held back.
type queue struct {
	*memory.Queue

	mu      sync.Mutex // guards below
	got     []push.Message
	entered int
	held    chan struct{} // not nil: calls wait until it is closed
	onCall  func()
}

func (q *queue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = make(chan struct{})
}

func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held != nil {
		close(q.held)
		q.held = nil
	}
}

func (q *queue) calls() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.entered
}

func (q *queue) messages() []push.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]push.Message(nil), q.got...)
}

func (q *queue) Publish(ctx context.Context, _ int32, msgs []push.Message) error {
	q.mu.Lock()
	q.entered++
	held, onCall := q.held, q.onCall
	q.mu.Unlock()
	if onCall != nil {
		onCall()
	}
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.got = append(q.got, msgs...)
	return nil
}

var errAway = errors.New("away")

// awayRegistry is a registry that does not answer look-ups.
type awayRegistry struct{ *memory.Registry }

func (awayRegistry) Keys(context.Context, []string) ([]cluster.Route, error)   { return nil, errAway }
func (awayRegistry) Mids(context.Context, []string) ([][]cluster.Route, error) { return nil, errAway }
func (awayRegistry) Counts(context.Context, []string) ([]int32, error)         { return nil, errAway }
func (awayRegistry) Top(context.Context, string, int) ([]cluster.RoomCount, error) {
	return nil, errAway
}

// brokenRooms panics.
type brokenRooms struct{}

func (brokenRooms) Counts(context.Context, []string) ([]int32, error) { panic("a bug") }
func (brokenRooms) Top(context.Context, string, int) ([]cluster.RoomCount, error) {
	panic("a bug")
}
