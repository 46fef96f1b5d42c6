package tlsloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

var (
	// ErrAgain says that there is no more plaintext until more is fed.
	ErrAgain = errors.New("tlsloop: no whole record")
	// ErrFlood says that a client has sent too much before the end of its handshake:
	// more than 4 KiB before it began or 64 KiB while it ran, 1 MiB if few do.
	ErrFlood = errors.New("tlsloop: too much before the end of the handshake")
	// ErrBusy says that too many handshakes wait.
	ErrBusy = errors.New("tlsloop: too many handshakes wait")
	// ErrTimeout says that a handshake took too long.
	ErrTimeout = errors.New("tlsloop: handshake timed out")

	errUnread      = errors.New("tlsloop: BUG: Feed before Read has returned an error")
	errNotReady    = errors.New("tlsloop: write before the end of the handshake")
	errKeyUpdates  = errors.New("tlsloop: too many key updates without a write")
	errPostMessage = errors.New("tlsloop: a handshake message too long for this time")
)

const (
	// maxEarly is what any client may send while its handshake runs, in bytes: its
	// messages, and data behind its Finished that comes before we have seen that.
	maxEarly = 64 << 10

	// maxBurst is what one may send if not many do: who has a large message to send
	// sends it with the Finished, and a loop reads faster than a handshake ends. What
	// is above maxEarly comes out of maxBursts, which all share.
	maxBurst  = 1 << 20
	maxBursts = 16 << 20

	// maxHello is what any client may have waiting before its handshake has a
	// goroutine, in bytes. A ClientHello is seldom more than 2 KB. What is above comes
	// out of maxBursts too: else each of those who send a long one but for its last
	// byte would hold 18 KB, and have no bound but that of connections.
	maxHello = 4 << 10

	// maxUnsent bounds what crypto/tls wants to send of its own accord and nobody
	// takes, in bytes. The answer to a KeyUpdate is 27: a client could have one for
	// 50 bytes of its own, for ever.
	maxUnsent = 4 << 10

	// maxPostMessage bounds a handshake message after the handshake, in bytes.
	// crypto/tls would gather 64 KiB of it. A client's KeyUpdate is 5; a ClientHello,
	// to renegotiate, will be refused anyway.
	maxPostMessage = 2 << 10
)

// Conn is the server's end of one TLS connection. Its methods are called on the loop
// that owns it, one at a time. What it takes when idle is in the package comment.
type Conn struct {
	tls   *tls.Conn  // the handshake's goroutine's until it has called done
	hands *handshake // nil from Establish on

	// Used from Establish on.
	in   []byte // ciphertext that was fed and not cut into records; the caller's
	part []byte // the beginning of a record whose rest has not come
	cut  []byte // the record that wire.Read hands out; only if the layout is not known
	out  []byte // ciphertext to send
	more bool   // crypto/tls may have plaintext that is opened and not read

	err error // final: what Read returns from now on
}

// Handshaking says that Establish was not called, or too early: there is nothing to
// read and nothing may be written.
func (c *Conn) Handshaking() bool { return c.hands != nil }

// Establish ends the handshake for the loop: call it where done's nil has come
// through the mailbox, that is, behind all that send was called with. (If the loop
// saw the end earlier, what it writes could overtake the last flight.) Read should
// follow, until it returns an error: more may have come with the client's Finished.
func (c *Conn) Establish() {
	if h := c.hands; h != nil && c.err == nil {
		if in, ok := h.result(); ok {
			c.in, c.hands = in, nil
		}
	}
}

// Feed takes ciphertext that has arrived. Until Establish it is copied. From then on
// it is the Conn's until Read has returned an error, ErrAgain included: records are
// opened in its memory, which is overwritten, and only the beginning of one whose
// rest has not come is copied. An error means that the connection must be closed;
// one that Read has returned Read will return again.
func (c *Conn) Feed(in []byte) error {
	switch {
	case c.hands != nil && c.err == nil:
		return c.hands.feed(in)
	case c.err != nil || len(in) == 0:
		return nil
	case len(c.in) > 0 || c.more:
		return errUnread
	}
	c.in = in
	return nil
}

