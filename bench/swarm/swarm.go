package swarm

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
)

// Swarm is the clients of one process.
type Swarm struct {
	// Set by New, then read-only.
	clock    *work.Clock
	ep, wake int // epoll, and an eventfd in it

	mu sync.Mutex
	// guards below
	todo []func() // to be run on the loop

	// Owned by the loop.
	spec      Spec
	endpoints []endpoint
	clients   []client
	tracks    []stamp.Track // perClient to each of clients
	base      [stamp.Kinds]int
	perClient int
	next      int // index of the next to be opened
	opening   int // that are on their way to op 8
	begun     time.Duration
	swept     time.Duration // when those that take too long were looked for
	window    Window
	beating   beating
	churning  churning
	now       time.Duration // of the read that is being handled
	buf       []byte
	report    Report
	expected  *Expectation
	fatal     error // what the loop has died of
}

// client is one connection.
type client struct {
	fd      int32 // -1: closed
	index   int32 // in clients
	state   state
	marked  bool  // counts for nothing, and may have been told not to read
	blind   bool  // not reading
	waiting uint8 // heartbeats that were not answered
	begun   time.Duration
	partial []byte // read, and not complete
	tls     *tlsEnd
}

type state uint8

const (
	closed state = iota
	connecting
	securing  // the TLS handshake is under way
	upgrading // the request is sent
	joining   // op 7 is sent
	open
)

// New makes a swarm without clients. Run runs it.
func New(clock *work.Clock) (*Swarm, error) {
	ep, err1 := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	wake, err2 := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s := &Swarm{clock: clock, ep: ep, wake: wake, buf: make([]byte, 256<<10)}
	s.report = newReport()
	return s, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1})
}

// Commands are what a worker that is a swarm can be told.
func (s *Swarm) Commands() map[string]work.Command {
	return map[string]work.Command{
		"open": work.Do(s.open), "drop": work.Do(s.drop), "report": work.Do(s.take), "window": work.Do(s.setWindow),
		"mark": work.Do(s.mark), "read": work.Do(s.readAgain), "beat": work.Do(s.beat), "churn": work.Do(s.churn),
		"expect": work.Do(s.expect), "missing": work.Do(s.missing),
	}
}

// do runs f on the loop and waits for it.
func (s *Swarm) do(f func() error) (err error) {
	done := make(chan struct{})
	s.post(func() {
		if err = s.fatal; err == nil {
			err = f()
		}
		close(done)
	})
	<-done
	return err
}

// post has f run on the loop. It may be called from any goroutine.
func (s *Swarm) post(f func()) {
	s.mu.Lock()
	s.todo = append(s.todo, f)
	s.mu.Unlock()
	if _, err := unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil && !errors.Is(err, unix.EAGAIN) {
		panic("BUG: eventfd: " + err.Error())
	}
}

const (
	pace  = time.Millisecond       // how often connections and heartbeats that are due are begun
	idle  = 100 * time.Millisecond // and how often time is looked at otherwise
	sweep = 200 * time.Millisecond // how often those that take too long are looked for
)

// Run is the loop. It ends with the process.
func (s *Swarm) Run() {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 1024)
	for {
		wait := idle
		if s.beating.every > 0 || s.churning.rate > 0 || s.next < len(s.clients) {
			wait = pace
		}
		n, err := unix.EpollWait(s.ep, events, int(wait.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			s.fatal = fmt.Errorf("epoll: %w", err)
			n = 0
		}
		s.now = s.clock.Now()
		for _, e := range events[:max(n, 0)] {
			if e.Fd < 0 {
				s.runTodo()
			} else if int(e.Fd) < len(s.clients) && s.clients[e.Fd].fd == e.Pad {
				s.event(&s.clients[e.Fd], e.Events)
			}
		}
		s.sendBeats()
		s.churnOn()
		s.sweepLate()
		s.dialMore()
	}
}

func (s *Swarm) runTodo() {
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
func (s *Swarm) event(c *client, events uint32) {
	switch {
	case c.blind && events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		s.end(c, "reset")
	case c.state == connecting:
		s.connected(c)
	case c.state == securing: // how its handshake ends says what has happened
	default:
		s.read(c)
	}
}

// dialMore opens connections that are due.
func (s *Swarm) dialMore() {
	due := len(s.clients)
	if s.spec.Rate > 0 {
		due = min(due, int((s.clock.Now()-s.begun).Seconds()*s.spec.Rate)+1)
	}
	for s.next < due && s.opening < s.spec.Window {
		c := &s.clients[s.next]
		s.next++
		s.opening++
		c.begun = s.clock.Now()
		if err := s.dial(c); err != nil {
			s.end(c, err.Error())
		}
	}
}

// sweepLate ends connections that have taken too long to become open.
func (s *Swarm) sweepLate() {
	if s.opening == 0 || s.now-s.swept < sweep {
		return
	}
	s.swept = s.now
	for i := range s.clients[:s.next] {
		c := &s.clients[i]
		if c.state != closed && c.state != open && s.now-c.begun > s.spec.Patience {
			s.end(c, "no answer in time while "+c.state.String())
		}
	}
}

func (x state) String() string {
	return [...]string{"closed", "connecting", "securing", "upgrading", "joining", "open"}[x]
}
