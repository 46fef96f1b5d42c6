package gateway

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/panjf2000/gnet/v2"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// fakeConn is a connection whose writes the test decides.
type fakeConn struct {
	gnet.Conn // nil: what is not written here must not be called
	loop      *loop
	ctx       any
	onWrite   func(b []byte) (int, error)
	outbound  int
	written   int
}

func (c *fakeConn) Write(b []byte) (int, error) {
	if c.onWrite != nil {
		return c.onWrite(b)
	}
	c.written++
	return len(b), nil
}
func (c *fakeConn) OutboundBuffered() int     { return c.outbound }
func (c *fakeConn) Context() any              { return c.ctx }
func (c *fakeConn) Fd() int                   { return -1 }
func (c *fakeConn) EventLoop() gnet.EventLoop { return fakeEventLoop{c: c} }

// fakeEventLoop closes as gnet does: OnClose within the call.
type fakeEventLoop struct {
	gnet.EventLoop
	c *fakeConn
}

func (e fakeEventLoop) Close(gnet.Conn) error {
	e.c.loop.OnClose(e.c, nil)
	return nil
}

// fakeSession is an open session on c.
func fakeSession(l *loop, c *fakeConn, f form) *session {
	s := l.table.add()
	s.conn, s.state, s.form = c, stateOpen, f
	s.handle, _ = l.srv.directory.put(fmt.Sprint("key ", s.id()), "", ref{l, s.id(), 1})
	c.ctx = s
	return s
}

// fakeRoom is a loop with a room of n members on fake connections.
func fakeRoom(t testing.TB, n int) (*loop, *room, []*fakeConn) {
	cfg := Default()
	cfg.ID, cfg.Loops, cfg.MaxBacklog = "gw", 1, 64<<20
	srv, err := New(cfg, testDeps(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	l := srv.loops[0]
	var conns []*fakeConn
	for i := range n {
		c := &fakeConn{loop: l}
		s := fakeSession(l, c, []form{formWS, formTCP}[i%2])
		s.accepts = l.opSets.hold([]int32{1000})
		l.join(s, "live://1")
		conns = append(conns, c)
	}
	return l, l.rooms["live://1"], conns
}

func testMessage(body string) *message {
	m := &message{op: 1000}
	m.encode([]byte(body))
	return m
}

// A write that fails closes its session within the call, in the middle of a
// room's flush. Everybody else still gets the message, once.
func TestReentrantClose(t *testing.T) {
	for fail := range 5 {
		l, r, conns := fakeRoom(t, 5)
		c := conns[fail]
		c.onWrite = func([]byte) (int, error) {
			l.OnClose(c, errTest) // as gnet does
			return -1, errTest
		}
		l.toRoom(r.node, testMessage("x"))
		l.settle()
		for i, c := range conns {
			if want := 1; i != fail && c.written != want {
				t.Errorf("member %d of 5 got %d writes when %d failed", i, c.written, fail)
			}
		}
		if len(r.members) != 4 {
			t.Errorf("%d members are left", len(r.members))
		}
	}
}

// Members found too slow in a flush are closed by the next poll, with a goodbye where
// there is one; the last member's end drops the room.
func TestSlowMembersInFlush(t *testing.T) {
	l, r, conns := fakeRoom(t, 3)
	for _, c := range conns {
		c.outbound = hardOutbound*l.srv.cfg.MaxOutbound + 1
	}
	l.toRoom(r.node, testMessage("x"))
	l.settle()
	l.toRoom(r.node, testMessage("not for the doomed"))
	l.settle()
	pollMail{}.run(l)
	for i, c := range conns {
		if want := 2 - i%2; c.written != want { // WebSockets also get the close frame
			t.Errorf("member %d got %d writes, want %d", i, c.written, want)
		}
	}
	if l.table.count != 2 || l.srv.backlog.Load() <= 2*hardOutbound*int64(l.srv.cfg.MaxOutbound) {
		t.Errorf("%d sessions are left, which hold %d bytes", l.table.count, l.srv.backlog.Load())
	}
	for s := range l.table.all() {
		if s.state != stateClosing || !s.form.isWS() {
			t.Errorf("a session of form %d is left in state %d", s.form, s.state)
		}
		l.abort(s) // as the sweep does
	}
	if l.table.count != 0 || len(l.rooms) != 0 || l.srv.backlog.Load() != 0 {
		t.Errorf("%d sessions and %d rooms are left, backlog %d", l.table.count, len(l.rooms), l.srv.backlog.Load())
	}
}

// A panic in one connection's write closes that one; the others get theirs.
func TestPanicInFlush(t *testing.T) {
	l, r, conns := fakeRoom(t, 4)
	conns[2].onWrite = func([]byte) (int, error) {
		conns[2].onWrite = nil
		panic("test")
	}
	l.toRoom(r.node, testMessage("x"))
	l.settle()
	for i, want := range []int{1, 1, 0, 1} {
		if i != 2 && conns[i].written != want {
			t.Errorf("member %d got %d writes", i, conns[i].written)
		}
	}
	if len(r.members) != 3 || l.srv.m.panics.Get() != 1 {
		t.Errorf("%d members left, %d panics", len(r.members), l.srv.m.panics.Get())
	}
}

// A panic while input is handled ends that connection; the loop and all others
// go on.
func TestPanicInInput(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	a, b := testkit.DialTCP(t, r.tcp), testkit.DialTCP(t, r.tcp)
	a.Auth(token("a", ""))
	b.Auth(token("b", ""))
	r.onLoop("a", func(_ *loop, s *session) { s.room = &room{} }) // its node is nil: a heartbeat will panic
	a.SendRaw([]byte("\x00\x00\x00\x10\x00\x10\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"))
	testkit.Eventually(t, patience, func() bool { return r.m.panics.Get() > 0 }, "it panics")
	if n := b.Heartbeat(); n != 0 {
		t.Errorf("heartbeat %d", n)
	}
	a.ExpectClosed()
}

// A session that is gone is never written to: its descriptor may be another's.
func TestNoWriteAfterClose(t *testing.T) {
	l, r, conns := fakeRoom(t, 2)
	s := conns[0].ctx.(*session)
	id := s.id()
	l.OnClose(conns[0], nil)
	l.write(s, []byte("x"))
	l.toSession(id, testMessage("x"))
	l.toRoom(r.node, testMessage("x"))
	l.settle()
	if conns[0].written != 0 || conns[1].written != 1 {
		t.Errorf("writes: %d to the closed one, %d to the other", conns[0].written, conns[1].written)
	}
}

// A slot that is used again does not answer to the old id.
func TestTableGenerations(t *testing.T) {
	var tb table
	a := tb.add()
	a.conn = &fakeConn{}
	old := a.id()
	tb.remove(a)
	if tb.get(old) != nil {
		t.Error("the id of a free slot finds a session")
	}
	b := tb.add()
	b.conn = &fakeConn{}
	if b.slot != old.slot || tb.get(old) != nil || tb.get(b.id()) != b || tb.count != 1 {
		t.Errorf("old id finds %p, new one %p of %p, count %d", tb.get(old), tb.get(b.id()), b, tb.count)
	}
}

// Mails run in the order they were posted, whoever posts and however long the
// queue is, in slices that let sockets be read.
func TestMailboxOrder(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops = 1 })
	testkit.DialTCP(t, r.tcp).Auth(token("k", ""))
	const posters, each = 4, 20_000
	var got [posters][]int
	var wg, done sync.WaitGroup
	done.Add(posters * each)
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				r.loops[0].mailbox.post(mailFunc(func(*loop) { got[p] = append(got[p], i); done.Done() }))
			}
		})
	}
	wg.Wait()
	done.Wait()
	for p := range posters {
		for i, v := range got[p] {
			if i != v {
				t.Fatalf("poster %d: mail %d ran at place %d", p, v, i)
			}
		}
	}
}

