package gateway

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// Every operation a client may send, over both transports.
func TestOperations(t *testing.T) {
	r := start(t, nil)
	for name, dial := range r.transports() {
		t.Run(name, func(t *testing.T) {
			c := dial(t)
			c.Send(protocol.Packet{Op: protocol.OpHeartbeat, Seq: 1}) // before op 7: ignored
			c.Auth(token("k-"+name, "live://"+name, 1000))

			f := func(op protocol.Op, body string, wantOp protocol.Op, wantBody string) {
				t.Helper()
				c.Send(protocol.Packet{Ver: 3, Op: op, Seq: 77, Body: []byte(body)})
				p := c.Recv()
				if p.Ver != 3 || p.Seq != 77 || p.Op != wantOp || string(p.Body) != wantBody {
					t.Errorf("op %d %q: got ver %d op %d seq %d body %q", op, body, p.Ver, p.Op, p.Seq, p.Body)
				}
			}
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, "\x00\x00\x00\x01")
			f(protocol.OpHeartbeat, "any", protocol.OpHeartbeatReply, "\x00\x00\x00\x01")
			f(protocol.OpHeartbeatReply, "", protocol.OpHeartbeatReply, "\x00\x00\x00\x01")
			f(protocol.OpSendMsg, "hello", protocol.OpSendMsg, "")
			f(protocol.OpAuth, "{}", protocol.OpAuth, "")
			f(4711, "x", 4711, "")
			f(protocol.OpSub, "1001,1002", protocol.OpSubReply, "1001,1002")
			f(protocol.OpSub, "1003,x", protocol.OpSubReply, "1003,x")
			f(protocol.OpUnsub, "1001", protocol.OpUnsubReply, "1001")
			f(protocol.OpChangeRoom, "", protocol.OpChangeRoomReply, "")
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, "\x00\x00\x00\x00")
			f(protocol.OpChangeRoom, "live://b", protocol.OpChangeRoomReply, "live://b")
			f(protocol.OpChangeRoom, "bad\nroom", protocol.OpChangeRoomReply, "bad\nroom")
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, "\x00\x00\x00\x01")
			if name == "ws" {
				f(protocol.OpRaw, "x", protocol.OpRaw, "")
			} else {
				// goim over TCP: no answer at all. The next one comes.
				c.Send(protocol.Packet{Op: protocol.OpRaw})
				f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, "\x00\x00\x00\x01")
			}
			r.onLoop("k-"+name, func(_ *loop, s *session) {
				if fmt.Sprint(s.accepts) != "[1000 1002]" {
					t.Errorf("accepts %v, want [1000 1002]", s.accepts)
				}
			})
			c.Close()
			testkit.Eventually(t, patience, func() bool { return r.backend.route("k-"+name).Key == "" }, "the route is removed")
		})
	}
}

// Pushes by key and to all are filtered by accepts, pushes to rooms are not.
func TestPushKinds(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	for name, dial := range r.transports() {
		t.Run(name, func(t *testing.T) {
			c := dial(t)
			c.Auth(token("k-"+name, "live://"+name, 1000))
			j.must(toKeys(1001, "not accepted", "k-"+name), toKeys(1000, "by key", "k-"+name, "nobody"))
			want(t, c, 1000, "by key")
			j.must(toRoom("live://"+name, "to room"), toRoom("live://other", "elsewhere"))
			want(t, c, 1000, "to room")
			odd := toRoom("live://"+name, "unfiltered")
			odd.Op = 1234
			j.must(odd)
			want(t, c, 1234, "unfiltered")
			j.must(toAll(1001, "not accepted"), toAll(1000, "to all"))
			want(t, c, 1000, "to all")
			j.must(toKeys(1000, "", "k-"+name))
			want(t, c, 1000, "")
		})
	}
}

func want(t testing.TB, c *testkit.Client, op protocol.Op, body string) {
	t.Helper()
	p := c.Push()
	if p.Ver != 1 || p.Seq != 0 || p.Op != op || string(p.Body) != body {
		t.Fatalf("got ver %d op %d seq %d body %q, want op %d body %q", p.Ver, p.Op, p.Seq, p.Body, op, body)
	}
}

// What came together leaves in one op-9 packet: over WebSocket one frame with an
// outer header, over TCP the inner packets alone.
func TestBatchIsOneWrite(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	tcp, web := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws)
	tcp.Auth(token("t", "live://1"))
	web.Auth(token("w", "live://1"))
	before := 0
	r.onLoop("t", func(l *loop, _ *session) { before = l.writes + int(r.m.writes.Get()) })
	j.must(toRoom("live://1", "a"), toRoom("live://1", "b"), toRoom("live://1", "c"))

	p := web.Recv()
	var inner []byte
	for _, body := range []string{"a", "b", "c"} {
		inner = protocol.AppendPacket(inner, protocol.Packet{Ver: 1, Op: 1000, Body: []byte(body)})
	}
	if p.Ver != 1 || p.Op != protocol.OpRaw || p.Seq != 0 || string(p.Body) != string(inner) {
		t.Errorf("WebSocket got op %d %q, want one op 9 with all three", p.Op, p.Body)
	}
	for _, body := range []string{"a", "b", "c"} {
		want(t, tcp, 1000, body)
	}
	r.onLoop("t", func(l *loop, _ *session) {
		if n := l.writes + int(r.m.writes.Get()) - before; n != 2 {
			t.Errorf("%d writes for two members, want 2", n)
		}
	})
}

