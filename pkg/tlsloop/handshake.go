package tlsloop

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// handshake is what a connection has until its handshake is done, and how its loop
// and the handshake's goroutine talk: the loop feeds, the goroutine reads.
type handshake struct {
	// Set by Server, then read-only.
	pool *Pool
	conn *Conn
	send func([]byte)
	done func(error)

	// Owned by the loop.
	begun    bool // its first byte has come
	admitted bool // it was given to the pool

	// Owned by the handshake's goroutine.
	left int // of the record that is being read, in bytes

	// Guarded by pool.mu.
	stage stage
	place *list.Element // in pool.waiting
	timer *time.Timer   // nil before the first byte

	mu sync.Mutex
	// guards below; taken inside pool.mu or alone

	in       []byte
	burst    int       // of pool.bursts
	arrived  sync.Cond // that there is something to read, or err
	running  bool      // on its goroutine
	err      error     // why it must end
	quiet    bool      // the loop has closed the connection
	finished bool      // the handshake has succeeded
}

// stage is how far a handshake is, as the pool sees it.
type stage uint8

const (
	stageGathering stage = iota // the first record is not whole
	stageWaiting                // for a goroutine
	stageRunning                // on a goroutine
	stageEnded
)

// feed takes bytes of the client, on the loop.
func (h *handshake) feed(in []byte) error {
	if len(in) == 0 {
		return nil
	}
	h.mu.Lock()
	if h.err != nil {
		defer h.mu.Unlock()
		return h.err
	}
	if !h.admitsLocked(len(h.in) + len(in)) {
		h.mu.Unlock()
		return ErrFlood
	}
	h.in = append(h.in, in...)
	admit := !h.admitted && helloArrived(h.in)
	h.arrived.Signal()
	h.mu.Unlock()

	if !h.begun {
		h.begun = true
		if err := h.pool.begin(h); err != nil {
			return err
		}
	}
	if admit {
		h.admitted = true
		return h.pool.admit(h)
	}
	return nil
}

// admitsLocked says whether the client's bytes that wait may become n.
func (h *handshake) admitsLocked(n int) bool {
	due := maxHello
	if h.running {
		due = maxEarly
	}
	more := n - due - h.burst
	if more <= 0 {
		return true
	}
	if n > maxBurst || !h.pool.lend(more) {
		return false
	}
	h.burst += more
	return true
}

// returnLocked gives back what admitsLocked has taken.
func (h *handshake) returnLocked() {
	h.pool.bursts.Add(-int64(h.burst))
	h.burst = 0
}

// read waits for bytes of the client and returns some, on the handshake's goroutine,
// which gives its turn to others while it waits. It never returns bytes of two
// records: what is behind the handshake stays here, where the loop finds it.
func (h *handshake) read(b []byte) (int, error) {
	if !h.await(false) {
		<-h.pool.turns
		h.await(true)
		h.pool.turns <- struct{}{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return 0, h.err
	}
	if h.left == 0 {
		h.left = recordSize(h.in)
	}
	n := copy(b, h.in[:min(h.left, len(h.in))])
	h.left -= n
	h.in = append(h.in[:0], h.in[n:]...)
	return n, nil
}

// await says whether read has something to return; if it shall wait it is true.
func (h *handshake) await(wait bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.err != nil || len(h.in) >= headerLen || h.left > 0 && len(h.in) > 0 {
			return true
		}
		if !wait {
			return false
		}
		h.arrived.Wait()
	}
}

// write sends a flight. crypto/tls uses b again.
func (h *handshake) write(b []byte) {
	if !h.isQuiet() {
		h.send(bytes.Clone(b))
	}
}

// run is the handshake. Its goroutine computes only while it has a turn.
func (h *handshake) run() (err error) {
	h.mu.Lock()
	h.running = true
	h.mu.Unlock()
	h.pool.turns <- struct{}{}
	defer func() { <-h.pool.turns }()
	defer func() {
		if p := recover(); p != nil { // a client must not end us, whatever it found in crypto/tls
			err = h.pool.panicked(p)
		}
	}()
	c := tls.Server((*wire)(h.conn), h.pool.config)
	h.conn.tls = c
	err = c.Handshake()
	if err == nil {
		layout.trim(c)
		return h.succeed(c.ConnectionState().DidResume)
	}
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && isHTTP(header.RecordHeader) {
		h.write([]byte(plainAnswer))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// succeed ends the handshake well, if it has not been ended otherwise meanwhile.
func (h *handshake) succeed(resumed bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	h.finished = true
	if resumed {
		h.pool.counts.resumed.Add(1)
	}
	return nil
}

// plainAnswer is for those who send an HTTP request to the port of TLS, as
// net/http's.
const plainAnswer = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
	"This port speaks TLS: use https or wss.\n"

// isHTTP knows a request by its first bytes, which were taken for a record's header.
func isHTTP(header [headerLen]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "CONNE":
		return true
	}
	return false
}

// result is what has come behind the handshake, for the loop; false: it has not
// succeeded.
func (h *handshake) result() (in []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.finished || h.err != nil {
		return nil, false
	}
	if len(h.in) > 0 { // else its capacity would stay
		in = h.in
	}
	h.in = nil
	h.returnLocked()
	return in, true
}

// abort makes the handshake end with err, wherever it is.
func (h *handshake) abort(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && !h.finished {
		h.err = err
	}
	h.arrived.Signal()
}

// close ends it for a loop that has closed the connection.
func (h *handshake) close() {
	h.mu.Lock()
	h.quiet = true
	h.returnLocked()
	h.mu.Unlock()
	h.pool.end(h, net.ErrClosed)
}

// report tells the loop how it ended.
func (h *handshake) report(err error) {
	if !h.isQuiet() {
		h.done(err)
	}
}

func (h *handshake) isQuiet() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quiet
}
