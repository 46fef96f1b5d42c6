package swarm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tlsEnd is a client's end of TLS. The handshake runs on a goroutine of its own;
// from then on the loop reads and writes.
type tlsEnd struct {
	conn *tls.Conn
	wire tlsWire
}

// tlsWire is the socket below TLS. After the handshake a read without bytes fails
// with an error that is Temporary, which crypto/tls takes for no failure (Go 1.26,
// crypto/tls/conn.go, readRecordOrCCS).
type tlsWire struct {
	fd    int
	hands bool // the handshake is under way: wait for bytes
	until time.Time
}

// secure begins the handshake of c. Certificates are not verified: a test server
// has made its own, and who it is is not what is measured.
func (s *Swarm) secure(c *client) {
	if err := s.watch(c, unix.EPOLL_CTL_MOD, 0); err != nil {
		s.end(c, err.Error())
		return
	}
	// The descriptor is the handshake's until it is done: the loop must not close
	// it meanwhile, so it has a copy.
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		s.end(c, "dup: "+err.Error())
		return
	}
	end := &tlsEnd{wire: tlsWire{fd: fd, hands: true, until: time.Now().Add(s.spec.Patience)}}
	end.conn = tls.Client(&end.wire, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	c.state = securing
	was := c.begun
	go func() { // ends within the spec's patience
		err := end.conn.Handshake()
		_ = unix.Close(fd)
		s.post(func() { s.secured(c, was, end, err) })
	}()
}

// secured goes on with c when its handshake has ended, if it is still the same.
func (s *Swarm) secured(c *client, begun time.Duration, end *tlsEnd, err error) {
	switch {
	case int(c.index) >= len(s.clients) || c != &s.clients[c.index] || c.state != securing || c.begun != begun:
		// closed meanwhile
	case err != nil:
		s.end(c, fmt.Sprintf("TLS: %v", err))
	default:
		end.wire.fd, end.wire.hands = int(c.fd), false
		c.tls = end
		s.begin(c)
		// What came behind the handshake may be in crypto/tls already: epoll does not tell.
		if c.state != closed {
			s.read(c)
		}
	}
}

func (w *tlsWire) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(w.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && w.hands:
			if err := w.await(); err != nil {
				return 0, err
			}
		case errors.Is(err, unix.EAGAIN):
			return 0, wouldBlock{}
		case err != nil:
			return 0, err
		case n == 0:
			return 0, net.ErrClosed
		default:
			return n, nil
		}
	}
}

// await waits for bytes, in a handshake.
func (w *tlsWire) await() error {
	left := time.Until(w.until)
	if left <= 0 {
		return os.ErrDeadlineExceeded
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// Write writes what is so little that it always fits.
func (w *tlsWire) Write(b []byte) (int, error) { return unix.Write(w.fd, b) }

func (w *tlsWire) Close() error                     { return nil }
func (w *tlsWire) LocalAddr() net.Addr              { return nil }
func (w *tlsWire) RemoteAddr() net.Addr             { return nil }
func (w *tlsWire) SetDeadline(time.Time) error      { return nil }
func (w *tlsWire) SetReadDeadline(time.Time) error  { return nil }
func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// wouldBlock is the error of a read without bytes.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no bytes yet" }
func (wouldBlock) Timeout() bool   { return false }
func (wouldBlock) Temporary() bool { return true }