// A session with messages of its own gets them in the same write as its room's.
func TestRoomAndKeyTogether(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	c := testkit.DialWS(t, r.ws)
	c.Auth(token("k", "live://1", 1000))
	j.must(toKeys(1000, "mine", "k"), toRoom("live://1", "ours"), toKeys(1000, "mine too", "k"))
	got := []string{string(c.Push().Body), string(c.Push().Body), string(c.Push().Body)}
	if fmt.Sprint(sorted(got)) != "[mine mine too ours]" {
		t.Errorf("got %q", got)
	}
}

// Op 8 of the first member of a room waits until every job knows of the room.
func TestJoinWaitsForJobs(t *testing.T) {
	r := start(t, nil)
	j1, j2 := r.job(t), r.job(t)
	j1.mu.Lock()
	j1.silent = true
	j1.mu.Unlock()

	c := testkit.DialTCP(t, r.tcp)
	c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", "live://1", 1000))})
	knows := func(j *testJob) bool {
		return j.get(func(j *testJob) bool { _, ok := j.rooms["live://1"]; return ok })
	}
	testkit.Eventually(t, patience, func() bool { return knows(j1) && knows(j2) }, "both jobs are told")
	r.onLoop("k", func(_ *loop, s *session) {
		if s.state != stateWelcoming {
			t.Errorf("state %d while a job has not confirmed, want welcoming", s.state)
		}
	})
	j2.must(toRoom("live://1", "before op 8"), toKeys(1000, "before op 8", "k"), toAll(1000, "before op 8"))
	if err := j1.stream.Confirm(j1.lastSeen); err != nil {
		t.Fatal(err)
	}
	if p := c.Recv(); p.Op != protocol.OpAuthReply {
		t.Fatalf("got %v, want op 8", p)
	}

	// What came before may be delivered, but op 8 was first; what comes now must be.
	j2.must(toRoom("live://1", "after op 8"))
	for string(c.Push().Body) != "after op 8" {
	}

	// A second member need not wait, nor does one after the stream that is silent
	// has gone.
	testkit.DialWS(t, r.ws).Auth(token("k2", "live://1"))
	d := testkit.DialTCP(t, r.tcp)
	d.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k3", "live://2"))})
	testkit.Eventually(t, patience, func() bool {
		return j1.get(func(j *testJob) bool { _, ok := j.rooms["live://2"]; return ok })
	}, "the silent job is told")
	j1.stream.Close()
	if p := d.Recv(); p.Op != protocol.OpAuthReply {
		t.Fatalf("got %v, want op 8", p)
	}
}

// A stream gets the list of all rooms when it opens, then changes of counts.
func TestInterestAndCounts(t *testing.T) {
	r := start(t, nil)
	a, b := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws)
	a.Auth(token("a", "live://1"))
	b.Auth(token("b", "live://1"))
	j := r.job(t)
	count := func(room string, n int32) func() bool {
		return func() bool { return j.get(func(j *testJob) bool { return j.rooms[room] == n && j.complete }) }
	}
	testkit.Eventually(t, patience, count("live://1", 2), "the list has two members")
	b.Close()
	testkit.Eventually(t, patience, count("live://1", 1), "a change is announced")

	// Members elsewhere count for the heartbeat.
	if err := j.stream.Counts([]cluster.RoomCount{{Room: "live://1", Count: 41}, {Room: "live://unknown", Count: 3}}); err != nil {
		t.Fatal(err)
	}
	if n := a.Heartbeat(); n != 42 {
		t.Errorf("heartbeat says %d, want 42", n)
	}
}

