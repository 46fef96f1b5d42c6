package testkit

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// both runs a test over both transports.
func both(t *testing.T, f func(t *testing.T, overWS bool, dial func(testing.TB, string) *Client)) {
	t.Run("tcp", func(t *testing.T) { f(t, false, DialTCP) })
	t.Run("ws", func(t *testing.T) { f(t, true, DialWS) })
}

// A whole conversation, in which pushes come where answers are waited for, and
// every byte in a packet of its own.
func TestClient(t *testing.T) {
	both(t, func(t *testing.T, overWS bool, dial func(testing.TB, string) *Client) {
		addr := serve(t, overWS, func(p *peer) {
			auth := p.packet()
			if auth.Op != protocol.OpAuth || string(auth.Body) != "{}" {
				p.t.Errorf("auth: %+v", auth)
			}
			p.write(p.answer(auth, protocol.OpAuthReply, ""))
			beat := p.packet()
			out := append(p.push("one", "two"), p.push("three")...)
			out = append(out, p.answer(beat, protocol.OpHeartbeatReply, "\x00\x00\x00\x07")...)
			out = append(out, p.push("four")...)
			for _, b := range out {
				p.write([]byte{b})
			}
			business := p.packet()
			p.write(append(p.push("five"), p.answer(business, business.Op, "")...))
			p.read()
		})
		c := dial(t, addr)
		c.Auth("{}")
		if n := c.Heartbeat(); n != 7 {
			t.Fatalf("heartbeat says %d, want 7", n)
		}
		for _, want := range []string{"one", "two", "three", "four"} {
			if p := c.Push(); p.Ver != 1 || p.Op != 1000 || p.Seq != 0 || string(p.Body) != want {
				t.Fatalf("got %+v, want %s", p, want)
			}
		}
		c.Send(protocol.Packet{Ver: 1, Op: 2000, Seq: 9, Body: []byte("x")})
		if p := c.RecvOp(2000); p.Seq != 9 || len(p.Body) != 0 {
			t.Fatalf("got %+v", p)
		}
		want := protocol.Op(1000)
		if overWS {
			want = protocol.OpRaw
		}
		if p := c.Recv(); p.Op != want || !strings.HasSuffix(string(p.Body), "five") {
			t.Fatalf("got %+v, want op %d with five", p, want)
		}
		c.ExpectNothing(10 * time.Millisecond)
	})
}

// Bodies stay what they were when more arrives.
func TestClientBodiesAreOwned(t *testing.T) {
	const n = 2000
	both(t, func(t *testing.T, overWS bool, dial func(testing.TB, string) *Client) {
		addr := serve(t, overWS, func(p *peer) {
			for i := range n {
				p.write(p.push(fmt.Sprint(i)))
			}
			p.read()
		})
		c := dial(t, addr)
		var got []protocol.Packet
		for range n {
			got = append(got, c.Push())
		}
		for i, p := range got {
			if string(p.Body) != fmt.Sprint(i) {
				t.Fatalf("push %d has body %q", i, p.Body)
			}
		}
	})
}

// A server pings, fragments, closes: what only WebSocket has.
func TestClientControlFrames(t *testing.T) {
	addr := serve(t, true, func(p *peer) {
		m := p.push("hello")[2:]
		out := append(ws.Header{Op: ws.OpBinary, Length: 5}.Append(nil), m[:5]...)
		out = append(out, ws.AppendFrame(nil, ws.OpPing, []byte("?"))...)
		out = append(ws.Header{Fin: true, Length: int64(len(m) - 5)}.Append(out), m[5:]...)
		p.write(out)
		if op, b, ok := p.read(); op != ws.OpPong || string(b) != "?" || !ok {
			p.t.Errorf("ping answered with op %x, %q", op, b)
		}
		p.write(append(p.push("last"), ws.AppendClose(nil, ws.StatusRestart, "restarting")...))
		if op, b, ok := p.read(); op != ws.OpClose || string(b) != "\x03\xf4restarting" || !ok {
			p.t.Errorf("close answered with op %x, %q", op, b)
		}
	})
	c := DialWS(t, addr)
	if p := c.Push(); string(p.Body) != "hello" {
		t.Fatalf("got %+v", p)
	}
	if c.CloseCode() != 0 {
		t.Fatalf("close code %d before the end", c.CloseCode())
	}
	before := c.ExpectClosed()
	if len(before) != 1 || before[0].Op != protocol.OpRaw {
		t.Fatalf("before the end came %+v", before)
	}
	if c.CloseCode() != ws.StatusRestart || c.CloseReason() != "restarting" {
		t.Fatalf("closed with %d %q", c.CloseCode(), c.CloseReason())
	}
}

