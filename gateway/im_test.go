package gateway

import (
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// An im-cloud client on its listeners: what it sends, what it gets, byte for byte.
func TestIMCloud(t *testing.T) {
	r := start(t, func(c *Config) { c.IMTCPAddr, c.IMWSAddr = "127.0.0.1:0", "127.0.0.1:0" })
	j := r.job(t)
	for name, dial := range map[string]func() *testkit.Client{
		"tcp": func() *testkit.Client { return testkit.DialTCP(t, r.bound["im_tcp_addr"]) },
		"ws":  func() *testkit.Client { return testkit.DialWS(t, r.bound["im_ws_addr"]) },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial()
			expect := func(ver int16, op protocol.Op, seq int32, body string) {
				t.Helper()
				if p := c.Recv(); p.Ver != ver || p.Op != op || p.Seq != seq || string(p.Body) != body {
					t.Fatalf("got %+v %q, want ver %d, op %d, seq %d, body %q", p, p.Body, ver, op, seq, body)
				}
			}
			beat := protocol.Packet{Ver: 1, Op: protocol.OpHeartbeat, Seq: 5, Body: []byte(`{"type":"heartbeat"}`)}
			c.Send(beat) // im-cloud answers before authentication, too
			expect(1, protocol.OpHeartbeatReply, 5, `{"hreart":"ok"}`)
			c.Send(protocol.Packet{Ver: 1, Op: protocol.OpAuth, Seq: 6, Body: []byte(`{"mid":1,"key":"` + name + `","room_id":"live://1","platform":"web","accepts":[]}`)})
			expect(1, protocol.OpAuthReply, 6, `{"ok":"yes"}`)
			// Ignored without an answer; the answer to the heartbeat is the next.
			for _, op := range []protocol.Op{4, 9, 12, 14, 16, 1000} {
				c.Send(protocol.Packet{Ver: 1, Op: op, Seq: 7, Body: []byte("live://2")})
			}
			c.Send(beat)
			expect(1, protocol.OpHeartbeatReply, 5, `{"hreart":"ok"}`)
			// Accepted whatever the operation; one packet each, the message as it is.
			j.must(toRoom("live://1", "to the room"), toKeys(1234, "to the key", name), toRoom("live://1", `{"json":true}`))
			got := map[string]bool{}
			for range 3 {
				p := c.Recv()
				if p.Ver != 1 || p.Op != protocol.OpRaw || p.Seq != 1 {
					t.Errorf("a push is %+v", p)
				}
				got[string(p.Body)] = true
			}
			if !got["to the room"] || !got["to the key"] || !got[`{"json":true}`] {
				t.Errorf("got %v", got)
			}
			j.must(toAll(77, "to all"))
			expect(1, protocol.OpRaw, 1, "to all")
		})
	}
}

// What im-cloud does not answer ends the connection here in time: heartbeats do
// not stand for authentication.
func TestIMHeartbeatsOnly(t *testing.T) {
	r := start(t, func(c *Config) { c.IMTCPAddr, c.HandshakeTimeout = "127.0.0.1:0", 300_000_000 })
	c := testkit.DialTCP(t, r.bound["im_tcp_addr"])
	go func() { // ends when the gateway has closed
		for c.SendErr(protocol.Packet{Op: protocol.OpHeartbeat}) == nil {
		}
	}()
	c.ExpectClosed()
	if n := closedBy(r, closeHandshake); n != 1 {
		t.Errorf("%d closed for the handshake", n)
	}
}