// An empty room stays announced for a while, then it is withdrawn.
func TestRoomLingers(t *testing.T) {
	in := newInterest()
	srv := &Server{interest: in}
	l := &loop{srv: srv}
	j := &testJob{t: t, rooms: map[string]int32{}}
	st := &stream{srv: srv, peer: j}
	in.open(st)
	room, _ := in.acquire("live://1", l)
	in.release(room, l)
	now := time.Now()
	in.sweep(now.Add(roomLinger / 2))
	if _, ok := j.rooms["live://1"]; !ok || in.get("live://1") != room {
		t.Fatal("the room was withdrawn too early")
	}
	again, ready := in.acquire("live://1", l)
	if again != room || ready {
		t.Fatalf("joined again: same %v ready %v, want the same room, still to be confirmed", again == room, ready)
	}
	in.release(room, l)
	in.sweep(now.Add(roomLinger + time.Second)) // the first entry is too old, the room is not
	if in.get("live://1") != room && in.get("live://1") != nil {
		t.Fatal("another room took its place")
	}
	in.sweep(now.Add(3 * roomLinger))
	if _, ok := j.rooms["live://1"]; ok || in.get("live://1") != nil {
		t.Fatal("the room was never withdrawn")
	}
	if len(in.empty) != 0 {
		t.Fatalf("%d entries are left", len(in.empty))
	}
}

// goim's defect: the only member that changes to the room it is in is lost.
func TestChangeToSameRoom(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "live://1"))
	c.Send(protocol.Packet{Op: protocol.OpChangeRoom, Body: []byte("live://1")})
	c.RecvOp(protocol.OpChangeRoomReply)
	j.must(toRoom("live://1", "still here"))
	want(t, c, 1000, "still here")
}

// After op 13 messages to the new room arrive and those to the old one do not.
func TestChangeRoom(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	c := testkit.DialWS(t, r.ws)
	c.Auth(token("k", "live://1"))
	c.Send(protocol.Packet{Op: protocol.OpChangeRoom, Seq: 5, Body: []byte("live://2")})
	if p := c.RecvOp(protocol.OpChangeRoomReply); string(p.Body) != "live://2" || p.Seq != 5 {
		t.Fatalf("op 13 has seq %d body %q", p.Seq, p.Body)
	}
	j.must(toRoom("live://1", "old"), toRoom("live://2", "new"))
	want(t, c, 1000, "new")
}

// The same key again closes the older session, whichever transport it has, and
// its end does not remove the route of the newer one.
func TestSameKeyTwice(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	old := testkit.DialWS(t, r.ws)
	old.Auth(token("k", "", 1000))
	first := r.backend.route("k").Stamp
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "", 1000))
	old.ExpectClosed()
	if code := old.CloseCode(); code != closeTable[closeReplaced].code {
		t.Errorf("close code %d", code)
	}
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 1 && r.registrar.settled() }, "the old session is gone")
	if got := r.backend.route("k").Stamp; got <= first {
		t.Errorf("route has stamp %d, want the newer one", got)
	}
	j.must(toKeys(1000, "to the newer", "k"))
	want(t, c, 1000, "to the newer")

	// logic says so of a session elsewhere: only that very route is closed.
	route := r.backend.route("k")
	stale := route
	stale.Stamp--
	r.CloseReplaced([]cluster.Route{stale, {Key: "unknown", Stamp: 1}})
	if n := c.Heartbeat(); n != 0 {
		t.Errorf("heartbeat says %d without a room", n)
	}
	route.Node = "gw"
	r.CloseReplaced([]cluster.Route{route})
	c.ExpectClosed()
}

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
	for len(raw) < 2*maxHeld {
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
			if name == "ws" && c.CloseCode() != closeTable[why].code {
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
		f := func(what string, raw []byte) {
			t.Helper()
			before := closedBy(r, closeProtocol)
			c := dial(t)
			c.Auth(token("liar", ""))
			if name == "ws" {
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
		if name == "ws" {
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
		ln, err := bind(tcp, ws)
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
	held, err := bind("127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	if held.tcp.Port == 0 || held.ws.Port == 0 || held.tcp.Port == held.ws.Port {
		t.Errorf("ports %d and %d", held.tcp.Port, held.ws.Port)
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

// Push to all reaches every session once; paced ones too.
func TestPushToAll(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	var clients []*testkit.Client
	for i := range 40 {
		c := testkit.DialTCP(t, r.tcp)
		c.Auth(token(fmt.Sprint("k", i), "", 1000))
		clients = append(clients, c)
	}
	paced := toAll(1000, "paced")
	paced.To.Speed = 200
	j.must(toAll(1000, "one"), toAll(1000, "two"))
	j.must(toAll(1000, "three"))
	j.must(paced)
	for _, c := range clients {
		want(t, c, 1000, "one")
		want(t, c, 1000, "two")
		want(t, c, 1000, "three")
		want(t, c, 1000, "paced")
	}
	testkit.Eventually(t, patience, func() bool { return r.casts.all.Load() == 0 && r.casts.paced.Load() == 0 }, "no cast is left")
	expired := toRoom("live://1", "x")
	expired.Expire = 1
	j.must(expired, push.Message{To: push.Target{Kind: push.Mids, Mids: []int64{1}}})
	if r.m.expired.Get() != 1 || r.m.unresolved.Get() != 1 {
		t.Errorf("expired %d, unresolved %d", r.m.expired.Get(), r.m.unresolved.Get())
	}
}
