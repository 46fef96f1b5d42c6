package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// Every operation a client may send, over every transport.
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
			none, one := "\x00\x00\x00\x00", "\x00\x00\x00\x01"
			if strings.Contains(name, "json") {
				none, one = "0", "1"
			}
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, one)
			f(protocol.OpHeartbeat, "any", protocol.OpHeartbeatReply, one)
			f(protocol.OpHeartbeatReply, "", protocol.OpHeartbeatReply, one)
			f(protocol.OpSendMsg, "hello", protocol.OpSendMsg, "")
			f(protocol.OpAuth, "{}", protocol.OpAuth, "")
			f(4711, "x", 4711, "")
			f(protocol.OpSub, "1001,1002", protocol.OpSubReply, "1001,1002")
			f(protocol.OpSub, "1003,x", protocol.OpSubReply, "1003,x")
			f(protocol.OpUnsub, "1001", protocol.OpUnsubReply, "1001")
			f(protocol.OpChangeRoom, "", protocol.OpChangeRoomReply, "")
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, none)
			f(protocol.OpChangeRoom, "live://b", protocol.OpChangeRoomReply, "live://b")
			f(protocol.OpChangeRoom, "bad\nroom", protocol.OpChangeRoomReply, "bad\nroom")
			f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, one)
			if isWS(name) {
				f(protocol.OpRaw, "x", protocol.OpRaw, "")
			} else {
				// goim over TCP: no answer at all. The next one comes.
				c.Send(protocol.Packet{Op: protocol.OpRaw})
				f(protocol.OpHeartbeat, "", protocol.OpHeartbeatReply, one)
			}
			r.onLoop("k-"+name, func(_ *loop, s *session) {
				if fmt.Sprint(s.accepts.list()) != "[1000 1002]" {
					t.Errorf("accepts %v, want [1000 1002]", s.accepts.list())
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
