package wstest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// client is our end of one connection.
type client struct {
	// Set by newClient, then read-only.
	conn    net.Conn
	timeout time.Duration
	most    int // bytes of a message that may come back

	// Owned by the case's goroutine.
	r         *bufio.Reader
	agreed    extension // zero: no compression
	inflater  inflater
	deflater  deflater
	writers   sync.WaitGroup // see write
	lastWrite chan struct{}  // closed when the last write is done
	open      byte           // first byte of the server's message under way; 0: none
	msg       []byte         // what has come of it
}

func newClient(target *Target) (*client, error) {
	conn, err := target.Dial()
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	done := make(chan struct{})
	close(done)
	c := &client{conn: conn, timeout: target.timeout(), most: target.Limit, lastWrite: done}
	c.r = bufio.NewReaderSize(guardedReader{c}, 16<<10)
	return c, nil
}

func (c *client) close() {
	c.conn.Close()
	c.writers.Wait()
}

// guardedReader gives every single read the whole timeout.
type guardedReader struct{ *client }

func (g guardedReader) Read(b []byte) (int, error) {
	g.conn.SetReadDeadline(time.Now().Add(g.timeout))
	return g.conn.Read(b)
}

// write writes b in pieces, after what was written before, and does not wait:
// a server may answer before it has read everything, and must not find that
// nobody reads. That a server has closed is found by reading.
func (c *client) write(b []byte, s split) {
	before, done := c.lastWrite, make(chan struct{})
	c.lastWrite = done
	c.writers.Go(func() {
		defer close(done)
		<-before
		for i := 0; len(b) > 0; i++ {
			n := min(s.size(i), len(b))
			c.conn.SetWriteDeadline(time.Now().Add(c.timeout))
			if _, err := c.conn.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	})
}

func (c *client) send(chunks []chunk, s split) {
	var b []byte
	for _, x := range chunks {
		b = x.appendTo(b, &c.deflater)
	}
	c.write(b, s)
}

// errEnded says that the server ended the TCP connection.
var errEnded = errors.New("the server ended the TCP connection without a Close frame")

func (c *client) readErr(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("nothing came within %v", c.timeout)
	}
	return errEnded // EOF, a reset, TLS that was cut
}

// next reads the next message or control frame and holds it against what a
// server may send.
func (c *client) next() (event, error) {
	for {
		most := c.most + c.most/1000 + 64 // what does not compress becomes longer
		head, payload, err := c.readFrame(most)
		if err != nil {
			return event{}, err
		}
		op := head & 0xf
		if isControl(op) {
			return controlEvent(op, payload)
		}
		if (op == opCont) != (c.open != 0) {
			return event{}, fmt.Errorf("§5.4: %s frame, message under way: %v", opNames[op], c.open != 0)
		}
		if op != opCont {
			c.open = head
		}
		if c.msg = append(c.msg, payload...); len(c.msg) > most {
			return event{}, fmt.Errorf("message of more than %d bytes, none was so long", c.most)
		}
		if head&fin != 0 {
			start, msg := c.open, c.msg
			c.open, c.msg = 0, nil
			return c.messageEvent(start, msg)
		}
	}
}

func (c *client) messageEvent(start byte, msg []byte) (event, error) {
	if start&rsv1 != 0 {
		var err error
		if msg, err = c.inflater.inflate(msg, c.most); err != nil {
			return event{}, fmt.Errorf("RFC 7692 §7.2.2: compressed answer: %w", err)
		}
	}
	if start&0xf == opText && !utf8.Valid(msg) {
		return event{}, fmt.Errorf("§5.6: text that is not UTF-8: %.60x", msg)
	}
	return event{op: start & 0xf, data: str(string(msg))}, nil
}

func controlEvent(op byte, payload []byte) (event, error) {
	if op != opClose {
		return event{op: op, data: str(string(payload))}, nil
	}
	if len(payload) == 0 {
		return event{op: op, code: noCode}, nil
	}
	if len(payload) == 1 {
		return event{}, errors.New("§5.5.1: Close frame of one byte")
	}
	e := event{op: op, code: int(binary.BigEndian.Uint16(payload)), data: str(string(payload[2:]))}
	switch {
	case e.code < 1000, e.code >= 1004 && e.code <= 1006, e.code == 1015, e.code >= 5000:
		return event{}, fmt.Errorf("§7.4: %v: this code may not be sent", e)
	case !utf8.Valid(payload[2:]):
		return event{}, fmt.Errorf("§5.5.1: reason is not UTF-8: %x", payload[2:])
	}
	return e, nil
}

// readFrame reads one frame of at most most bytes.
func (c *client) readFrame(most int) (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err := io.ReadFull(c.r, b[:2]); err != nil {
		return 0, nil, c.readErr(err)
	}
	head = b[0]
	if err := c.checkHead(head, b[1]); err != nil {
		return 0, nil, err
	}
	n := uint64(b[1])
	least := uint64(0)
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, b[:2])
		n, least = uint64(binary.BigEndian.Uint16(b[:])), 126
	case 127:
		_, err = io.ReadFull(c.r, b[:8])
		n, least = binary.BigEndian.Uint64(b[:]), 0x10000
	}
	if err != nil {
		return 0, nil, c.readErr(err)
	}
	if n < least {
		return 0, nil, fmt.Errorf("§5.2: length %d is not in its shortest form", n)
	}
	if n > uint64(most) {
		return 0, nil, fmt.Errorf("frame of %d bytes, no message was so long", n)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, c.readErr(err)
	}
	return head, payload, nil
}

// checkHead checks what the first two bytes of a server's frame say.
func (c *client) checkHead(head, second byte) error {
	op := head & 0xf
	compressed := head&rsvs == rsv1 && (op == opText || op == opBinary) && c.agreed.name != ""
	switch {
	case second&0x80 != 0:
		return errors.New("§5.1: a server must not mask")
	case opNames[op] == "":
		return fmt.Errorf("§5.2: reserved opcode %#x", op)
	case head&rsvs != 0 && !compressed:
		return fmt.Errorf("§5.2: reserved bits in first byte %#x", head)
	case isControl(op) && head&fin == 0:
		return errors.New("§5.5: fragmented control frame")
	case isControl(op) && second > 125:
		return errors.New("§5.5: control frame of more than 125 bytes")
	default:
		return nil
	}
}

// ended waits for the end of the TCP connection.
func (c *client) ended() error {
	b, err := c.r.ReadByte()
	if err == nil {
		return fmt.Errorf("§5.5.1: nothing may follow the Close frame, got byte %#x", b)
	}
	if err := c.readErr(err); !errors.Is(err, errEnded) {
		return fmt.Errorf("§7.1.1: the server must end the TCP connection: %w", err)
	}
	return nil
}
