package swarm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

const testRun = 7

// quietSwarm is one of six clients in two rooms whose loop does not run, and whose
// client 1 is in a state. What the clients send goes nowhere.
func quietSwarm(t testing.TB, addr string, state state) (*Swarm, *client) {
	t.Helper()
	s, err := New(work.NewClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(s.ep), unix.Close(s.wake) })
	e, err := parseEndpoint(addr)
	if err != nil {
		t.Fatal(err)
	}
	s.spec = Spec{Run: testRun, N: 6, First: 10, Origin: 10, RoomSize: 3, FirstRoom: 4, Lanes: [stamp.Kinds]int{1, 2, 1}}
	s.endpoints = []endpoint{e}
	s.base, s.perClient = [stamp.Kinds]int{0, 1, 3}, 4
	s.clients, s.tracks = make([]client, 6), make([]stamp.Track, 6*4)
	for i := range s.clients {
		s.clients[i] = client{fd: -1, index: int32(i)}
	}
	s.next = len(s.clients)
	s.window = Window{To: time.Hour}
	c := &s.clients[1]
	fd, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.fd, c.state = int32(fd), state
	t.Cleanup(func() { s.forget(c) })
	if state == open {
		s.report.Open, s.report.Opened = 1, 1
	} else {
		s.opening = 1
	}
	return s, c
}

// feed is what read does with bytes.
func (s *Swarm) feed(c *client, b []byte) {
	if c.state != closed {
		s.arrived(c, append(bytes.Clone(c.partial), b...), len(b))
	}
}

// message is a pushed one, as it is in an op 9 or alone over TCP.
func message(to stamp.Target, lane uint8, seq uint32) []byte {
	body := stamp.Append(nil, stamp.Stamp{Run: testRun, Target: to, Lane: lane, Seq: seq}, 30)
	return protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: 1000, Body: body})
}

// container is an op 9 with messages, over WebSocket.
func container(messages ...[]byte) []byte {
	out := protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpRaw, Body: bytes.Join(messages, nil)})
	return ws.AppendFrame(nil, ws.OpBinary, out)
}

// A frame of any length is read when it is all there, and not before.
func TestServerFrame(t *testing.T) {
	lengths := []int{0, 1, 2, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 200_000}
	for _, n := range lengths {
		payload := bytes.Repeat([]byte{0xab}, n)
		whole := ws.AppendFrame(nil, ws.OpBinary, payload)
		for _, cut := range []int{0, 1, 2, 3, 4, 9, 10, len(whole) / 2, len(whole) - 1} {
			if cut >= len(whole) {
				continue
			}
			if _, _, used, err := serverFrame(whole[:cut]); used != 0 || err != nil {
				t.Errorf("%d of %d bytes of a frame: used %d, %v", cut, len(whole), used, err)
			}
		}
		op, got, used, err := serverFrame(append(bytes.Clone(whole), "more"...))
		if op != ws.OpBinary || !bytes.Equal(got, payload) || used != len(whole) || err != nil {
			t.Errorf("payload of %d bytes: op %d, %d bytes, used %d of %d, %v", n, op, len(got), used, len(whole), err)
		}
	}
	f := func(in ...byte) {
		t.Helper()
		if _, _, n, err := serverFrame(in); err == nil || n != 0 {
			t.Errorf("% x: used %d, no error", in, n)
		}
	}
	f(0x02, 0)    // a fragment
	f(0xc2, 0)    // compressed
	f(0xa2, 0)    // RSV2
	f(0x82, 0x80) // masked
	huge := binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<63)
	if _, _, n, err := serverFrame(append(huge, "x"...)); n != 0 || err != nil {
		t.Errorf("2^63 bytes: used %d, %v", n, err)
	}
}

func TestParseEndpoint(t *testing.T) {
	good := func(addr string, want transport, host, path, at string) {
		t.Helper()
		e, err := parseEndpoint(addr)
		if err != nil || e.transport != want || e.host != host || e.path != path || e.addr.String() != at {
			t.Errorf("%s: %+v, %v", addr, e, err)
		}
	}
	good("ws://127.0.0.1:3102/sub", overWS, "127.0.0.1:3102", "/sub", "127.0.0.1:3102")
	good("wss://10.1.2.3:443/sub?x=1", overWSS, "10.1.2.3:443", "/sub?x=1", "10.1.2.3:443")
	good("tcp://localhost:3101", overTCP, "localhost:3101", "/", "127.0.0.1:3101")
	f := func(addr string) {
		t.Helper()
		if err := ParseAddr(addr); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("address %q: want ws://", addr)) {
			t.Errorf("%s: error %v", addr, err)
		}
	}
	f("")
	f("127.0.0.1:3102")
	f("http://127.0.0.1:3102/sub")
	f("ws://127.0.0.1/sub")
	f("ws://127.0.0.1:x/sub")
	f("ws://127.0.0.1:70000/sub")
	f("ws://gateway:3102/sub")
	f("ws://[::1]:3102/sub")
	f("ws://\x7f")
}

