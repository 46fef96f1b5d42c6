package tlsloop

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Pool makes connections and runs their handshakes. It may be used concurrently.
//
// Lock order: Pool.mu, handshake.mu. Neither is held when send or done is called.
type Pool struct {
	// Set by NewPool, then read-only.
	options Options
	config  *tls.Config
	log     *slog.Logger
	turns   chan struct{} // holds one for each handshake that computes
	counts  counts
	bursts  atomic.Int64 // bytes that handshakes hold above their due

	// workers are goroutines and timers of handshakes. Added to under mu, and only
	// while state is not poolEnded.
	workers sync.WaitGroup

	mu sync.Mutex
	// guards below
	state   poolState
	running int                     // goroutines
	waiting list.List               // of *handshake, oldest first
	open    map[*handshake]struct{} // have begun and have not ended
}

type poolState uint8

const (
	poolNew     poolState = iota // all wait
	poolRunning                  // Run runs
	poolEnded                    // all are refused
)

// NewPool makes a Pool, which starts nothing until Run.
func NewPool(o Options) *Pool {
	o = o.withDefaults()
	return &Pool{
		options: o, config: o.config(), log: o.Certificates.log,
		turns: make(chan struct{}, o.Parallel), open: map[*handshake]struct{}{},
	}
}

// Server makes the server's end of a connection. Its handshake begins with the first
// bytes that are fed. During it send is called with bytes for the socket, in order,
// and then done with nil or with why it failed, once: all on goroutines of the pool,
// not concurrently with each other. They must not block, and may not call the Conn's
// methods: they post to its loop. The bytes are the callee's. After done with nil the
// loop calls Establish. If Feed has returned an error, or after Close, done may never
// be called.
func (p *Pool) Server(send func(out []byte), done func(err error)) *Conn {
	c := &Conn{}
	c.hands = &handshake{pool: p, conn: c, send: send, done: done}
	c.hands.arrived.L = &c.hands.mu
	return c
}

// Run runs handshakes, and reads the certificate again when it has changed, until ctx
// ends. Then those under way end with net.ErrClosed, as do new ones, and Run returns
// when nothing of the pool is left. Connections that are established are not touched.
// It may be called once.
func (p *Pool) Run(ctx context.Context) error {
	p.startWaiting()
	p.options.Certificates.watch(ctx)
	p.mu.Lock()
	p.state = poolEnded
	var cut []*handshake
	for h := range p.open {
		cut = append(cut, h)
	}
	p.mu.Unlock()
	for _, h := range cut {
		p.end(h, net.ErrClosed)
	}
	p.workers.Wait()
	return nil
}

// startWaiting starts the handshakes that wait.
func (p *Pool) startWaiting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = poolRunning
	for p.running < p.options.Handshakes && p.waiting.Len() > 0 {
		p.startLocked(p.popLocked())
	}
}

// lend takes n bytes of maxBursts, if so many are left.
func (p *Pool) lend(n int) bool {
	if p.bursts.Add(int64(n)) <= maxBursts {
		return true
	}
	p.bursts.Add(-int64(n))
	return false
}

// begin starts the time of h, whose first bytes have come.
func (p *Pool) begin(h *handshake) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == poolEnded {
		return net.ErrClosed
	}
	p.open[h] = struct{}{}
	p.workers.Add(1)
	h.timer = time.AfterFunc(p.options.Timeout, func() { // stopped by leaveLocked
		defer p.workers.Done()
		p.end(h, ErrTimeout)
	})
	return nil
}

// admit runs h on a goroutine, now or when others are done.
func (p *Pool) admit(h *handshake) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case h.stage == stageEnded || p.state == poolEnded:
		return net.ErrClosed
	case p.state == poolRunning && p.running < p.options.Handshakes:
		p.startLocked(h)
	case p.waiting.Len() >= p.options.Waiting:
		p.leaveLocked(h)
		h.abort(ErrBusy)
		p.counts.refused.Add(1)
		return ErrBusy
	default:
		h.stage = stageWaiting
		h.place = p.waiting.PushBack(h)
	}
	return nil
}

func (p *Pool) startLocked(h *handshake) {
	h.stage = stageRunning
	p.running++
	p.workers.Add(1)
	go p.work(h) // ends when no handshake waits
}

// work runs h and then those that wait, one after another.
func (p *Pool) work(h *handshake) {
	defer p.workers.Done()
	for h != nil {
		err := h.run()
		p.mu.Lock()
		p.leaveLocked(h)
		p.mu.Unlock()
		p.count(err)
		h.report(err)
		h = p.next()
	}
}

// next takes a handshake that waits; nil: there is none, the goroutine must end.
func (p *Pool) next() *handshake {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting.Len() == 0 || p.state == poolEnded {
		p.running--
		return nil
	}
	h := p.popLocked()
	h.stage = stageRunning
	return h
}

func (p *Pool) popLocked() *handshake {
	h := p.waiting.Remove(p.waiting.Front()).(*handshake)
	h.place = nil
	return h
}

// end ends h with why. If it has a goroutine that reports, otherwise this does.
func (p *Pool) end(h *handshake, why error) {
	p.mu.Lock()
	idle := h.stage == stageGathering || h.stage == stageWaiting
	begun := h.timer != nil
	if idle {
		p.leaveLocked(h)
	}
	p.mu.Unlock()
	h.abort(why)
	if idle && begun {
		p.count(why)
		h.report(why)
	}
}

// leaveLocked takes h out of everything.
func (p *Pool) leaveLocked(h *handshake) {
	h.stage = stageEnded
	delete(p.open, h)
	if h.place != nil {
		p.waiting.Remove(h.place)
		h.place = nil
	}
	if h.timer != nil && h.timer.Stop() {
		p.workers.Done()
	}
}

// panicked makes an error of a panic, and noise.
func (p *Pool) panicked(reason any) error {
	p.counts.panics.Add(1)
	p.log.Error("panic in a TLS handshake", "err", reason, "stack", string(debug.Stack()))
	return fmt.Errorf("TLS handshake: panic: %v", reason)
}

func (p *Pool) count(err error) {
	switch {
	case err == nil:
		p.counts.done.Add(1)
	case errors.Is(err, ErrTimeout):
		p.counts.expired.Add(1)
	case errors.Is(err, net.ErrClosed):
		p.counts.aborted.Add(1)
	default:
		p.counts.failed.Add(1)
	}
}
