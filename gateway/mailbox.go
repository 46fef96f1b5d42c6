package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// mail is a piece of work for a loop, run on the loop.
type mail interface{ run(l *loop) }

// mailbox is the only way from other goroutines into a loop. Mails run in the
// order they were posted.
//
// Why not one EventLoop.Execute per mail: past 1024 queued tasks gnet runs later
// ones first, it allocates twice per call, and its queue has no bound
// (measured: a task posted last ran at position 1024 of 1501). Here at most one
// Execute is pending, whatever is posted.
//
// What jobs post is bounded by reserve. All other mails are bounded by what they
// answer: one per session that waits for an answer, one per tick.
type mailbox struct {
	// Set by newMailbox, then read-only.
	loop  *loop
	limit int64

	mu sync.Mutex
	// guards below

	el    gnet.EventLoop // nil while the loop has never had a connection
	queue []mail
	bytes int64 // reserved by deliveries that have not run yet
	awake bool  // an Execute is pending or run is under way

	// Owned by loop.
	taken []mail // being run; the array is swapped with queue's
	next  int    // in taken
}

const (
	// A slice of mails ends after sliceMails or sliceTime, whichever comes
	// first, so that sockets are read in between.
	sliceMails = 512
	sliceTime  = 4 * time.Millisecond
)

// attach tells the mailbox which event loop runs it. gnet shows the loop only
// with its first connection; before that there is nobody to write to, and post
// drops.
func (m *mailbox) attach(el gnet.EventLoop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.el = el
}

// detach returns the mails that will not run: the engine has ended, and its
// sessions with it.
func (m *mailbox) detach() (dropped []mail) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dropped = append(m.taken[m.next:], m.queue...)
	m.el, m.queue, m.taken, m.next, m.bytes, m.awake = nil, nil, nil, 0, 0, false
	return dropped
}

// reserve takes n bytes of the bound for a delivery; false means busy.
func (m *mailbox) reserve(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes > 0 && m.bytes+n > m.limit {
		return false
	}
	m.bytes += n
	return true
}

// release gives back what reserve took.
func (m *mailbox) release(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes = max(0, m.bytes-n) // detach may have come between
}

// post adds x behind all mails posted before and wakes the loop. False: the loop
// has never had a connection, or its engine has ended; nobody is there for x.
func (m *mailbox) post(x mail) bool {
	m.mu.Lock()
	if m.el == nil {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, x)
	wake := !m.awake
	m.awake = true
	el := m.el
	m.mu.Unlock()
	if wake {
		// It fails only when the engine is stopping; detach then cleans up.
		_ = el.Execute(context.Background(), m)
	}
	return true
}

// Run runs a slice of mails on the loop; it is what Execute calls. If mails are
// left it has itself called again by another goroutine: gnet runs what a task
// submits before it reads sockets, so a task that submits itself never yields.
func (m *mailbox) Run(context.Context) error {
	if m.runSlice() {
		go m.again()
	}
	return nil
}

// again wakes the loop once and ends.
func (m *mailbox) again() {
	m.mu.Lock()
	el := m.el
	m.mu.Unlock()
	if el != nil {
		_ = el.Execute(context.Background(), m)
	}
}

// runSlice runs mails, then lets the loop write what they left to be written.
// It reports whether there is more to do.
func (m *mailbox) runSlice() (more bool) {
	start := time.Now()
	m.loop.now = m.loop.srv.coarse()
	for n := 0; n < sliceMails; n++ {
		x := m.take()
		if x == nil {
			break
		}
		m.loop.runMail(x)
		if n%16 == 15 && time.Since(start) > sliceTime {
			break
		}
	}
	casting := m.loop.settle()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awake = casting || m.next < len(m.taken) || len(m.queue) > 0
	return m.awake
}

// take returns the next mail, nil when there is none.
func (m *mailbox) take() mail {
	if m.next == len(m.taken) {
		clear(m.taken)
		if cap(m.taken) > maxFifo {
			m.taken = nil // of a burst
		}
		m.mu.Lock()
		m.taken, m.queue, m.next = m.queue, m.taken[:0], 0
		m.mu.Unlock()
		if len(m.taken) == 0 {
			return nil
		}
	}
	x := m.taken[m.next]
	m.taken[m.next] = nil
	m.next++
	return x
}

// reserved is how many bytes of deliveries wait.
func (m *mailbox) reserved() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}
