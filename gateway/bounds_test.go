package gateway

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/rooms"
	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// On the TLS listener a connection over a budget is kept for its 503; who speaks TCP
// there gets none, and not in either.
func TestRefusedTLSClientSpeaksTCP(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConnections, c.Loops = 1, 1 })
	testkit.DialTCP(t, r.tcp).Auth(token("a", ""))
	for i := range 3 {
		c := testkit.Dial(t, r.bound["wss_addr"], testkit.Options{TLS: true})
		if c.AuthErr(token(fmt.Sprint("over", i), "")) == nil {
			t.Error("it is in")
		}
	}
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 1 && closedBy(r, closeFull) == 3 },
		"they are refused")
}

// unread starts n clients in live://1 that never read.
func unread(t *testing.T, r *rig, n int, dial func(key string) *testkit.Client) {
	t.Helper()
	for i := range n {
		key := fmt.Sprint("k", i)
		c := dial(key)
		if err := c.Conn().(*net.TCPConn).SetReadBuffer(8 << 10); err != nil {
			t.Fatal(err)
		}
		c.Auth(token(key, "live://1"))
	}
}

// flood pushes n batches of 64 KB to live://1 while the loop is busy, so that all of
// it is there at once.
func flood(t *testing.T, r *rig, n int) {
	t.Helper()
	j, release := r.job(t), r.blockLoops()
	for range 15 { // the slice of mails ends here: what comes is settled at once
		r.loops[0].mailbox.post(mailFunc(func(*loop) {}))
	}
	body := strings.Repeat("x", 4000)
	for range n {
		j.must(slices.Repeat([]push.Message{toRoom("live://1", body)}, 16)...)
	}
	release()
}

// held is what gnet holds for the sessions of the first loop, in bytes.
func held(r *rig) int {
	sum := make(chan int)
	r.loops[0].mailbox.post(mailFunc(func(l *loop) {
		n := 0
		for s := range l.table.all() {
			n += s.conn.OutboundBuffered()
		}
		sum <- n
	}))
	return <-sum
}

// However much comes together for a room, one write of it is not long: what stalled
// clients do not take is copied for each of them.
func TestOneWriteIsBounded(t *testing.T) {
	const clients, budget = 40, 8 << 20
	r := start(t, func(c *Config) { c.Loops, c.MaxBacklog = 1, budget })
	unread(t, r, clients, func(string) *testkit.Client { return testkit.DialTCP(t, r.tcp) })
	flood(t, r, 100)
	most := 0
	testkit.Eventually(t, patience, func() bool {
		most = max(most, held(r))
		return r.Conns() == 0
	}, "all are closed")
	if most == 0 || most > clients*2*maxWrite {
		t.Errorf("gnet held %d bytes", most)
	}
}

// A WebSocket that is closed as slow may still read its goodbye; until the sweep
// ends it, what is held for it is counted.
func TestClosingIsInBudget(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	unread(t, r, 20, func(string) *testkit.Client { return testkit.DialWS(t, r.ws) })
	flood(t, r, 80)
	testkit.Eventually(t, patience, func() bool { return closedBy(r, closeSlow) == 20 }, "all are closed")
	// Both as the loop sees them at one moment.
	counts := make(chan [2]int64)
	r.loops[0].mailbox.post(mailFunc(func(l *loop) {
		n := 0
		for s := range l.table.all() {
			n += s.conn.OutboundBuffered()
		}
		counts <- [2]int64{int64(n), r.backlog.Load()}
	}))
	if n := <-counts; n[0] > n[1] {
		t.Errorf("gnet holds %d bytes, %d are counted", n[0], n[1])
	}
	testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 0 && r.backlog.Load() == 0 }, "all are gone")
}

// Where the rule is to drop, nobody is closed for what came together.
func TestDropPolicyDoesNotClose(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	r.options.Slow = rooms.Drop
	l.now, l.srv.cfg.MaxOutbound = 100, 4<<10
	var wire []byte
	stall(conns[1], &wire)
	for range 10 {
		toRoomOf(l, r, strings.Repeat("x", 3000))
	}
	settle(l)
	l.now += uint32(ticks(slowTime)) + 1
	pollMail{}.run(l)
	pollMail{}.run(l)
	if n := l.srv.m.closed[closeSlow].Get(); n != 0 || l.srv.m.slowDropped.Get() != 9 {
		t.Errorf("%d closed, %d dropped", n, l.srv.m.slowDropped.Get())
	}
}