// A server that closes without having read everything resets the connection.
func TestClientReset(t *testing.T) {
	addr := serve(t, false, func(p *peer) {
		p.fill()
		if err := p.conn.(*net.TCPConn).SetLinger(0); err != nil {
			p.t.Error(err)
		}
	})
	c := DialTCP(t, addr)
	c.SendRaw([]byte("nonsense"))
	if before := c.ExpectClosed(); len(before) != 0 {
		t.Fatalf("before the end came %+v", before)
	}
}

func TestClientErrors(t *testing.T) {
	f := func(name string, overWS bool, reply func(p *peer) []byte, call func(c *Client) error, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			addr := serve(t, overWS, func(p *peer) {
				p.write(reply(p))
				_ = p.conn.(*net.TCPConn).CloseWrite()
				for p.fill() {
				}
			})
			dial := DialTCP
			if overWS {
				dial = DialWS
			}
			if err := call(dial(t, addr)); err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v, want %q", err, want)
			}
		})
	}
	push := func(c *Client) error { _, err := c.PushErr(); return err }
	recv := func(c *Client) error { _, err := c.RecvErr(); return err }
	pkt := func(p protocol.Packet) []byte { return protocol.AppendPacket(nil, p) }

	f("closed", false, func(*peer) []byte { return nil }, push, "EOF")
	f("closed with a code", true, func(*peer) []byte { return ws.AppendClose(nil, 1008, "no") }, push, `closed with 1008 "no"`)
	f("auth closed", true, func(*peer) []byte { return ws.AppendClose(nil, 1008, "no") }, func(c *Client) error { return c.AuthErr("{}") }, "1008")
	f("auth with a body", false, func(*peer) []byte { return pkt(protocol.Packet{Ver: 1, Op: 8, Seq: 1, Body: []byte("x")}) },
		func(c *Client) error { return c.AuthErr("{}") }, `body "x"`)
	f("auth with another seq", false, func(*peer) []byte { return pkt(protocol.Packet{Ver: 1, Op: 8, Seq: 2}) },
		func(c *Client) error { return c.AuthErr("{}") }, "seq 2")
	f("heartbeat without a count", false, func(*peer) []byte { return pkt(protocol.Packet{Ver: 1, Op: 3, Seq: 1}) },
		func(c *Client) error { _, err := c.HeartbeatErr(); return err }, "want 4 bytes")
	f("op 9 over TCP", false, func(*peer) []byte { return pkt(protocol.Packet{Ver: 1, Op: 9}) }, push, "op 9 over TCP")
	f("ver of a push", false, func(*peer) []byte { return pkt(protocol.Packet{Ver: 2, Op: 1000}) }, push, "ver 2")
	f("broken packet", false, func(*peer) []byte { return make([]byte, 16) }, recv, "length")
	f("text message", true, func(p *peer) []byte { return ws.AppendFrame(nil, ws.OpText, p.push("x")[2:]) }, recv, "want binary")
	f("two packets in a message", true, func(p *peer) []byte {
		return p.frame(append(pkt(protocol.Packet{Ver: 1, Op: 3}), pkt(protocol.Packet{Ver: 1, Op: 8})...))
	}, recv, "has a packet of 16")
	f("empty op 9", true, func(p *peer) []byte { return p.push() }, push, "without a packet")
	f("seq in op 9", true, func(p *peer) []byte {
		return p.frame(pkt(protocol.Packet{Ver: 1, Op: 9, Body: pkt(protocol.Packet{Ver: 1, Op: 1000, Seq: 3})}))
	}, push, "seq 3")
	f("cut op 9", true, func(p *peer) []byte {
		return p.frame(pkt(protocol.Packet{Ver: 1, Op: 9, Body: pkt(protocol.Packet{Ver: 1, Op: 1000})[:15]}))
	}, push, "in op 9")
	f("masked frame", true, func(*peer) []byte { return ws.AppendClientFrame(nil, ws.OpBinary, [4]byte{1}, nil) }, recv, "masked")
	f("frame after close", true, func(p *peer) []byte { return append(ws.AppendClose(nil, 1000, ""), p.push("x")...) }, recv, "after the close frame")
}

