package rpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// pingEvery keeps a silent stream alive; silentAfter ends one whose other end
	// is frozen or cut off. It is below the handshake timeout of clients (5 s): a
	// login that waits for a frozen job then still succeeds.
	pingEvery   = time.Second
	silentAfter = 4 * time.Second
	// maxQueued bounds what waits to be written to the other end, in bytes. A job's
	// credit window and a gateway's unconfirmed announcements stay below.
	maxQueued  = 32 << 20
	readSize   = 64 << 10
	writeSlice = 256 << 10
)

var (
	errBacklog = errors.New("the other end does not read")
	errClosed  = errors.New("the stream is closed")
)

// link is one end of a delivery stream: a TCP connection, what waits to be
// written to it, and why it ended. Writes are collected while one is under way
// and leave together.
type link struct {
	conn  net.Conn
	br    *bufio.Reader // of conn; used by read, and before it by who opens
	wake  chan struct{} // holds one token while queue is not empty
	ended chan struct{} // closed with the link

	mu sync.Mutex
	// guards below
	queue []byte
	err   error // why the link ended, nil while it lives
}

func newLink(conn net.Conn) *link {
	return &link{conn: conn, br: bufio.NewReaderSize(conn, readSize), wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// send queues a frame. It does not block.
func (l *link) send(typ byte, body func(dst []byte) []byte) error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	l.queue = appendFrame(l.queue, typ, body)
	full := len(l.queue) > maxQueued
	l.mu.Unlock()
	if full {
		l.end(errBacklog)
		return errBacklog
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// end closes the connection; the first reason counts.
func (l *link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.ended)
		_ = l.conn.Close() // whatever it says, we are done with it
	}
}

// reason is why the link ended.
func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// write writes what is queued until the link ends.
func (l *link) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var out []byte
	for {
		select {
		case <-l.ended:
			return
		case <-l.wake:
		case <-ping.C:
			// An error means that the link has ended, which the next turn sees.
			_ = l.send(framePing, func(dst []byte) []byte { return dst })
			continue
		}
		l.mu.Lock()
		out, l.queue = l.queue, out[:0]
		l.mu.Unlock()
		if err := l.writeAll(out); err != nil {
			l.end(err)
			return
		}
		if cap(out) > maxFrame {
			out = nil // do not keep what one burst needed
		}
	}
}

// writeAll writes in slices, each with a deadline of its own: a slow line may take
// long for all, but not for one.
func (l *link) writeAll(out []byte) error {
	for len(out) > 0 {
		n := min(len(out), writeSlice)
		if err := l.conn.SetWriteDeadline(time.Now().Add(silentAfter)); err != nil {
			return err
		}
		if _, err := l.conn.Write(out[:n]); err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// read hands every frame to handle until the link ends or handle fails. The
// payload is handle's to keep.
func (l *link) read(handle func(typ byte, payload []byte) error) {
	for {
		typ, payload, err := l.readFrame()
		if err == nil && typ != framePing {
			err = handle(typ, payload)
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

func (l *link) readFrame() (typ byte, payload []byte, err error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(silentAfter)); err != nil {
		return 0, nil, err
	}
	var head [frameHead]byte
	if _, err := io.ReadFull(l.br, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 1 || size > maxFrame {
		return 0, nil, fmt.Errorf("%w: %d bytes, from 1 to %d are allowed", errFrame, size, maxFrame)
	}
	payload = make([]byte, size-1)
	_, err = io.ReadFull(l.br, payload)
	return head[4], payload, err
}