// What does not fit into one write follows at once, whatever the room coalesces, in
// order with what is for the session alone.
func TestLongPendingInOrder(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	r.options.Coalesce = 50 * time.Millisecond
	var wire []byte
	release(conns[1], &wire)
	s := conns[1].ctx.(*session)
	body := strings.Repeat("x", 4000)
	want := ""
	for i := range 60 { // 240 KB in four writes
		m := testMessage(fmt.Sprintf("%02d", i) + body)
		if i%2 == 0 {
			l.toRoom(r.node, m)
		} else {
			l.toSession(s.id(), m)
		}
	}
	settle(l)
	for i := 0; i < 60; i += 2 {
		want += fmt.Sprintf("%02d ", i)
	}
	room, own := "", ""
	for _, b := range bodies(t, wire) {
		if b[1]%2 == 0 {
			room += b[:2] + " "
		} else {
			own += b[:2] + " "
		}
	}
	if room != want || len(own) != len(want) || !slices.IsSorted(strings.Fields(own)) {
		t.Errorf("of the room %s, alone %s", room, own)
	}
	if conns[1].written < 4 || s.side != nil || r.pending != nil {
		t.Errorf("%d writes, left %v, %v", conns[1].written, s.side, r.pending)
	}
}

// Pushes to all that came together leave room for others in every slice.
func TestMergedCastsLeaveRoomForRooms(t *testing.T) {
	f := func(casts int, body string) {
		t.Helper()
		l, _, _ := fakeRoom(t, 1000)
		c := &fakeConn{loop: l}
		s := fakeSession(l, c, formTCP)
		l.join(s, "live://small")
		l.srv.casts.take(casts, 0)
		for range casts {
			share := &castShare{}
			share.left.Store(1)
			l.addCast(share, testMessage(body), 1)
		}
		l.toRoom(s.room.node, testMessage("y"))
		if l.settle(); c.written == 0 {
			t.Errorf("%d of %d bytes: nothing for the room in the first slice", casts, len(body))
		}
		for settle(l); len(l.casts) > 0; {
			t.Fatal("casts are left")
		}
		if want := uint64(casts * 1001); uint64(l.pushed)-1+l.srv.m.notAccepted.Get() != want {
			t.Errorf("%d messages were pushed, %d not accepted, want %d", l.pushed-1, l.srv.m.notAccepted.Get(), want)
		}
	}
	f(300, "x")
	f(100, strings.Repeat("x", 4000))
}

// A client that is gone when its last answers are written is closed once, whatever
// it had sent.
func TestFailedWriteThenClose(t *testing.T) {
	closedOnce := func(r *rig, name string) {
		t.Helper()
		testkit.Eventually(t, patience, func() bool { return r.sessions.Load() == 0 && r.Conns() == 0 }, "gone")
		testkit.Eventually(t, patience, func() bool {
			var closed uint64
			for why := range closeReasons {
				closed += closedBy(r, why)
			}
			return closed == r.m.accepted.Get()
		}, "each is closed once")
		if p := r.m.panics.Get(); p != 0 {
			t.Errorf("%s: %d panics", name, p)
		}
	}
	reset := func(conn net.Conn) {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	f := func(name string, frames ...byte) {
		t.Helper()
		r := start(t, func(c *Config) { c.Loops = 1 })
		conn, err := net.Dial("tcp", r.ws)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(ws.AppendRequest(nil, r.ws, ws.Path, upgradeKey))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		release := r.blockLoops()
		_, _ = conn.Write(append([]byte{0x89, 0x80, 1, 2, 3, 4}, frames...)) // behind a ping, to be answered
		reset(conn)
		release()
		closedOnce(r, name)
	}
	f("close", 0x88, 0x80, 1, 2, 3, 4)
	f("reserved opcode", 0x83, 0x80, 1, 2, 3, 4)

	g := func(name, headers string) {
		t.Helper()
		r := start(t, func(c *Config) { c.Loops, c.MaxConnections = 1, 1 })
		first := testkit.DialTCP(t, r.tcp)
		first.Auth(token("a", ""))
		conn, err := net.Dial("tcp", r.ws)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, patience, func() bool { return r.m.accepted.Get() == 2 }, "accepted")
		release := r.blockLoops()
		request := ws.AppendRequest(nil, r.ws, ws.Path, upgradeKey)
		_, _ = conn.Write(append(request[:len(request)-2], headers+"\r\n"...))
		reset(conn)
		release()
		first.Close()
		closedOnce(r, name)
	}
	g("503", "")
	g("4503", "Origin: https://app.example.com\r\n")
}