func TestDialWSRefused(t *testing.T) {
	addr := serve(t, false, func(p *peer) {
		p.fill()
		p.write([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))
	})
	if _, err := DialWSErr(t, addr); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("got %v, want the status", err)
	}
}

// fatal runs f as a test of its own and returns what it failed with.
type fatalTB struct {
	testing.TB
	msg string
}

func (f *fatalTB) Helper()        {}
func (f *fatalTB) Cleanup(func()) {}
func (f *fatalTB) Fatalf(format string, args ...any) {
	f.msg = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// What Expect... expects, and does not get, fails the test.
func TestExpectations(t *testing.T) {
	f := func(name string, overWS bool, reply func(p *peer) []byte, call func(c *Client), want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			addr := serve(t, overWS, func(p *peer) {
				p.write(reply(p))
				for p.fill() {
				}
			})
			dial := DialTCP
			if overWS {
				dial = DialWS
			}
			c := dial(t, addr)
			c.Timeout = 20 * time.Millisecond
			tb := &fatalTB{TB: t}
			c.t = tb
			done := make(chan struct{})
			go func() {
				defer close(done)
				call(c)
			}()
			<-done
			if !strings.Contains(tb.msg, want) || want == "" && tb.msg != "" {
				t.Fatalf("failed with %q, want %q", tb.msg, want)
			}
			c.Close()
		})
	}
	nothing := func(c *Client) { c.Timeout = clientTimeout; c.ExpectNothing(500 * time.Millisecond) }
	quiet := func(*peer) []byte { return nil }

	f("nothing, and nothing comes", false, quiet, func(c *Client) { c.ExpectNothing(time.Millisecond) }, "")
	f("nothing, and a push comes", false, func(p *peer) []byte { return p.push("x") }, nothing, `body "x" came`)
	f("nothing, and a close frame comes", true, func(*peer) []byte { return ws.AppendClose(nil, 1001, "bye") }, nothing, "1001")
	f("nothing, and a push was not taken", true, func(p *peer) []byte { return p.push("a", "b") },
		func(c *Client) { c.Timeout = clientTimeout; c.Push(); c.ExpectNothing(time.Millisecond) }, "1 pushes were not taken")
	f("closed, and it is not", false, quiet, func(c *Client) { c.ExpectClosed() }, ErrTimeout.Error())
	f("push, and none comes", true, quiet, func(c *Client) { c.Push() }, ErrTimeout.Error())
	f("op, and another comes", false, func(p *peer) []byte { return p.push("x") }, func(c *Client) { c.RecvOp(3) }, "receive op 3")
}

// Nothing in time is not the end: what comes later is complete.
func TestClientTimeoutKeepsBytes(t *testing.T) {
	more := make(chan struct{})
	addr := serve(t, false, func(p *peer) {
		b := p.push("hello")
		p.write(b[:10])
		<-more
		p.write(b[10:])
		p.read()
	})
	c := DialTCP(t, addr)
	c.Timeout = 50 * time.Millisecond
	_, err := c.PushErr()
	close(more)
	if !errors.Is(err, ErrTimeout) {
		t.Fatalf("half a packet: %v, want %v", err, ErrTimeout)
	}
	c.Timeout = clientTimeout
	if p := c.Push(); string(p.Body) != "hello" {
		t.Fatalf("got %+v", p)
	}
}
