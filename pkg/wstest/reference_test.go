package wstest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// reference is an echo server as plain as it can be: a goroutine that reads and
// one case after the other. flaw makes it wrong in one place.
type reference struct {
	limit, frames, head int
	deflate             bool
	flaw                string
}

const (
	testLimit  = 256 << 10
	testFrames = 1 << 17
	testHead   = 8 << 10
)

// serve accepts connections on l until the test ends.
func serve(t *testing.T, l net.Listener, handle func(net.Conn)) {
	var (
		all sync.WaitGroup
		mu  sync.Mutex
		// guards below
		open  = map[net.Conn]bool{}
		ended bool
	)
	all.Go(func() { // until l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if open[conn] = true; ended {
				conn.Close()
			}
			mu.Unlock()
			all.Go(func() {
				handle(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		ended = true
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start serves r and returns the target that it is.
func (r reference) start(t *testing.T) Target {
	t.Helper()
	l := listen(t)
	serve(t, l, r.handle)
	return Target{Dial: func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, Path: "/echo",
		Limit: r.limit, Frames: r.frames, Head: r.head, Deflate: r.deflate, Subprotocols: true, Strict: true}
}

// peer is one connection of a reference server.
type peer struct {
	reference
	conn net.Conn
	r    *bufio.Reader

	agreed  map[string]string // parameters of permessage-deflate; nil: none
	history []byte            // what the client compressed
	late    [][]byte          // pongs, for a flaw
	out     *flate.Writer
	outBuf  bytes.Buffer
}

// failed is a close code.
type failed int

func (f failed) Error() string { return fmt.Sprintf("close code %d", int(f)) }

func (r reference) handle(conn net.Conn) {
	p := &peer{reference: r, conn: conn, r: bufio.NewReader(conn)}
	if !p.handshake() {
		return
	}
	err := p.messages()
	if f := failed(0); errors.As(err, &f) && !p.is("no close frames") {
		if p.is("always 1002") {
			f = 1002
		}
		p.write(opClose, binary.BigEndian.AppendUint16(nil, uint16(f)))
	}
}

func (p *peer) is(flaw string) bool { return p.flaw == flaw }

func (p *peer) write(head byte, payload []byte) {
	b := []byte{head | fin}
	if p.is("reserved bits of its own") {
		b[0] |= rsv3
	}
	mask := byte(0)
	if p.is("masks") {
		mask = 0x80
	}
	switch n := len(payload); {
	case n > 0xffff || p.is("long lengths"):
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	case n > 125:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = append(b, mask|byte(n))
	}
	if mask != 0 {
		b = append(b, 0, 0, 0, 0)
	}
	_, _ = p.conn.Write(append(b, payload...)) // a client that has gone is seen by reading
}

// messages echoes until something ends the connection.
func (p *peer) messages() error {
	var start byte
	var msg []byte
	frames := 0
	for {
		head, payload, err := p.readFrame(start, len(msg))
		if err != nil {
			return err
		}
		op := head & 0xf
		if isControl(op) {
			if p.is("late pongs") && op == opPing && start != 0 {
				p.late = append(p.late, payload)
				continue
			}
			if err := p.control(op, payload); err != nil {
				return err
			}
			continue
		}
		if op != opCont {
			start, frames = head|fin, 0
		}
		if p.is("utf-8 of each frame") && start&0xf == opText && !utf8.Valid(payload) {
			return failed(1007)
		}
		msg = append(msg, payload...)
		if frames++; frames > p.frames {
			return failed(1008)
		}
		if head&fin == 0 {
			continue
		}
		if p.is("loses the middle of messages") && frames > 2 {
			msg = msg[:1]
		}
		if err := p.message(start, msg); err != nil {
			return err
		}
		start, msg = 0, nil
		for _, late := range p.late {
			p.write(opPong, late)
		}
		p.late = nil
	}
}

// readFrame checks what can be checked of a frame. start is 0 outside a message.
func (p *peer) readFrame(start byte, have int) (head byte, payload []byte, err error) {
	var b [8]byte
	if _, err := io.ReadFull(p.r, b[:2]); err != nil {
		return 0, nil, err
	}
	head, n, least := b[0], uint64(b[1]&0x7f), uint64(0)
	masked, control, op := b[1]&0x80 != 0, isControl(b[0]&0xf), b[0]&0xf
	zip := p.agreed != nil && (op == opText || op == opBinary || p.is("bit on continuation") && op == opCont)
	bad := head&rsvs != 0 && (!zip || head&rsvs != rsv1) && !p.is("reserved bits") || opNames[op] == "" && !p.is("reserved opcodes") ||
		!masked && !p.is("unmasked") || control && (head&fin == 0 && !p.is("fragmented control") || n > 125 && !p.is("long control"))
	if !control {
		bad = bad || op == opCont && start == 0 && !p.is("orphans") || op != opCont && start != 0 && !p.is("interleaved")
	}
	if bad {
		return 0, nil, failed(1002)
	}
	if p.is("whole headers only") && p.r.Buffered() < 4 {
		return 0, nil, failed(1002)
	}
	switch n {
	case 126:
		_, err = io.ReadFull(p.r, b[:2])
		n, least = uint64(binary.BigEndian.Uint16(b[:])), 126
	case 127:
		_, err = io.ReadFull(p.r, b[:8])
		n, least = binary.BigEndian.Uint64(b[:]), 0x10000
	}
	switch {
	case err != nil:
		return 0, nil, err
	case n < least && !p.is("not minimal"), n >= 1<<63:
		return 0, nil, failed(1002)
	case p.is("limit of each frame") && n <= uint64(p.limit):
	case p.is("limit exclusive") && n == uint64(p.limit):
		return 0, nil, failed(1009)
	case !control && n > uint64(p.limit-have) && (!p.is("no limit") || n > 1<<30):
		return 0, nil, failed(1009)
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(p.r, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return head, payload, nil
}

func (p *peer) control(op byte, payload []byte) error {
	switch op {
	case opPing:
		if p.is("empty pongs") {
			payload = nil
		}
		p.write(opPong, payload)
	case opClose:
		return p.closed(payload)
	}
	return nil
}

func (p *peer) closed(payload []byte) error {
	if len(payload) == 0 {
		p.write(opClose, nil)
		return io.EOF
	}
	if len(payload) == 1 {
		return failed(1002)
	}
	code := int(binary.BigEndian.Uint16(payload))
	good := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code < 5000
	switch {
	case !good && !p.is("any close code"):
		return failed(1002)
	case !utf8.Valid(payload[2:]) && !p.is("no utf-8 in reasons"):
		return failed(1007)
	}
	switch {
	case p.is("always 1000"):
		payload = []byte{3, 0xe8}
	case p.is("always 1001"):
		payload = []byte{3, 0xe9}
	}
	p.write(opClose, payload)
	if p.is("goes on after close") {
		return nil
	}
	if p.is("keeps the connection") {
		_, _ = io.Copy(io.Discard, p.r)
	}
	return io.EOF
}

func (p *peer) message(start byte, msg []byte) (err error) {
	if start&rsv1 != 0 && p.agreed != nil {
		if msg, err = p.inflate(msg); err != nil {
			return err
		}
	}
	op := start & 0xf
	if op == opText && !utf8.Valid(msg) && !p.is("no utf-8") {
		return failed(1007)
	}
	switch {
	case p.is("text as binary"):
		op = opBinary
	case p.is("never echoes"), p.is("drops empty messages") && len(msg) == 0:
		return nil
	case p.agreed != nil && len(msg) > 2:
		p.write(op|rsv1, p.deflated(msg))
		return nil
	}
	p.write(op, msg)
	return nil
}

func (p *peer) inflate(msg []byte) ([]byte, error) {
	_, fresh := p.agreed[clientNoTakeover]
	if fresh || p.is("forgets the window") {
		p.history = nil
	}
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(msg), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")), p.history)
	out, err := io.ReadAll(io.LimitReader(r, int64(p.limit)+1))
	switch {
	case err != nil && !p.is("bad deflate"):
		return nil, failed(1007)
	case len(out) > p.limit && !p.is("bombs"):
		return nil, failed(1009)
	}
	p.history = append(p.history, out...)
	p.history = bytes.Clone(p.history[max(0, len(p.history)-1<<15):])
	return out, nil
}

func (p *peer) deflated(msg []byte) []byte {
	if _, fresh := p.agreed[serverNoTakeover]; p.out == nil || fresh && !p.is("keeps its window") {
		p.out, _ = flate.NewWriter(&p.outBuf, flate.BestSpeed) // the level is right
	}
	p.outBuf.Reset()
	_, _ = p.out.Write(msg)
	_ = p.out.Flush()
	return bytes.Clone(bytes.TrimSuffix(p.outBuf.Bytes(), []byte("\x00\x00\xff\xff")))
}