// Op 14 with as many operations as a packet holds, again and again.
func BenchmarkSubscribe(b *testing.B) {
	l, _, conns := fakeRoom(b, 2)
	s := conns[1].ctx.(*session)
	var have []int32
	for i := range int32(maxAccepts) {
		have = append(have, i+5000)
	}
	l.accept(s, have)
	body := strings.TrimSuffix(strings.Repeat("1,", protocol.MaxBody/2), ",")
	packet := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpSub, Body: []byte(body)})
	b.SetBytes(int64(len(packet)))
	for b.Loop() {
		l.input(s, packet)
	}
}

// A session gets as many operations as it may have, and no operation twice.
func TestSubscribeIsBounded(t *testing.T) {
	l, _, conns := fakeRoom(t, 1)
	s := conns[0].ctx.(*session)
	l.subscribe(s, []byte("3,1,2,1,1000"))
	if got := fmt.Sprint(s.accepts.list()); got != "[1 2 3 1000]" {
		t.Errorf("accepts %s", got)
	}
	l.unsubscribe(s, []byte("2,1000,9"))
	if got := fmt.Sprint(s.accepts.list()); got != "[1 3]" {
		t.Errorf("accepts %s", got)
	}
	var many []string
	for i := range 2 * maxAccepts {
		many = append(many, fmt.Sprint(i))
	}
	l.subscribe(s, []byte(strings.Join(many, ",")))
	if n := len(s.accepts.list()); n != maxAccepts || !s.wants(3) {
		t.Errorf("accepts %d operations", n)
	}
}

// A room that is due sooner than the one the chime is set for is not late for it.
func TestChimeIsForTheEarliest(t *testing.T) {
	l, r, _ := fakeRoom(t, 1)
	now := l.clock()
	l.flushAt(now+50, r)
	l.flushAt(now+5, r)
	if l.wheel.due != now+5 {
		t.Errorf("set for %d ms from now", l.wheel.due-now)
	}
	l.flushAt(now+20, r)
	if l.wheel.due != now+5 || l.wheel.rooms != 3 {
		t.Errorf("then for %d ms, %d rooms", l.wheel.due-now, l.wheel.rooms)
	}
	l.chime.stop()
}

// Lists of messages that wait to be used again hold none.
func TestSpareListsAreClean(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	l.now = 100
	var wire []byte
	stall(conns[1], &wire)
	for i := range 200 {
		toRoomOf(l, r, fmt.Sprint(i, strings.Repeat("x", 1000)))
		settle(l)
	}
	release(conns[1], &wire)
	for len(l.behind) > 0 {
		pollMail{}.run(l)
	}
	for _, p := range l.spare {
		if i := slices.IndexFunc(p[:cap(p)], func(m *message) bool { return m != nil }); i >= 0 {
			t.Fatalf("a list of %d holds a message at %d", cap(p), i)
		}
	}
}

// A room that no job has confirmed does not keep those who left.
func TestUnconfirmedRoomForgets(t *testing.T) {
	l, r, _ := fakeRoom(t, 1)
	r.ready = false
	for range 10_000 {
		s := fakeSession(l, &fakeConn{loop: l}, formTCP)
		l.join(s, r.node.name)
		l.drop(s, closePeer)
	}
	if n := len(r.waiting); n > 100 {
		t.Errorf("%d wait, 1 is there", n)
	}
}

// An array that is full is not moved for every element.
func TestFifoGrows(t *testing.T) {
	var q fifo[int]
	for i := range 1000 {
		q.push(i)
	}
	for len(q.items) < cap(q.items) {
		q.push(len(q.items))
	}
	n := q.size()
	moved := 0
	for i := range 10 * n {
		if q.pop() != i {
			t.Fatal("out of order")
		}
		head := q.head
		if q.push(n + i); q.head < head {
			moved++
		}
	}
	if moved == 0 || moved > 40 || cap(q.items) > 4*n {
		t.Errorf("moved %d times, room for %d of %d", moved, cap(q.items), n)
	}
}