// The bound of a mailbox holds for deliveries: all loops or none, busy until
// there is room, and what was refused comes again in order.
func TestBusyAllOrNone(t *testing.T) {
	r := start(t, func(c *Config) { c.Mailbox, c.MaxOutbound = 1<<20, 64<<20 })
	j := r.job(t)
	var clients []*testkit.Client
	for i := range 8 { // some on each loop
		c := testkit.DialTCP(t, r.tcp)
		c.Auth(token(fmt.Sprint("k", i), "live://1"))
		clients = append(clients, c)
	}
	release := r.blockLoops()
	defer release()
	body := strings.Repeat("x", 100<<10)
	sent := 0
	for ; sent < 1000; sent++ {
		if a := j.send(toRoom("live://1", fmt.Sprint(sent, " ", body))); a.Status == push.AckBusy {
			if a.Seq != uint64(sent+1) {
				t.Fatalf("busy names seq %d, want %d", a.Seq, sent+1)
			}
			break
		}
	}
	if sent == 0 || sent == 1000 {
		t.Fatalf("%d batches were admitted", sent)
	}
	// A later batch must not overtake the refused one.
	if a := j.send(toRoom("live://1", "overtaking")); a.Status != push.AckBusy || a.Seq != uint64(sent+1) {
		t.Fatalf("a later batch got %+v", a)
	}
	release()
	for _, c := range clients {
		for i := range sent {
			if got := string(c.Push().Body); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
				t.Fatalf("got %.10q, want message %d", got, i)
			}
		}
	}
	again := push.Batch{Generation: 1, Seq: uint64(sent + 1), Items: []push.Message{toRoom("live://1", "last")}}
	testkit.Eventually(t, patience, func() bool { return j.batch(again).Status == push.AckDone }, "there is room again")
	for _, c := range clients {
		want(t, c, 1000, "last")
	}
	for i, l := range r.loops {
		testkit.Eventually(t, patience, func() bool { return l.mailbox.reserved() == 0 }, fmt.Sprint("loop ", i, " has nothing reserved"))
	}
}

