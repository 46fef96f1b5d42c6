package swarm

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// server answers op 7 and op 2 over TCP, and pushes what it is told to.
type server struct {
	addr string
	ln   net.Listener
	all  sync.WaitGroup

	mu sync.Mutex
	// guards below
	conns  map[net.Conn]bool // that have sent op 7
	came   int               // of which there have been so many
	beats  int
	beaten map[net.Conn]bool // that have sent op 2
}

func newServer(t *testing.T) *server {
	t.Helper()
	testkit.LeakCheck(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &server{addr: "tcp://" + ln.Addr().String(), ln: ln, conns: map[net.Conn]bool{}, beaten: map[net.Conn]bool{}}
	x.all.Go(func() { // until cleanup
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			x.all.Go(func() { x.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		x.mu.Lock()
		for conn := range x.conns {
			conn.Close()
		}
		x.mu.Unlock()
		x.all.Wait()
	})
	return x
}

func (x *server) serve(conn net.Conn) {
	defer func() {
		x.mu.Lock()
		delete(x.conns, conn)
		x.mu.Unlock()
		conn.Close()
	}()
	var in []byte
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		for {
			p, n, err := protocol.Parse(in, -1)
			if n == 0 || err != nil {
				break
			}
			in = in[n:]
			x.mu.Lock()
			switch p.Op {
			case protocol.OpAuth:
				x.conns[conn] = true
				x.came++
				_, _ = conn.Write(protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpAuthReply}))
			case protocol.OpHeartbeat:
				x.beats++
				x.beaten[conn] = true
				_, _ = conn.Write(protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpHeartbeatReply, Body: make([]byte, 4)}))
			}
			x.mu.Unlock()
		}
	}
}

// push sends a message to all.
func (x *server) push(b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for conn := range x.conns {
		_, _ = conn.Write(b)
	}
}

func (x *server) seen() (open, came, beats int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.conns), x.came, x.beats
}

// start runs clients of x in this process. Their loop ends with the test.
func start(t *testing.T, x *server, change func(*Spec)) *Swarm {
	t.Helper()
	s, err := New(work.NewClock())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run() // until Goexit ends this goroutine
	}()
	t.Cleanup(func() {
		must(t, s.drop, Drop{})
		s.post(runtime.Goexit)
		<-ended
		_, _ = unix.Close(s.ep), unix.Close(s.wake)
	})
	spec := Spec{
		Run: testRun, Addrs: []string{x.addr}, N: 20, RoomSize: 5, MidBase: 100, Accepts: []int32{1000},
		Lanes: [stamp.Kinds]int{0, 1, 1}, Window: 8, Patience: 20 * time.Second,
	}
	if change != nil {
		change(&spec)
	}
	must(t, s.open, spec)
	s.wait(t, "all are in", func(r Report) bool { return r.Opening == 0 })
	must(t, s.setWindow, Window{To: time.Hour})
	return s
}

func must[A, R any](t *testing.T, do func(A) (R, error), with A) R {
	t.Helper()
	got, err := do(with)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wait waits for a report.
func (s *Swarm) wait(t *testing.T, what string, ok func(r Report) bool) (r Report) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() bool { r = must(t, s.take, work.None{}); return ok(r) }, what)
	return r
}

func toAll(seq uint32) []byte { return message(stamp.To(stamp.All, 0), 0, seq) }

