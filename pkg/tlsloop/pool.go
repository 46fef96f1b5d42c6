package tlsloop

import (
	"context"
	"crypto/tls"
	"sync"
	"time"
)

// Options are those of a Pool.
type Options struct {
	Certificates *Certificates
	// PostQuantum offers X25519MLKEM768, against those who record today and decrypt
	// in years. A connection then takes 6.6 KB instead of 3.9 KB.
	PostQuantum bool
	// Handshakes is how many run at the same time, each on a goroutine. One takes half
	// a millisecond of CPU and the client's round trips.
	Handshakes int
	// Timeout is from a client's first byte to the end of its handshake, at most.
	Timeout time.Duration
}

// maxWaiting bounds the handshakes that wait, as a multiple of those that run.
const maxWaiting = 16

// Pool makes connections and runs their handshakes. It may be used concurrently.
type Pool struct {
	// Set by NewPool, then read-only.
	options Options
	config  *tls.Config

	mu sync.Mutex
	// guards below
	running map[*handshake]struct{}
	waiting []*handshake // oldest first
	stopped bool
	workers sync.WaitGroup // of running
}

// NewPool makes a Pool.
func NewPool(o Options) *Pool {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: o.Certificates.get,
		NextProtos:     []string{"http/1.1"},
		// One record for what is written at once: small ones first (the default) are
		// for pages that browsers show while they load.
		DynamicRecordSizingDisabled: true,
	}
	if !o.PostQuantum {
		config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	return &Pool{options: o, config: config, running: map[*handshake]struct{}{}}
}

// Server makes the server's end of a connection. During its handshake send is
// called with bytes for the socket, in order, and then done once with nil or with
// why it failed: both on the goroutine of the handshake, which starts with the
// first byte that is fed. They must not block. The bytes are the callee's. After
// done with nil the loop calls Establish.
func (p *Pool) Server(send func(out []byte), done func(err error)) *Conn {
	c := &Conn{}
	h := &handshake{pool: p, conn: c, send: send, done: done}
	h.more = sync.NewCond(&h.mu)
	c.hands = h
	c.tls = tls.Server((*wire)(c), p.config)
	return c
}

// start runs the handshake, now or when others are done.
func (p *Pool) start(h *handshake) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped:
		return errClosed
	case len(p.running) < p.options.Handshakes:
		h.timer = time.AfterFunc(p.options.Timeout, func() { h.abort(ErrTimeout) })
		p.running[h] = struct{}{}
		p.workers.Add(1)
		go p.work(h) // ends when no handshake waits
	case len(p.waiting) >= maxWaiting*p.options.Handshakes:
		return ErrBusy
	default:
		h.timer = time.AfterFunc(p.options.Timeout, func() { h.abort(ErrTimeout) })
		p.waiting = append(p.waiting, h)
	}
	return nil
}

// work runs h and then those that wait, one after another.
func (p *Pool) work(h *handshake) {
	defer p.workers.Done()
	for h != nil {
		h.run()
		h = p.next(h)
	}
}

// next takes done from the running ones and gives its place to one that waits.
func (p *Pool) next(done *handshake) (h *handshake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, done)
	if len(p.waiting) == 0 {
		return nil
	}
	h, p.waiting[0] = p.waiting[0], nil
	p.waiting = p.waiting[1:]
	p.running[h] = struct{}{}
	return h
}

// Pending is how many handshakes run or wait.
func (p *Pool) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.running) + len(p.waiting)
}

// Run reads the certificates again when they change, until ctx ends. Then it ends
// the handshakes that are under way and returns when all have.
func (p *Pool) Run(ctx context.Context) error {
	p.options.Certificates.watch(ctx)
	p.mu.Lock()
	p.stopped = true
	for h := range p.running {
		h.abort(errClosed)
	}
	for _, h := range p.waiting {
		h.abort(errClosed)
	}
	p.mu.Unlock()
	p.workers.Wait()
	return nil
}
