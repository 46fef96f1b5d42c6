package redis

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/testkit"
)

// everyCall is every method, for tests in which all of them must behave alike.
func everyCall(ctx context.Context, c *Client) map[string]error {
	routes := []cluster.Route{{Key: "k", Mid: "1", Node: "gw", Epoch: 1}}
	rooms := NewRooms(c, 4)
	errs := make(map[string]error)
	_, errs["connect"] = c.Connect(ctx, routes)
	errs["disconnect"] = c.Disconnect(ctx, routes)
	_, errs["keys"] = c.Keys(ctx, []string{"k"})
	_, errs["mids"] = c.Mids(ctx, []string{"1"})
	_, _, errs["scan"] = c.Scan(ctx, 0, 10)
	_, errs["renew"] = c.Renew(ctx, cluster.Node{ID: "gw"})
	errs["leave"] = c.Leave(ctx, "gw", 1)
	_, errs["list"] = c.List(ctx, cluster.RoleGateway)
	_, errs["pin"] = c.PinPartitions(ctx, "pushes", 4)
	_, errs["lock"] = c.TryLock(ctx, "sweep", "me", time.Second)
	errs["put"] = rooms.Put(ctx, 0, []cluster.RoomCount{{Room: "live://1", Count: 1}}, false)
	errs["put all"] = rooms.Put(ctx, 0, []cluster.RoomCount{{Room: "live://1", Count: 1}}, true)
	_, errs["counts"] = rooms.Counts(ctx, []string{"live://1"})
	_, errs["top"] = rooms.Top(ctx, "", 1)
	errs["ping"] = c.Ping(ctx)
	return errs
}

// TestHangingRedis: one that accepts and never answers holds nobody for ever,
// with or without a deadline.
func TestHangingRedis(t *testing.T) {
	testkit.LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var held sync.WaitGroup
	held.Go(func() { // until l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			held.Go(func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }) // until the client closes
		}
	})
	t.Cleanup(held.Wait)
	t.Cleanup(func() { l.Close() })
	cfg := Default()
	cfg.Addrs = []string{l.Addr().String()}
	cfg.Timeout = 20 * time.Millisecond
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for name, err := range everyCall(context.Background(), c) {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}

	cfg.Timeout = time.Minute // the deadline is the caller's
	slow, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slow.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for name, err := range everyCall(ctx, slow) {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestBrokenConnections: connections that Redis or the way to it has closed while
// they were idle are not seen by callers.
func TestBrokenConnections(t *testing.T) {
	p := newProxy(t, testkit.Redis(t))
	cfg := Default()
	cfg.Addrs = []string{p.l.Addr().String()}
	cfg.Prefix = openClient(t).prefix // removes our keys
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for range 5 {
		for name, err := range everyCall(t.Context(), c) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if p.cut() == 0 {
			t.Fatal("no connection was cut")
		}
	}
}

// proxy is a way to Redis that can be cut.
type proxy struct {
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex // guards below
	conns []net.Conn
}

func newProxy(t testing.TB, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to}
	p.wg.Go(p.accept) // until l is closed
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		// Both end when either side closes or cut does.
		p.wg.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		p.wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
	}
}

// cut closes all connections and returns how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns)
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
	return n
}
