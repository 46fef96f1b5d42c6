package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/sysmem"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

const upgradeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// upgrade sends a WebSocket request with extra header lines and returns the
// answer; behind a 101, what follows can be read from in.
func upgrade(t *testing.T, addr, headers string) (answer *http.Response, in *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	request := ws.AppendRequest(nil, addr, ws.Path, upgradeKey)
	request = append(request[:len(request)-2], headers+"\r\n"...)
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	in = bufio.NewReader(conn)
	answer, err = http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer, in
}

// expectBusy checks the whole of a 503.
func expectBusy(t *testing.T, addr string, why closeReason, nodes ...string) {
	t.Helper()
	answer, in := upgrade(t, addr, "")
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got busyAnswer
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "5" || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, headers %v", answer.StatusCode, answer.Header)
	}
	if got.Reason != why.String() || got.Error == "" || got.RetryAfter != 5 || fmt.Sprint(sorted(got.Nodes)) != fmt.Sprint(sorted(nodes)) {
		t.Errorf("got %s, want reason %s and nodes %v", body, why, nodes)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the connection does not end behind the answer: %v", err)
	}
}

// expectBusyBrowser: scripts cannot see a 503, so a browser is closed with 4503.
func expectBusyBrowser(t *testing.T, addr string, why closeReason) {
	t.Helper()
	answer, in := upgrade(t, addr, "Origin: https://app.example.com\r\n")
	if answer.StatusCode != 101 {
		t.Fatalf("status %d", answer.StatusCode)
	}
	frame, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(ws.AppendClose(nil, statusBusy, closeTable[why].text)); string(frame) != want {
		t.Errorf("got %q, want %q", frame, want)
	}
}

// Over its connections a gateway says so and names others, keeps all it has, and
// takes clients again when some have gone.
func TestOverConnections(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConnections = 3 })
	a, b, c := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws), testkit.DialTCP(t, r.tcp)
	a.Auth(token("a", "live://1"))
	b.Auth(token("b", "live://1"))
	c.Auth(token("c", "live://1"))
	r.others.Store(&[]rpc.LeaseNode{{ID: "gw2", Host: "gw2.example.com", WSPort: 3102}, {ID: "gw3", Host: "10.0.0.3", WSPort: 80}})
	for range 3 {
		expectBusy(t, r.ws, closeFull, "ws://gw2.example.com:3102/sub", "ws://10.0.0.3:80/sub")
		expectBusyBrowser(t, r.ws, closeFull)
		testkit.DialTCP(t, r.tcp).ExpectClosed()
	}
	if a.Heartbeat() != 3 || b.Heartbeat() != 3 {
		t.Error("a client was lost")
	}
	if n := closedBy(r, closeFull); n != 9 {
		t.Errorf("%d refusals counted, want 9", n)
	}
	c.Close()
	testkit.Eventually(t, patience, func() bool { return r.Conns() == 2 }, "one has gone")
	d := testkit.DialWS(t, r.ws)
	d.Auth(token("d", "live://1"))
	if n := d.Heartbeat(); n != 3 {
		t.Errorf("heartbeat %d", n)
	}
}

// A bad request is told what is bad also when there is no room.
func TestBadUpgradeWhenFull(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConnections = 1 })
	testkit.DialTCP(t, r.tcp).Auth(token("a", ""))
	conn, err := net.Dial("tcp", r.ws)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 404 ") {
		t.Errorf("got %q, %v", text, err)
	}
}

// Those that are refused do not hold descriptors without a bound, nor for long.
func TestRefusingIsBounded(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConnections, c.Loops = 1, 1 })
	a := testkit.DialTCP(t, r.tcp)
	a.Auth(token("a", ""))
	for range 2 * maxRefusing {
		conn, err := net.Dial("tcp", r.ws) // and says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	most := 0
	testkit.Eventually(t, patience, func() bool {
		done := make(chan int)
		r.loops[0].mailbox.post(mailFunc(func(l *loop) { done <- l.refusing }))
		n := <-done
		most = max(most, n)
		return n == 0 && most > 0
	}, "all of them have been closed")
	if most > maxRefusing {
		t.Errorf("%d were open at once, want %d at most", most, maxRefusing)
	}
	if n := closedBy(r, closeFull); n != 2*maxRefusing {
		t.Errorf("%d counted", n)
	}
	if a.Heartbeat() != 0 {
		t.Error("the client that was there is not well")
	}
}

