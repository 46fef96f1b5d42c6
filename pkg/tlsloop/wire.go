package tlsloop

import (
	"net"
	"time"
)

// wire is a Conn as crypto/tls sees it: a net.Conn without a network. Until
// Establish the handshake's goroutine uses it, then the loop.
type wire Conn

// Read blocks during the handshake and never afterwards.
func (w *wire) Read(b []byte) (int, error) {
	if w.hands != nil {
		return w.hands.read(b)
	}
	if len(w.cut) == 0 {
		return 0, errWouldBlock
	}
	n := copy(b, w.cut)
	w.cut = w.cut[n:]
	return n, nil
}

// Write takes everything: an error would stay with the connection for ever.
func (w *wire) Write(b []byte) (int, error) {
	if w.hands != nil {
		w.hands.write(b)
	} else {
		w.out = append(w.out, b...)
	}
	return len(b), nil
}

// Close and the deadlines have no meaning here; the socket is the caller's.
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nowhere{} }
func (w *wire) RemoteAddr() net.Addr             { return nowhere{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "loop" }
func (nowhere) String() string  { return "loop" }

// errWouldBlock is a read that found nothing. crypto/tls forgets a net.Error that
// says it is temporary, and remembers all others (Conn.readRecordOrCCS).
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return ErrAgain.Error() }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }
