package gateway

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// What a client sends right behind its token is answered, however much it is at
// once: goim closes beyond 8 packets.
func TestBurst(t *testing.T) {
	r := start(t, nil)
	for name, dial := range r.transports() {
		t.Run(name, func(t *testing.T) {
			hold := make(chan struct{})
			r.backend.set(func(b *testLogic) { b.hold = hold })
			c := dial(t)
			c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("b-"+name, "live://1"))})
			for i := range int32(50) {
				c.Send(protocol.Packet{Op: protocol.OpHeartbeat, Seq: i})
			}
			r.backend.set(func(b *testLogic) { b.hold = nil })
			close(hold)
			c.RecvOp(protocol.OpAuthReply)
			for i := range int32(50) {
				if p := c.RecvOp(protocol.OpHeartbeatReply); p.Seq != i {
					t.Fatalf("answer %d has seq %d", i, p.Seq)
				}
			}
		})
	}
}

// A client that fills our memory before it is answered is closed.
func TestFloodBeforeAnswer(t *testing.T) {
	r := start(t, nil)
	hold := make(chan struct{})
	r.backend.set(func(b *testLogic) { b.hold = hold })
	defer close(hold)
	conn, err := net.Dial("tcp", r.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", ""))})
	for len(raw) < 2*(heldBeside+r.cfg.MaxMessage) {
		raw = protocol.AppendPacket(raw, protocol.Packet{Op: 4, Body: make([]byte, 1000)})
	}
	_, _ = conn.Write(raw) // the gateway may close before all is written
	testkit.Eventually(t, patience, func() bool { return closedBy(r, closeFlood) == 1 }, "closed as a flood")
}

// Refused, unreachable, too late: no op 8, closed, with the reason counted.
func TestAuthFailures(t *testing.T) {
	r := start(t, func(c *Config) { c.HandshakeTimeout = 300 * time.Millisecond })
	f := func(tok string, why closeReason) {
		t.Helper()
		for name, dial := range r.transports() {
			before := closedBy(r, why)
			c := dial(t)
			if tok != "" {
				c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(tok)})
			}
			c.ExpectClosed()
			if isWS(name) && c.CloseCode() != closeTable[why].code {
				t.Errorf("%s: close code %d, want %d", why, c.CloseCode(), closeTable[why].code)
			}
			testkit.Eventually(t, patience, func() bool { return closedBy(r, why) == before+1 }, why.String()+" is counted")
		}
	}
	f("", closeHandshake)
	pinger := testkit.DialWS(t, r.ws) // pings do not put the deadline off
	pinger.SendFrame(ws.OpPing, nil)
	go func() {
		for range time.Tick(10 * time.Millisecond) { // ends when the gateway has closed
			if pinger.SendFrameErr(ws.OpPing, nil) != nil {
				return
			}
		}
	}()
	pinger.ExpectClosed()
	f("not json", closeAuth)
	r.backend.set(func(b *testLogic) { b.fail = errTest })
	f(token("k", ""), closeBackend)
	hold := make(chan struct{})
	r.backend.set(func(b *testLogic) { b.fail, b.hold = nil, hold })
	f(token("late", ""), closeHandshake)
	close(hold)
	// The one that came too late is removed again.
	testkit.Eventually(t, patience, func() bool { return r.registrar.settled() && r.backend.route("late").Key == "" }, "no route is left")
}

// Silence closes, any packet or ping keeps.
func TestHeartbeatDeadline(t *testing.T) {
	r := start(t, func(c *Config) { c.Heartbeat, c.HeartbeatMax = 200*time.Millisecond, 2 })
	c := testkit.DialWS(t, r.ws)
	c.Auth(token("k", ""))
	c.ExpectClosed()
	if closedBy(r, closeHeartbeat) != 1 || c.CloseCode() != 1001 {
		t.Errorf("closed with code %d, counted %d", c.CloseCode(), closedBy(r, closeHeartbeat))
	}
}

// Lengths that lie, over both transports: closed with a reason, nothing sent.
// The first two are goim's: one echoed stale memory, the other killed the process.
func TestLyingLengths(t *testing.T) {
	r := start(t, nil)
	packet := func(size int32, header uint16, op protocol.Op, body int) []byte {
		b := protocol.AppendPacket(nil, protocol.Packet{Op: op, Body: make([]byte, body)})
		binary.BigEndian.PutUint32(b, uint32(size))
		binary.BigEndian.PutUint16(b[4:], header)
		return b
	}
	cases := map[string][]byte{
		"zero":                packet(0, 16, 2, 0),
		"below the header":    packet(15, 16, 2, 0),
		"negative":            packet(-1, 16, 2, 0),
		"most negative":       packet(-1<<31, 16, 2, 0),
		"over the limit":      packet(4113, 16, 12, 4097),
		"huge":                packet(1<<31-1, 16, 12, 10),
		"header length 0":     packet(16, 0, 2, 0),
		"header length 17":    packet(17, 17, 2, 1),
		"header length 65535": packet(16, 65535, 2, 0),
	}
	onlyWS := map[string][]byte{
		"beyond the frame":         packet(700, 16, 12, 16),
		"beyond the read buffer":   packet(4112, 16, 12, 16),
		"shorter than a header":    {0, 0, 0, 16, 0, 16},
		"empty message":            {},
		"one byte behind the body": packet(33, 16, 14, 16),
	}
	for name, dial := range r.transports() {
		if strings.Contains(name, "json") {
			continue // no lengths
		}
		f := func(what string, raw []byte) {
			t.Helper()
			before := closedBy(r, closeProtocol)
			c := dial(t)
			c.Auth(token("liar", ""))
			if isWS(name) {
				c.SendFrame(ws.OpBinary, raw)
			} else {
				c.SendRaw(raw)
			}
			if got := c.ExpectClosed(); len(got) > 0 {
				t.Errorf("%s %s: got %+v", name, what, got)
			}
			testkit.Eventually(t, patience, func() bool { return closedBy(r, closeProtocol) == before+1 }, name+" "+what+" is counted")
		}
		for what, raw := range cases {
			f(what, raw)
		}
		if isWS(name) {
			for what, raw := range onlyWS {
				f(what, raw)
			}
		}
	}
	if r.m.panics.Get() != 0 {
		t.Errorf("%d panics", r.m.panics.Get())
	}
}