// What is missing is known from what was accepted.
func TestMissing(t *testing.T) {
	x := newServer(t)
	s := start(t, x, nil)
	if _, err := s.missing(work.None{}); err == nil {
		t.Error("missing, without something to expect")
	}
	for seq := range uint32(3) {
		x.push(toAll(seq + 1))
	}
	x.push(toAll(5))
	s.wait(t, "all have four", func(r Report) bool { return r.Pushes == 4*20 })
	f := func(e Expectation, want Gap) {
		t.Helper()
		must(t, s.expect, e)
		if got := must(t, s.missing, work.None{}); got != want {
			t.Errorf("gap %+v, want %+v", got, want)
		}
	}
	all := func(least, most uint32, sum uint64) Expectation {
		return Expectation{All: []Count{{Least: least, Most: most, Sum: sum}}}
	}
	f(all(4, 4, 1+2+3+5), Gap{Complete: 20, Wanted: 80})
	f(all(4, 4, 1+2+3+4), Gap{Lost: 20, Unsent: 20, Clients: 20, Wanted: 80}) // the fifth, not the fourth
	f(all(3, 5, 1+2+3), Gap{Complete: 20, Wanted: 60})
	f(all(6, 6, 21), Gap{Lost: 40, Clients: 20, Wanted: 120})
	f(all(2, 3, 3), Gap{Unsent: 20, Complete: 20, Wanted: 40})
	f(Expectation{}, Gap{Complete: 20})
	f(Expectation{All: []Count{{4, 4, 11}}, Room: map[int][]Count{1: {{2, 2, 3}}, 9: {{7, 7, 28}}}}, Gap{Lost: 10, Clients: 5, Complete: 15, Wanted: 90})
}

// Clients that were cut off come back as new ones: what came before is no double.
func TestDrop(t *testing.T) {
	x := newServer(t)
	s := start(t, x, func(s *Spec) { s.Rate = 2000 })
	x.push(toAll(1))
	s.wait(t, "all have it", func(r Report) bool { return r.Pushes == 20 })
	must(t, s.drop, Drop{})
	if r := must(t, s.take, work.None{}); r.Open != 0 || r.Opening != 0 || len(r.Ended) != 0 {
		t.Errorf("%d open, %d opening, ended %v", r.Open, r.Opening, r.Ended)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { open, _, _ := x.seen(); return open == 0 }, "the server sees them go")
	must(t, s.drop, Drop{Again: true})
	s.wait(t, "all are back", func(r Report) bool { return r.Open == 20 && r.Opened == 20 && r.Opening == 0 })
	x.push(toAll(1))
	if r := s.wait(t, "all have it again", func(r Report) bool { return r.Pushes == 40 }); r.Faults != (Faults{}) || len(r.Ended) != 0 {
		t.Errorf("faults %+v, ended %v", r.Faults, r.Ended)
	}
	if open, came, _ := x.seen(); open != 20 || came != 40 {
		t.Errorf("%d at the server, of %d", open, came)
	}
}

// Marked clients count for nothing; blind ones do not even read, until they are told to.
func TestMark(t *testing.T) {
	x := newServer(t)
	s := start(t, x, nil)
	if _, err := s.mark(Mark{}); err == nil {
		t.Error("one in none was marked")
	}
	if n := must(t, s.mark, Mark{Every: 5}); n != 4 {
		t.Errorf("%d marked, want 4", n)
	}
	if n := must(t, s.mark, Mark{Every: 4, Blind: true}); n != 4 { // 0 is marked already
		t.Errorf("%d blind, want 4", n)
	}
	x.push(toAll(1))
	x.push(toAll(1))
	s.wait(t, "who counts has it twice", func(r Report) bool { return r.Pushes == 2*12 && r.Doubled == 12+4 })
	must(t, s.readAgain, work.None{})
	s.wait(t, "who was blind has it twice", func(r Report) bool { return r.Pushes == 2*12 && r.Doubled == 12+8 })
	must(t, s.expect, Expectation{All: []Count{{2, 2, 3}}})
	if g := must(t, s.missing, work.None{}); g != (Gap{Lost: 12, Clients: 12, Wanted: 24}) {
		t.Errorf("gap %+v", g)
	}
	x.push(toAll(4))
	x.mu.Lock()
	for conn := range x.conns {
		conn.Close()
	}
	x.mu.Unlock()
	s.wait(t, "all have ended", func(r Report) bool {
		count := func(m map[string]int) (n int) {
			for _, k := range m {
				n += k
			}
			return n
		}
		return r.Open == 0 && count(r.Ended) == 12 && count(r.MarkedEnded) == 8
	})
	if g := must(t, s.missing, work.None{}); g != (Gap{Skipped: 2 * 8}) {
		t.Errorf("gap %+v, though marked clients have got 1 and 4 of four messages", g)
	}
}

