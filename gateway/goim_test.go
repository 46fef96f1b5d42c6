package gateway

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// goim's and im-cloud's known defects, and the tests that show halley without:
//
//	stale memory echoed; crash by a lying length   TestLyingLengths
//	accept ends for good without descriptors       TestOutOfDescriptors
//	an old connection's end removes a new route    TestSameKeyTwice, backendtest
//	SIGTERM leaves clients and routes              TestDrain, e2e "gateway stopped"
//	ghost room counts                              e2e "disconnect cleans routes"
//	change to the same room loses its only member  TestChangeToSameRoom
//	a slow client aborts a batch of keys           TestKeysGoOn
//	reordering                                     e2e "10,000 pushes to one room"
//	offset marked before the work, drops           e2e "job killed", job, TestCursorAgainstModel
//	job panics without a gateway                   job, TestNoGatewayWaits
//	pong not flushed                               TestPong
//	disconnect leaves maps, fd reuse misdelivers   TestDescriptorReuse
//	room pushes broken, numeric keys renumbered    e2e "im-cloud REST"

// wire is the bytes of a raw connection.
type wire struct {
	net.Conn
	t testing.TB
}

func dialWire(t testing.TB, addr string) wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return wire{conn, t}
}

func (w wire) send(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// want reads exactly the bytes given in hexadecimal, blanks ignored.
func (w wire) want(what, text string) {
	w.t.Helper()
	want, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		w.t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(w, got); err != nil || !bytes.Equal(got, want) {
		w.t.Fatalf("%s:\n got %x (%v)\nwant %x", what, got[:n], err, want)
	}
}

// The bytes that clients see, over both transports.
func TestGoldenBytes(t *testing.T) {
	r := start(t, nil)
	j := r.job(t)
	auth := protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpAuth, Seq: 7, Body: []byte(token("t", "live://1", 1000))})
	beat := protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpHeartbeat, Seq: 8})

	tcp := dialWire(t, r.tcp)
	tcp.send(auth)
	tcp.want("op 8", "00000010 0010 0001 00000008 00000007")
	tcp.send(beat)
	tcp.want("op 3", "00000014 0010 0001 00000003 00000008 00000001")
	j.must(toRoom("live://1", "a"), toRoom("live://1", "bc"))
	tcp.want("two pushes, no outer packet", `
		00000011 0010 0001 000003e8 00000000 61
		00000012 0010 0001 000003e8 00000000 6263`)
	tcp.Close()
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 0 }, "the first is gone")

	web := dialWire(t, r.ws)
	web.send(ws.AppendRequest(nil, "host", "/sub?v=1", "dGhlIHNhbXBsZSBub25jZQ=="))
	web.want("101", hex.EncodeToString([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")))
	mask := [4]byte{9, 8, 7, 6}
	web.send(ws.AppendClientFrame(nil, ws.OpBinary, mask, bytes.Clone(auth)))
	web.want("op 8", "8210 00000010 0010 0001 00000008 00000007")
	web.send(ws.AppendClientFrame(nil, ws.OpText, mask, bytes.Clone(beat))) // begins with byte 0: a packet
	web.want("op 3", "8214 00000014 0010 0001 00000003 00000008 00000001")
	j.must(toRoom("live://1", "a"), toRoom("live://1", "bc"))
	web.want("two pushes in one op 9", `8233 00000033 0010 0001 00000009 00000000
		00000011 0010 0001 000003e8 00000000 61
		00000012 0010 0001 000003e8 00000000 6263`)
	web.send(ws.AppendClientFrame(nil, ws.OpClose, mask, []byte{0x03, 0xe8}))
	web.want("close, with the same code", "8802 03e8")
	if n, err := web.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the close frame: %d bytes, %v", n, err)
	}
}

// A ping is answered at once, with its payload, also before op 7.
func TestPong(t *testing.T) {
	r := start(t, nil)
	web := dialWire(t, r.ws)
	web.send(ws.AppendRequest(nil, "host", "/sub", "dGhlIHNhbXBsZSBub25jZQ=="))
	if _, err := io.ReadFull(web, make([]byte, 129)); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"", "x", strings.Repeat("y", 125)} {
		web.send(ws.AppendClientFrame(nil, ws.OpPing, [4]byte{1, 2, 3, 4}, []byte(payload)))
		web.want("pong", hex.EncodeToString(ws.AppendFrame(nil, ws.OpPong, []byte(payload))))
	}
}

// A push to several keys reaches those that can be reached, whoever cannot.
func TestKeysGoOn(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops, c.MaxOutbound, c.Sndbuf = 1, 4<<10, 4<<10 })
	j := r.job(t)
	stalled := dialWire(t, r.tcp)
	if err := stalled.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	stalled.send(protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("stalled", "", 1000))}))
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("good", "", 1000))
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 2 }, "both are in")
	body := strings.Repeat("x", 2000)
	for i := 0; closedBy(r, closeSlow) == 0; i++ {
		if i > 100_000 {
			t.Fatal("the stalled reader is still there")
		}
		j.must(toKeys(1000, body, "nobody", "stalled", "good"))
		want(t, c, 1000, body)
	}
	j.must(toKeys(1000, "end", "nobody", "stalled", "good"))
	want(t, c, 1000, "end")
}

// Who gets the descriptor, the slot or the room place of one who left gets nothing
// that was for him.
func TestDescriptorReuse(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	j := r.job(t)
	for range 50 {
		old := testkit.DialTCP(t, r.tcp)
		old.Auth(token("old", "live://old", 1000))
		release := r.blockLoops()
		j.must(toKeys(1000, "for the old one", "old"), toRoom("live://old", "for the old room"))
		old.Close()
		release()
		c := testkit.DialTCP(t, r.tcp)
		c.Auth(token("new", "live://new", 1000))
		j.must(toKeys(1000, "still for the old one", "old"), toRoom("live://old", "still for the old room"))
		j.must(toKeys(1000, "mine", "new"), toRoom("live://new", "ours"))
		got := []string{string(c.Push().Body), string(c.Push().Body)}
		if s := sorted(got); s[0] != "mine" || s[1] != "ours" {
			t.Fatalf("got %q", got)
		}
		c.Close()
	}
}