// Read puts plaintext into buf and returns how much. It allocates nothing when
// records arrive whole. Errors: ErrAgain when there is no more until more is fed;
// io.EOF when the client has said that it will send no more (it may still want to
// read); any other, the same for ever, when the connection must be closed. After an
// error see HasOutput: there may be an alert that says what was wrong.
//
// buf should have 16 KB, a record's most: with less a record takes several calls.
func (c *Conn) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, io.ErrShortBuffer
	}
	if c.hands != nil && c.err == nil {
		return 0, ErrAgain
	}
	for c.err == nil {
		if !c.more {
			record := c.next()
			if record == nil {
				c.keep()
				return 0, ErrAgain
			}
			if !layout.lend(c.tls, record) {
				c.cut = record
			}
		}
		n, err := c.tls.Read(buf)
		c.cut = nil // read whole
		unread, gathered := layout.trim(c.tls)
		c.more = unread && n == len(buf)
		c.judge(err, gathered)
		if n > 0 {
			return n, nil
		}
	}
	c.in, c.part = nil, nil
	return 0, c.err
}

// judge decides whether the connection can go on after a read.
func (c *Conn) judge(err error, gathered int) {
	switch {
	case err != nil && !errors.Is(err, errWouldBlock):
		c.err = err
	case gathered > maxPostMessage:
		c.err = errPostMessage
	case len(c.out) > maxUnsent:
		c.err = errKeyUpdates
	}
}

// next takes the next record from what has come; nil when none is whole.
func (c *Conn) next() []byte {
	if len(c.part) > 0 {
		if !c.complete(headerLen) || !c.complete(recordSize(c.part)) {
			return nil
		}
		record := c.part
		c.part = nil
		return record
	}
	if len(c.in) < headerLen || len(c.in) < recordSize(c.in) {
		return nil
	}
	n := recordSize(c.in)
	record := c.in[:n:n]
	c.in = c.in[n:]
	return record
}

// complete brings part to n bytes if there are so many.
func (c *Conn) complete(n int) bool {
	took := min(max(0, n-len(c.part)), len(c.in))
	c.part = append(c.part, c.in[:took]...)
	c.in = c.in[took:]
	return len(c.part) >= n
}

// keep copies what is left of the caller's memory.
func (c *Conn) keep() {
	if len(c.in) > 0 {
		c.part = append([]byte(nil), c.in...)
	}
	c.in = nil
}

// Append seals plain, if there is any, and appends the records to dst, behind what
// else there was to send. The caller writes them with one call, in the order of the
// calls of Append. Nothing of plain is kept, and nothing is allocated if dst has room.
// It fails before Establish, after AppendCloseNotify, and after a fatal alert; what it
// returns then is dst with what there was to send.
func (c *Conn) Append(dst, plain []byte) ([]byte, error) {
	if c.hands != nil {
		return dst, errNotReady
	}
	if c.tls == nil {
		return dst, net.ErrClosed
	}
	c.out = append(dst, c.out...)
	var err error
	if len(plain) > 0 {
		_, err = c.tls.Write(plain)
	}
	dst, c.out = c.out, nil
	return dst, err
}

// HasOutput says that crypto/tls wants to send something of its own accord: an
// alert, or the answer to a client's new key. Append takes it, without plaintext too.
func (c *Conn) HasOutput() bool { return len(c.out) > 0 }

// AppendCloseNotify appends what there is to send and TLS's goodbye (RFC 8446 §6.1),
// once, and not after a fatal alert. Reading goes on. Before Establish it appends
// nothing.
func (c *Conn) AppendCloseNotify(dst []byte) []byte {
	if c.hands != nil || c.tls == nil {
		return dst
	}
	c.out = append(dst, c.out...)
	if c.err == nil || errors.Is(c.err, io.EOF) {
		_ = c.tls.CloseWrite() // its error is of writing, which cannot fail
	}
	dst, c.out = c.out, nil
	return dst
}

// Close ends a handshake that is under way: send and done will not be called any
// more, unless they are just being called. It forgets everything and sends nothing.
// Every Conn must be closed; that may be at any time, and again.
func (c *Conn) Close() {
	c.err = net.ErrClosed
	if c.hands != nil {
		c.hands.close() // whose goroutine may still use c.tls
		return
	}
	*c = Conn{err: net.ErrClosed}
}
