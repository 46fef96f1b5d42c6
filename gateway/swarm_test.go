package gateway

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// swarm is thousands of clients on one thread: non-blocking sockets in one epoll
// and 64 bytes of memory for each. It checks every push that arrives, in
// swarm_input_test.go, and is told what to do by commands.
type swarm struct {
	// Set by newSwarm, then read-only.
	ep, wake int // epoll, and an eventfd in it

	mu   sync.Mutex
	todo []func() // guarded by mu; to be run on the loop

	// Owned by loop.
	spec     swarmSpec
	conns    []swarmConn
	next     int // index of the next to be opened
	opening  int // connections that are on their way to op 8
	unmarked int // open ones that count for waits and latencies
	buf      []byte
	now      int64 // monotonic, of the read that is being handled
	until    func() bool
	reached  chan struct{} // closed when until holds
	beating  beating
	report   report
}

// swarmSpec is how many clients of what kind.
type swarmSpec struct {
	Addr     string
	WS       bool
	Bare     bool // no handshake: for a floor, which sends WebSocket frames
	N, First int  // clients First … First+N-1; key, mid and room come from the number
	RoomSize int  // so many to a room; room n has clients n×RoomSize and on
	Net      int  // source addresses are 127.Net.x.y, from 1 to 254
	PerIP    int  // clients to a source address
	Rcvbuf   int  // kernel receive buffer, 0 is the kernel's choice
}

// swarmConn is one client.
type swarmConn struct {
	fd      int32 // -1: closed
	index   int32 // in conns
	state   swarmState
	marked  bool // counts for nothing, and may have been told not to read
	blind   bool // not reading
	answers uint32
	pushes  uint32
	seq     uint64 // of the last push
	partial []byte // read, and not complete
}

type swarmState uint8

const (
	swarmConnecting swarmState = iota
	swarmUpgrading             // the request is sent
	swarmJoining               // op 7 is sent
	swarmOpen
)

// beating is the sending of heartbeats at a rate.
type beating struct {
	left int
	conn int // whose turn it is
	gap  time.Duration
	next time.Time
}

// openWindow is how many connections are opened at the same time. It is far below
// any listener's backlog and keeps both ends busy.
const openWindow = 128

func clientsMain() error {
	s, err := newSwarm()
	if err != nil {
		return err
	}
	go s.run() // ends with the process
	return obey(map[string]command{
		"open": cmd(s.open), "close": cmd(s.closeAll), "mark": cmd(s.mark), "resume": cmd(s.resume),
		"wait": cmd(s.wait), "beat": cmd(s.beat), "report": cmd(s.getReport), "usage": cmd(ownUsage),
	})
}

func newSwarm() (*swarm, error) {
	ep, err1 := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	wake, err2 := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s := &swarm{ep: ep, wake: wake, buf: make([]byte, 256<<10)}
	s.report.clear()
	return s, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
}

// do runs f on the loop and waits for it.
func (s *swarm) do(f func()) {
	done := make(chan struct{})
	s.mu.Lock()
	s.todo = append(s.todo, func() { f(); close(done) })
	s.mu.Unlock()
	s.ring()
	<-done
}

func (s *swarm) ring() {
	if _, err := unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil && !errors.Is(err, unix.EAGAIN) {
		panic("BUG: eventfd: " + err.Error())
	}
}

// await waits until ok, called on the loop after whatever happens there, holds.
func (s *swarm) await(what string, patience time.Duration, ok func() bool) error {
	reached := make(chan struct{})
	s.do(func() { s.until, s.reached = ok, reached })
	select {
	case <-reached:
		return nil
	case <-time.After(patience):
	}
	var state string
	s.do(func() {
		s.until = nil
		r := s.summary()
		r.Latency = nil
		state = fmt.Sprintf("%d of %d opened, %d opening, %d open that count, %+v", s.next, s.spec.N, s.opening, s.unmarked, r)
	})
	return fmt.Errorf("not within %v: %s: %s", patience, what, state)
}

// run is the loop.
func (s *swarm) run() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 1024)
	for {
		wait := -1
		if s.beating.left > 0 {
			wait = 1
		}
		n, err := unix.EpollWait(s.ep, events, wait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			fmt.Fprintln(os.Stderr, "clients process: epoll:", err)
			os.Exit(1)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd < 0 {
				s.runTodo()
			} else if int(e.Fd) < len(s.conns) && s.conns[e.Fd].fd == e.Pad {
				s.event(&s.conns[e.Fd], e.Events)
			}
		}
		s.sendBeats()
		s.dialMore()
		if s.until != nil && s.until() {
			close(s.reached)
			s.until = nil
		}
	}
}

func (s *swarm) runTodo() {
	var rung [8]byte
	_, _ = unix.Read(s.wake, rung[:])
	s.mu.Lock()
	todo := s.todo
	s.todo = nil
	s.mu.Unlock()
	for _, f := range todo {
		f()
	}
}

// event handles what epoll says of c.
func (s *swarm) event(c *swarmConn, events uint32) {
	switch {
	case c.blind && events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		s.end(c, "reset")
	case c.state == swarmConnecting:
		s.connected(c)
	default:
		s.read(c)
	}
}

// dialMore opens connections while there are any to be opened.
func (s *swarm) dialMore() {
	for s.next < s.spec.N && s.opening < openWindow {
		c := &s.conns[s.next]
		s.next++
		s.opening++
		if err := s.dial(c); err != nil {
			s.end(c, err.Error())
		}
	}
}
