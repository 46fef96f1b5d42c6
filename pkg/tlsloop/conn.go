package tlsloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

var (
	// ErrAgain says that there is no more plaintext until more is fed.
	ErrAgain = errors.New("tlsloop: no complete record")
	// ErrFlood says that a client has sent too much before the end of its handshake.
	ErrFlood = errors.New("tlsloop: too much before the end of the handshake")
	// ErrBusy says that too many handshakes wait.
	ErrBusy = errors.New("tlsloop: too many handshakes wait")
	// ErrTimeout says that a handshake took too long.
	ErrTimeout = errors.New("tlsloop: handshake timed out")

	errClosed = errors.New("tlsloop: closed")
)

const (
	// maxHello bounds what waits for a handshake that has not begun, in bytes: a
	// client may send its ClientHello and must wait then.
	maxHello = 16 << 10
	// maxEarly bounds what waits for one that runs: the client's last flight, and the
	// data it sends behind that without waiting, while the goroutine gets its turn.
	maxEarly = 1 << 20
)

// Conn is the server's end of one TLS connection. Its methods are called on the
// loop that owns it, one at a time. It takes about 4 KB when idle, of which 80
// bytes are not crypto/tls's; a client that has sent a record of 16 KB makes
// crypto/tls keep a buffer of that size for as long as the connection lives.
type Conn struct {
	tls   *tls.Conn  // used by the handshake's goroutine until that is done, then by the loop
	hands *handshake // nil from Establish on; owned by the loop

	// Owned by the loop, used from Establish on.
	in  []byte // ciphertext that crypto/tls has not taken
	out []byte // ciphertext to send
}

// handshake is what a connection has until its handshake is done.
type handshake struct {
	// Set by Server, then read-only.
	pool *Pool
	conn *Conn
	send func([]byte)
	done func(error)
	more *sync.Cond // for read

	timer *time.Timer // set when it is started

	mu sync.Mutex
	// guards below
	in      []byte
	started bool  // given to the pool
	running bool  // on its goroutine
	err     error // why it must end
}

// Handshaking says that Establish was not called.
func (c *Conn) Handshaking() bool { return c.hands != nil }

// Establish ends the handshake for the loop, when done was called with nil and all
// that send was called with has been sent. Read should follow: more may have come.
func (c *Conn) Establish() {
	h := c.hands
	h.mu.Lock()
	defer h.mu.Unlock()
	c.in, c.hands = h.in, nil
}

// Feed takes ciphertext that has arrived. During the handshake it is copied;
// afterwards it must stay as it is until Read has returned an error. An error means
// that the connection must be closed.
func (c *Conn) Feed(in []byte) error {
	h := c.hands
	if h == nil {
		if len(c.in) == 0 {
			c.in = in
		} else {
			c.in = append(c.in, in...)
		}
		return nil
	}
	h.mu.Lock()
	limit := maxHello
	if h.running {
		limit = maxEarly
	}
	if len(h.in)+len(in) > limit {
		h.mu.Unlock()
		return ErrFlood
	}
	h.in = append(h.in, in...)
	start := !h.started && len(h.in) > 0
	h.started = h.started || start
	h.more.Signal()
	h.mu.Unlock()
	if start {
		return h.pool.start(h)
	}
	return nil
}

// Read puts plaintext into buf and returns how much: ErrAgain when there is none
// until more is fed, io.EOF when the client has said goodbye, and another error when
// the connection must be closed. What it has to send, HasOutput tells.
func (c *Conn) Read(buf []byte) (int, error) {
	n, err := c.tls.Read(buf)
	if _, ok := err.(again); ok { //nolint:errorlint // crypto/tls hands it on as it is
		if c.in = nil; n == 0 {
			return 0, ErrAgain
		}
		err = nil
	}
	return n, err
}

// Append seals plain and appends the records to dst, behind what else there is to
// send. They must be sent in this order. Nothing of plain is kept.
func (c *Conn) Append(dst, plain []byte) ([]byte, error) {
	c.out = append(dst, c.out...)
	var err error
	if len(plain) > 0 {
		_, err = c.tls.Write(plain)
	}
	dst, c.out = c.out, nil
	return dst, err
}

// HasOutput says that crypto/tls wants to send something of its own accord, an
// alert or the answer to a new key: Append with no plaintext takes it.
func (c *Conn) HasOutput() bool { return len(c.out) > 0 }

// AppendCloseNotify appends TLS's goodbye (RFC 8446 §6.1). Nothing may be sent
// after it. Before the end of the handshake it appends nothing.
func (c *Conn) AppendCloseNotify(dst []byte) []byte {
	if c.Handshaking() {
		return dst
	}
	c.out = append(dst, c.out...)
	_ = c.tls.CloseWrite() // it writes to c.out, which takes everything
	dst, c.out = c.out, nil
	return dst
}

// Close ends a handshake that is under way. It may be called again.
func (c *Conn) Close() {
	if h := c.hands; h != nil {
		h.abort(errClosed)
	}
}

// abort makes the handshake end with err.
func (h *handshake) abort(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.more.Signal()
}

// run is the handshake; it runs on a goroutine of the pool.
func (h *handshake) run() {
	h.mu.Lock()
	h.running = true
	h.mu.Unlock()
	err := h.conn.tls.Handshake()
	h.timer.Stop()
	if err != nil {
		err = h.failed(err)
	}
	h.done(err)
}

// failed says why, and answers those who speak HTTP to the port of TLS, as net/http
// does.
func (h *handshake) failed(err error) error {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && isHTTP(header.RecordHeader) {
		h.send([]byte("HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks TLS: use https or wss\n"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	return err
}

func isHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// read waits for bytes of the client.
func (h *handshake) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.in) == 0 && h.err == nil {
		h.more.Wait()
	}
	if h.err != nil {
		return 0, h.err
	}
	n := copy(b, h.in)
	h.in = h.in[n:]
	return n, nil
}

// wire is a Conn as crypto/tls sees it: a net.Conn without a network.
type wire Conn

func (w *wire) Read(b []byte) (int, error) {
	if h := w.hands; h != nil {
		return h.read(b)
	}
	if len(w.in) == 0 {
		return 0, again{}
	}
	n := copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) {
	if h := w.hands; h != nil {
		h.send(append([]byte(nil), b...))
		return len(b), nil
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nowhere{} }
func (w *wire) RemoteAddr() net.Addr             { return nowhere{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "loop" }
func (nowhere) String() string  { return "loop" }

// again is the error of a read that found nothing. crypto/tls looks at Temporary.
type again struct{}

func (again) Error() string   { return ErrAgain.Error() }
func (again) Timeout() bool   { return false }
func (again) Temporary() bool { return true }

var (
	_ net.Error = again{}
	_ io.Closer = (*wire)(nil)
)