// What a client makes of each kind of packet, over both transports.
func TestPackets(t *testing.T) {
	room, other, self, all := stamp.To(stamp.Room, 4), stamp.To(stamp.Room, 5), stamp.To(stamp.Self, 11), stamp.To(stamp.All, 0)
	f := func(want Report, packets ...[]byte) {
		t.Helper()
		for _, overWS := range []bool{true, false} {
			s, c := quietSwarm(t, map[bool]string{true: "ws://127.0.0.1:1/sub", false: "tcp://127.0.0.1:1"}[overWS], open)
			for _, p := range packets {
				if overWS {
					p = container(p)
				}
				s.feed(c, p)
			}
			got := Report{Pushes: s.report.Pushes, Measured: s.report.Measured, Faults: s.report.Faults, Foreign: s.report.Foreign}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("WebSocket %v:\n got %+v\nwant %+v; %q", overWS, got, want, s.report.Examples)
			}
		}
	}
	ok := func(n int64, faults Faults) Report { return Report{Pushes: n, Measured: n, Faults: faults} }
	f(ok(5, Faults{}), message(room, 0, 1), message(room, 1, 1), message(room, 0, 2), message(self, 0, 1), message(all, 0, 1))
	f(ok(2, Faults{Doubled: 1}), message(room, 1, 3), message(room, 1, 3))
	f(ok(2, Faults{Reordered: 1}), message(room, 1, 3), message(room, 1, 2))
	f(ok(2, Faults{Stale: 1}), message(room, 1, 300), message(room, 1, 2))
	f(ok(2, Faults{}), message(room, 0, 3), message(room, 1, 3))
	f(ok(0, Faults{Misdelivered: 4}), message(other, 0, 1), message(stamp.To(stamp.Self, 10), 0, 1), message(stamp.To(stamp.All, 1), 0, 1), message(stamp.To(stamp.Room, 1), 0, 1))
	f(ok(0, Faults{Corrupt: 4}), message(room, 2, 1), message(self, 1, 1), message(room, 0, 0), message(stamp.To(stamp.Kinds, 4), 0, 1))
	f(Report{Foreign: 2}, protocol.AppendPacket(nil, protocol.Packet{Op: 5}), protocol.AppendPacket(nil, protocol.Packet{Op: 1000, Body: make([]byte, 100)}))
}

// Bytes that no server may send end a connection, once, and are no message.
func TestBroken(t *testing.T) {
	packet := func(op protocol.Op, body string) []byte {
		return protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: op, Body: []byte(body)})
	}
	f := func(addr string, state state, in []byte, want string) {
		t.Helper()
		s, c := quietSwarm(t, addr, state)
		s.feed(c, in)
		if c.state != closed || s.report.Broken != 1 || len(s.report.Examples) != 1 || !strings.Contains(s.report.Examples[0], want) {
			t.Errorf("%.40x: state %v, broken %d, examples %q; want one with %q", in, c.state, s.report.Broken, s.report.Examples, want)
		}
		if n := s.report.Ended["broken"] + s.report.Refused["broken"]; n != 1 || s.opening != 0 || s.report.Open != 0 {
			t.Errorf("%.40x: %d ended, %d opening, %d open", in, n, s.opening, s.report.Open)
		}
	}
	const tcp, overWS = "tcp://127.0.0.1:1", "ws://127.0.0.1:1/sub"
	f(tcp, open, []byte("HTTP/1.1 400 Bad Request\r\n"), "header length")
	f(tcp, open, packet(protocol.OpAuthReply, ""), "op 8 was not asked for")
	f(tcp, open, packet(protocol.OpHeartbeatReply, "\x00\x00\x00\x01"), "op 3 was not asked for")
	f(tcp, joining, packet(1000, ""), "op 1000 before op 8")
	f(overWS, open, []byte{0x81, 0}, "a frame with opcode 1")
	f(overWS, open, []byte{0x82, 2, 0, 0}, "package length")
	f(overWS, open, ws.AppendFrame(nil, ws.OpBinary, packet(protocol.OpRaw, "0123456789")), "op 9 with a broken packet in it")
	f(overWS, upgrading, append([]byte("HTTP/1.1 101 x\r\n"), bytes.Repeat([]byte("x: y\r\n"), 2000)...), "head")
}