// Bytes behind the packet of a WebSocket message are ignored, as with goim.
func TestExtraBytesInMessage(t *testing.T) {
	r := start(t, nil)
	c := testkit.DialWS(t, r.ws)
	c.Auth(token("k", ""))
	raw := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpHeartbeat, Seq: 9})
	c.SendFrame(ws.OpBinary, append(raw, "whatever"...))
	if p := c.RecvOp(protocol.OpHeartbeatReply); p.Seq != 9 {
		t.Errorf("seq %d", p.Seq)
	}
}

// A reader that stalls is closed at its bound; the others get everything.
func TestSlowReader(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops, c.MaxOutbound, c.Sndbuf = 1, 32<<10, 8<<10 })
	j := r.job(t)
	slow, err := net.Dial("tcp", r.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := slow.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	raw := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("slow", "live://1"))})
	if _, err := slow.Write(raw); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 1 }, "the slow one is in")
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("good", "live://1"))
	body := strings.Repeat("x", 4000)
	for i := 0; closedBy(r, closeSlow) == 0; i++ {
		if i > 10_000 {
			t.Fatal("40 MB and the stalled reader is still there")
		}
		j.must(toRoom("live://1", body))
		want(t, c, 1000, body)
	}
	if n := c.Heartbeat(); n != 1 {
		t.Errorf("%d members left, want 1", n)
	}
}

// SIGTERM's path: clients are closed with 1012, routes and the lease are gone.
func TestDrain(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	var clients []*testkit.Client
	for i := range 20 {
		c := testkit.DialWS(t, r.ws)
		c.Auth(token(fmt.Sprint("k", i), "live://1"))
		clients = append(clients, c)
	}
	if err := r.Healthy(); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	r.stop()
	for _, c := range clients {
		c.ExpectClosed()
		if c.CloseCode() != 1012 {
			t.Errorf("close code %d, want 1012", c.CloseCode())
		}
	}
	r.backend.set(func(b *testLogic) {
		if len(b.routes) != 0 || !b.left {
			t.Errorf("%d routes are left, lease ended: %v", len(b.routes), b.left)
		}
	})
	if !j.get(func(j *testJob) bool { return j.closed }) {
		t.Error("the job's stream was not closed")
	}
	if r.Healthy() == nil {
		t.Error("healthy after the end")
	}
}

// A port in use is an error that names the key; port 0 gets a free one.
func TestListen(t *testing.T) {
	r := start(t, nil)
	f := func(tcp, ws, want string) {
		t.Helper()
		ln := listenersOf(&Config{TCPAddr: tcp, WSAddr: ws})
		err := ln.bind()
		if err == nil {
			ln.close()
			t.Fatalf("%s %s could be bound", tcp, ws)
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not have %q", err, want)
		}
	}
	f(r.tcp, "127.0.0.1:0", "gateway.tcp_addr "+r.tcp+": bind: address already in use")
	f("127.0.0.1:0", r.ws, "gateway.ws_addr "+r.ws)
	f("127.0.0.1:0", "192.0.2.1:1", "gateway.ws_addr")
	// It is ours also while no loop listens: between the end of an engine and its
	// restart.
	held := listenersOf(&Config{TCPAddr: "127.0.0.1:0", WSAddr: "127.0.0.1:0"})
	if err := held.bind(); err != nil {
		t.Fatal(err)
	}
	defer held.close()
	if tcp, ws := held.port("gateway.tcp_addr"), held.port("gateway.ws_addr"); tcp == 0 || ws == 0 || tcp == ws {
		t.Errorf("ports %d and %d", tcp, ws)
	}
}

// Over the limit connections are closed, those there are stay.
func TestConnectionLimit(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConnections = 2 })
	a, b := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws)
	a.Auth(token("a", "live://1"))
	b.Auth(token("b", "live://1"))
	testkit.DialTCP(t, r.tcp).ExpectClosed()
	if a.Heartbeat() != 2 || closedBy(r, closeFull) != 1 {
		t.Errorf("closed as full: %d", closedBy(r, closeFull))
	}
}