// Repeats are recognised by identity over streams and generations, foreign
// messages without identity are not; an older generation is refused.
func TestRepeatsAndGenerations(t *testing.T) {
	r := start(t, nil)
	c := testkit.DialTCP(t, r.tcp)
	c.Auth(token("k", "live://1"))
	id := func(body string, index uint64, part uint32) push.Message {
		m := toRoom("live://1", body)
		m.ID = push.ID{Spool: 9, Index: index, Part: part}
		return m
	}
	a, b := r.job(t), r.job(t)
	a.must(id("1.0", 1, 0), id("1.1", 1, 1), id("2", 2, 0))
	if got := b.batch(push.Batch{Generation: 2, Seq: 1, Items: []push.Message{id("again", 1, 1), id("again", 2, 0), id("3", 3, 0)}}); got.Status != push.AckDone {
		t.Fatalf("newer generation got %+v", got)
	}
	if got := a.send(id("zombie", 4, 0)); got.Status != push.AckStale {
		t.Fatalf("older generation got %+v", got)
	}
	other := toRoom("live://1", "other log")
	other.ID = push.ID{Spool: 10, Index: 1}
	foreign := toRoom("live://1", "foreign")
	b.batch(push.Batch{Generation: 2, Seq: 2, Items: []push.Message{other, foreign, foreign}})
	// A batch that was already admitted is acknowledged and not delivered again.
	if got := b.batch(push.Batch{Generation: 2, Seq: 2, Items: []push.Message{foreign}}); got.Status != push.AckDone {
		t.Fatalf("repeated batch got %+v", got)
	}
	for _, body := range []string{"1.0", "1.1", "2", "3", "other log", "foreign", "foreign"} {
		want(t, c, 1000, body)
	}
	if n := r.m.repeats.Get(); n != 2 {
		t.Errorf("%d repeats counted, want 2", n)
	}
	if n := c.Heartbeat(); n != 1 { // nothing else was on its way
		t.Errorf("heartbeat %d", n)
	}
}

// The logs remembered per partition are bounded; the one not heard goes first.
func TestMarksAreBounded(t *testing.T) {
	p := &partition{marks: map[uint64]mark{}}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 10 * maxMarks {
		p.advance(push.ID{Spool: rnd.Uint64(), Index: uint64(i + 1)}, testTime(i))
	}
	last := push.ID{Spool: 77, Index: 5}
	p.advance(last, testTime(1<<20))
	if len(p.marks) > maxMarks || !p.repeated(last) || p.repeated(push.ID{Spool: 77, Index: 6}) {
		t.Errorf("%d marks, last one known: %v", len(p.marks), p.repeated(last))
	}
}

// TestOutOfDescriptors starts this test binary again with few descriptors, takes
// them all, and sees the gateway come back: gnet ends an engine whose accept
// fails.
func TestOutOfDescriptors(t *testing.T) {
	if os.Getenv("HALLEY_TEST_FEW_FILES") == "" {
		cmd := exec.Command("sh", "-c", `ulimit -n 96 && exec "$0" -test.run '^TestOutOfDescriptors$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), "HALLEY_TEST_FEW_FILES=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "came back") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	r := start(t, nil)
	clients := map[*loop][]*testkit.Client{}
	for i := 0; len(clients) < 2 || i < 6; i++ {
		c := testkit.DialTCP(t, r.tcp)
		c.Auth(token(fmt.Sprint("before-", i), "live://1"))
		l := r.directory.get(fmt.Sprint("before-", i)).loop
		clients[l] = append(clients[l], c)
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	// One to connect with; accepting it finds none.
	if err := taken[0].Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", r.tcp)
	testkit.Eventually(t, patience, func() bool { return r.m.loopRestarts.Get() > 0 }, "a loop has ended")
	for _, f := range taken[1:] {
		_ = f.Close()
	}
	if err == nil { // otherwise the end of the loop was faster
		_ = conn.Close()
	}
	lost := 0
	for _, list := range clients {
		gone := 0
		for _, c := range list {
			if _, err := c.HeartbeatErr(); err != nil {
				gone++
			}
		}
		if gone > 0 {
			lost++
		}
		if gone > 0 && gone < len(list) {
			t.Errorf("%d of a loop's %d sessions are lost", gone, len(list))
		}
	}
	if n := r.m.loopRestarts.Get(); lost != 1 || n != 1 {
		t.Errorf("sessions of %d loops are lost, %d loops were restarted; want 1", lost, n)
	}
	// Both loops serve again: connections spread over them.
	testkit.Eventually(t, patience, func() bool {
		d, err := testkit.DialTCPErr(t, r.tcp)
		if err != nil {
			return false
		}
		defer d.Close()
		return d.AuthErr(token("k", "live://1")) == nil && r.Healthy() == nil
	}, "the gateway takes clients again")
	t.Log("came back")
}