func TestOverPerIP(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxPerIP = 2 })
	a, b := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws)
	a.Auth(token("a", ""))
	b.Auth(token("b", ""))
	expectBusy(t, r.ws, closePerIP)
	expectBusyBrowser(t, r.ws, closePerIP)
	if n := r.Node().IPs; n != 1 {
		t.Errorf("%d addresses", n)
	}
	b.Close()
	testkit.Eventually(t, patience, func() bool { return r.Conns() == 1 }, "one has gone")
	testkit.DialWS(t, r.ws).Auth(token("c", ""))
}

func TestOverHandshakeRate(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxHandshakes = 10 })
	refused := 0
	for range 5 { // the burst is one
		conn, err := testkit.DialTCPErr(t, r.tcp)
		if err != nil || conn.AuthErr(token("a", "")) != nil {
			refused++
		}
	}
	if refused == 0 || closedBy(r, closeRate) != uint64(refused) {
		t.Errorf("%d refused, %d counted", refused, closedBy(r, closeRate))
	}
	testkit.Eventually(t, patience, func() bool {
		conn, err := testkit.DialTCPErr(t, r.tcp)
		return err == nil && conn.AuthErr(token("b", "")) == nil
	}, "somebody gets in later")
}

// With memory short new clients are refused and those here stay.
func TestOverMemory(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxMemory = 1 << 20 }) // less than any process has
	testkit.Eventually(t, patience, r.overMemory.Load, "it notices")
	expectBusy(t, r.ws, closeMemory)
	if !r.Node().Full {
		t.Error("it does not tell logic that it is full")
	}
}

// When memory is short clients here stay, and when it is not any more, new ones are
// taken again.
func TestMemoryComesBack(t *testing.T) {
	budget := int(sysmem.Here().RSS()) + 128<<20
	r := start(t, func(c *Config) { c.MaxMemory = budget })
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("here", "live://1"))
	ballast, err := unix.Mmap(-1, 0, 256<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	testkit.Eventually(t, patience, r.overMemory.Load, "it notices")
	expectBusy(t, r.ws, closeMemory)
	if c.Heartbeat() != 1 {
		t.Error("the client that was here is not well")
	}
	if err := unix.Munmap(ballast); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, func() bool { return !r.overMemory.Load() }, "it notices that there is memory again")
	testkit.DialWS(t, r.ws).Auth(token("new", ""))
	if c.Heartbeat() != 1 {
		t.Error("the client that was here is not well")
	}
}

func TestMemoryShort(t *testing.T) {
	r := start(t, nil)
	f := func(used string, was, want bool) {
		t.Helper()
		r.overMemory.Store(was)
		defer r.overMemory.Store(false)
		system := sysmem.New(fstest.MapFS{
			"proc/self/cgroup":             {Data: []byte("0::/\n")},
			"sys/fs/cgroup/memory.max":     {Data: []byte("1000\n")},
			"sys/fs/cgroup/memory.current": {Data: []byte(used)},
		})
		short := r.memoryShort(system, system.Cgroup())
		if short != want {
			t.Errorf("%s of 1000 used, over before: %v; short: %v", used, was, short)
		}
	}
	f("920", false, false)
	f("921", false, true)
	f("915", true, true) // it must fall below a lower mark
	f("900", true, false)
}

func TestRate(t *testing.T) {
	var none, r rate
	r.set(100)
	now := time.Unix(1_700_000_000, 0)
	passed := 0
	for i := range 3000 { // 3 s
		at := now.Add(time.Duration(i) * time.Millisecond)
		if !none.take(at) {
			t.Fatal("a rate without a bound refuses")
		}
		for range 5 {
			if r.take(at) {
				passed++
			}
		}
	}
	if passed < 300 || passed > 311 { // and a burst of a tenth of a second
		t.Errorf("%d in 3 s at 100 per second", passed)
	}
}

// Addresses are counted, IPv6 by its /64, and forgotten.
func TestIPCount(t *testing.T) {
	c := newIPCount()
	f := func(ip string, want bool) {
		t.Helper()
		if got := c.add(netip.MustParseAddr(ip), 2); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	f("10.0.0.1", true)
	f("10.0.0.1", true)
	f("10.0.0.1", false)
	f("10.0.0.2", true)
	f("2001:db8:1:2::1", true)
	f("2001:db8:1:2:ffff::1", true)
	f("2001:db8:1:2:3::1", false)
	f("2001:db8:1:3::1", true)
	if n := c.count(); n != 4 {
		t.Errorf("%d addresses, want 4", n)
	}
	for _, ip := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.2", "2001:db8:1:2::9", "2001:db8:1:2::8", "2001:db8:1:3::1"} {
		c.remove(netip.MustParseAddr(ip))
	}
	if n := c.count(); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
}