// Marked clients come and go, others stay.
func TestChurn(t *testing.T) {
	x := newServer(t)
	s := start(t, x, nil)
	must(t, s.churn, Churn{PerSecond: 500}) // nobody is marked
	must(t, s.mark, Mark{Every: 4})
	s.wait(t, "50 have come back", func(r Report) bool { return r.Opened >= 70 })
	must(t, s.churn, Churn{})
	r := s.wait(t, "all are in", func(r Report) bool { return r.Opening == 0 })
	if r.Open != 20 || len(r.Ended)+len(r.MarkedEnded)+len(r.Refused) != 0 {
		t.Errorf("%d open, ended %v and %v, refused %v", r.Open, r.Ended, r.MarkedEnded, r.Refused)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { open, came, _ := x.seen(); return open == 20 && came == r.Opened }, "the server has seen as many")
	x.push(toAll(1))
	if r = s.wait(t, "who stayed has it", func(r Report) bool { return r.Pushes == 15 }); r.Faults != (Faults{}) {
		t.Errorf("faults %+v", r.Faults)
	}
}

// Each client sends a heartbeat in its turn, and the answers are counted; that they may
// be due faster than time passes does not stop the loop.
func TestBeats(t *testing.T) {
	f := func(every time.Duration) {
		t.Helper()
		x := newServer(t)
		s := start(t, x, nil)
		must(t, s.beat, every)
		r := s.wait(t, "all have sent some", func(r Report) bool { return r.Beats >= 60 })
		must(t, s.beat, 0)
		testkit.Eventually(t, 20*time.Second, func() bool {
			r = must(t, s.take, work.None{})
			_, _, beats := x.seen()
			return r.Beats == int64(beats)
		}, "all are answered")
		if len(r.Ended) != 0 || r.Broken != 0 {
			t.Errorf("ended %v, broken %d", r.Ended, r.Broken)
		}
	}
	f(20 * time.Millisecond)
	f(time.Nanosecond)
}

// Whose turn it is stays when heartbeats are stopped and begun again.
func TestBeatsGoOn(t *testing.T) {
	x := newServer(t)
	s := start(t, x, nil)
	for n := range int64(20) {
		must(t, s.beat, 20*time.Hour) // the first is due at once
		s.wait(t, "it is answered", func(r Report) bool { return r.Beats == n+1 })
		must(t, s.beat, 0)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.beaten) != 20 {
		t.Errorf("%d clients have sent 20 heartbeats, want 20", len(x.beaten))
	}
}

// What cannot be opened is refused before anything is.
func TestOpenErrors(t *testing.T) {
	good := Spec{Addrs: []string{"tcp://127.0.0.1:1"}, N: 1, Window: 1, Patience: time.Second}
	f := func(want string, change func(s *Spec)) {
		t.Helper()
		s := good
		change(&s)
		if err := s.check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	f("", func(*Spec) {})
	f("at least one", func(s *Spec) { s.N = 0 })
	f("nothing below zero", func(s *Spec) { s.First = -1 })
	f("nothing below zero", func(s *Spec) { s.RoomSize = -1 })
	f("nothing below zero", func(s *Spec) { s.Origin = 1 })
	f("no address", func(s *Spec) { s.Addrs = nil })
	f("window 0", func(s *Spec) { s.Window = 0 })
	f("patience 0s", func(s *Spec) { s.Patience = 0 })
	f("source net 255", func(s *Spec) { s.Net = 255 })
	f("at least one", func(s *Spec) { s.Net = 64 })
}

// Nobody is there: each client is refused, once, and the reason is told.
func TestNobodyThere(t *testing.T) {
	x := newServer(t)
	x.ln.Close()
	s := start(t, x, func(s *Spec) { s.Net, s.PerSource = 64, 7 })
	if r := must(t, s.take, work.None{}); r.Open != 0 || fmt.Sprint(r.Refused) != "map[connect: connection refused:20]" {
		t.Errorf("%d open, refused %v", r.Open, r.Refused)
	}
}
