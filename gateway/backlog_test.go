package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/rooms"
	"github.com/halley-im/halley/pkg/testkit"
)

// stall makes c a socket that takes nothing more; what was written to it counts.
func stall(c *fakeConn, wire *[]byte) {
	c.onWrite = func(b []byte) (int, error) {
		c.written++
		c.outbound = len(b)
		*wire = append(*wire, b...)
		return len(b), nil
	}
}

// release makes it take all again.
func release(c *fakeConn, wire *[]byte) {
	c.outbound = 0
	c.onWrite = func(b []byte) (int, error) {
		c.written++
		*wire = append(*wire, b...)
		return len(b), nil
	}
}

// toRoomOf is a message to the members of r.
func toRoomOf(l *loop, r *room, body string) {
	m := testMessage(body)
	m.room = r.node
	l.toRoom(r.node, m)
}

// While a socket takes nothing, what comes for it waits by reference and leaves in
// one write when it takes something again; the others get theirs at once.
func TestBehindWaits(t *testing.T) {
	l, r, conns := fakeRoom(t, 4)
	slow, other := conns[1], conns[3]
	var wire []byte
	stall(slow, &wire)
	for i := range 10 {
		toRoomOf(l, r, fmt.Sprint(i))
		settle(l)
		pollMail{}.run(l)
	}
	if slow.written != 1 || other.written != 10 {
		t.Fatalf("%d writes to the slow one, %d to another", slow.written, other.written)
	}
	if want := int64(l.srv.kernelBuffer+len(wire)) + 9*(testMessage("0").cost()+refBytes); l.srv.backlog.Load() != want {
		t.Errorf("backlog %d, want %d", l.srv.backlog.Load(), want)
	}
	release(slow, &wire)
	pollMail{}.run(l)
	if slow.written != 2 || fmt.Sprint(bodies(t, wire)) != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("%d writes, %v", slow.written, bodies(t, wire))
	}
	if s := slow.ctx.(*session); s.side != nil || s.is(flagBehind) || l.srv.backlog.Load() != 0 || len(l.behind) != 0 {
		t.Errorf("it has caught up: side %v, flags %b, backlog %d, %d behind", s.side, s.flags, l.srv.backlog.Load(), len(l.behind))
	}
}

// What a room's policy does with a client that is behind.
func TestSlowPolicies(t *testing.T) {
	f := func(policy rooms.Policy, want string, dropped, conflated uint64) {
		t.Helper()
		l, r, conns := fakeRoom(t, 2)
		l.srv.cfg.MaxOutbound = 4 << 10
		r.options.Slow = policy
		slow := conns[1]
		var wire []byte
		stall(slow, &wire)
		for i := range 10 {
			toRoomOf(l, r, fmt.Sprintf("%d%s", i, strings.Repeat("x", 999)))
			settle(l)
		}
		release(slow, &wire)
		for len(l.behind) > 0 {
			pollMail{}.run(l)
		}
		got := ""
		for _, b := range bodies(t, wire) {
			got += b[:1]
		}
		if got != want {
			t.Errorf("%v: got %s, want %s", policy, got, want)
		}
		if d, c := l.srv.m.slowDropped.Get(), l.srv.m.conflated.Get(); d != dropped || c != conflated {
			t.Errorf("%v: %d dropped, %d conflated, want %d and %d", policy, d, c, dropped, conflated)
		}
		if conns[0].written != 10 {
			t.Errorf("%v: another got %d writes", policy, conns[0].written)
		}
	}
	f(rooms.Close, "0123456789", 0, 0) // over its bound, but not for long
	f(rooms.Drop, "0123", 6, 0)        // 4 of 1,016 bytes fit into 4 KiB with what gnet holds
	f(rooms.Conflate, "09", 0, 8)
}

// Conflation touches that room's messages only.
func TestConflateKeepsOthers(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	r.options.Slow = rooms.Conflate
	s := conns[1].ctx.(*session)
	var wire []byte
	stall(conns[1], &wire)
	for i := range 5 {
		toRoomOf(l, r, fmt.Sprint("room ", i))
		settle(l)
		l.toSession(s.id(), testMessage(fmt.Sprint("key ", i)))
		settle(l)
	}
	release(conns[1], &wire)
	pollMail{}.run(l)
	if got := fmt.Sprint(bodies(t, wire)); got != "[room 0 key 0 room 4 key 1 key 2 key 3 key 4]" {
		t.Errorf("got %s", got)
	}
}

// A client that stays over its bound is closed, one that is far over it at once.
func TestSlowIsClosed(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	l.now, l.srv.cfg.MaxOutbound = 100, 4<<10
	var wire []byte
	stall(conns[1], &wire)
	body := strings.Repeat("x", 3000)
	for range 3 {
		toRoomOf(l, r, body)
		settle(l)
	}
	l.now += uint32(ticks(slowTime))
	pollMail{}.run(l)
	if l.table.count != 2 {
		t.Fatal("closed before its time")
	}
	l.now++
	pollMail{}.run(l) // finds it too slow
	pollMail{}.run(l)
	if l.table.count != 1 || l.srv.m.closed[closeSlow].Get() != 1 || l.srv.backlog.Load() != 0 {
		t.Errorf("%d sessions, %d closed, backlog %d", l.table.count, l.srv.m.closed[closeSlow].Get(), l.srv.backlog.Load())
	}

	l, r, conns = fakeRoom(t, 2)
	l.srv.cfg.MaxOutbound = 4 << 10
	stall(conns[1], &wire)
	for range 30 { // 90 KB are more than 16 times 4 KiB
		toRoomOf(l, r, body)
		settle(l)
	}
	pollMail{}.run(l)
	if l.table.count != 1 || l.srv.m.closed[closeSlow].Get() != 1 {
		t.Errorf("far over its bound: %d sessions", l.table.count)
	}
}

// Over the node's budget those go that have been behind for longest, and no more
// than needed.
func TestBacklogBudget(t *testing.T) {
	l, r, conns := fakeRoom(t, 20)
	l.srv.maxBacklog = int64(5*l.srv.kernelBuffer + 5000)
	var wire []byte
	for i := 1; i < 20; i += 2 { // over TCP
		stall(conns[i], &wire)
		l.toSession(conns[i].ctx.(*session).id(), testMessage("x"))
		settle(l)
	}
	pollMail{}.run(l)
	if l.table.count != 20 {
		t.Errorf("%d are left of those that have just been written to", l.table.count)
	}
	l.now += uint32(ticks(graceTime)) + 1
	pollMail{}.run(l)
	var left []int
	for i := 1; i < 20; i += 2 {
		if s := conns[i].ctx.(*session); s.conn == conns[i] {
			left = append(left, i)
		}
	}
	if fmt.Sprint(left) != "[11 13 15 17 19]" || l.srv.m.closed[closeBudget].Get() != 5 {
		t.Errorf("left are %v, closed %d", left, l.srv.m.closed[closeBudget].Get())
	}
	toRoomOf(l, r, "y")
	settle(l)
	for i := 0; i < 20; i += 2 {
		if conns[i].written != 1 {
			t.Errorf("member %d got %d writes", i, conns[i].written)
		}
	}
	if got := l.srv.backlog.Load(); got > l.srv.maxBacklog {
		t.Errorf("backlog %d of %d", got, l.srv.maxBacklog)
	}
}

// A client that asks and does not read the answers is closed, too.
func TestAskingWithoutReading(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxOutbound = 8 << 10 })
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "live://1"))
	questions := []byte(strings.Repeat("\x00\x00\x00\x10\x00\x10\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01", 4000))
	go func() { // ends when the gateway has closed
		for c.SendRawErr(questions) == nil {
		}
	}()
	testkit.Eventually(t, 6*patience, func() bool { return closedBy(r, closeSlow) == 1 }, "closed as slow")
}

// A message that waits for many is in memory once, and counted once.
func TestSharedIsCountedOnce(t *testing.T) {
	const clients, pushes, size = 10, 60, 1000
	l, r, conns := fakeRoom(t, clients)
	l.srv.maxBacklog = int64(clients*l.srv.kernelBuffer + clients*pushes*size/2)
	var wire []byte
	for _, c := range conns {
		stall(c, &wire)
	}
	for range pushes {
		toRoomOf(l, r, strings.Repeat("x", size))
		settle(l)
	}
	l.now += uint32(ticks(graceTime)) + 1
	pollMail{}.run(l)
	if l.table.count != clients || l.srv.backlog.Load() < int64(clients*l.srv.kernelBuffer+pushes*size) {
		t.Errorf("%d of %d are open, backlog %d", l.table.count, clients, l.srv.backlog.Load())
	}
	for _, c := range conns[:clients/2] { // some go, some read again
		if err := (fakeEventLoop{c: c}).Close(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range conns[clients/2:] {
		release(c, &wire)
	}
	pollMail{}.run(l)
	if n := l.srv.backlog.Load(); n != 0 || len(l.behind) != 0 {
		t.Errorf("backlog %d, %d behind", n, len(l.behind))
	}
}

// However many were written to, a sweep looks at some of them, the next at others.
func TestSweepIsBounded(t *testing.T) {
	l, r, _ := fakeRoom(t, maxLooks+100)
	toRoomOf(l, r, "x")
	for l.settle() {
	}
	written := func() (n int) {
		for s := range l.table.all() {
			if s.is(flagWritten) {
				n++
			}
		}
		return n
	}
	for _, x := range []struct {
		todo int
		next time.Duration
	}{{maxLooks + 100, tickEvery}, {100, quietEvery}, {0, quietEvery}} {
		if n := written(); n != x.todo {
			t.Errorf("%d sockets are to be looked at, want %d", n, x.todo)
		}
		l.sweep(true)
		if d := l.nextTick(true); d != x.next {
			t.Errorf("with %d the next tick is after %v, want %v", x.todo, d, x.next)
		}
	}
}
