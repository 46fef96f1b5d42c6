package testkit

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

const (
	// clientTimeout bounds every wait of a Client that does not say otherwise.
	clientTimeout = 10 * time.Second
	// maxMessage bounds what a server sends at once.
	maxMessage = 16 << 20
	// maxAside bounds the packets that a Client keeps for a later call. Beyond
	// it the test reads the wrong thing.
	maxAside = 1 << 17
)

// ErrTimeout is why a method of Client gave up waiting.
var ErrTimeout = errors.New("nothing came in time")

// Client is a goim client for tests, over TCP or WebSocket. It blocks, never
// longer than Timeout, and has no goroutine: it reads when it is asked for
// something.
//
// What arrives and was not asked for is kept and given out, in order, when it
// is. Pushes are told from answers as goim's clients do: over WebSocket they
// come in an op 9, over TCP their seq is 0 and their op is no answer's
// (docs/protocol.md §8); so packets sent with Send should have a seq, and Auth and
// Heartbeat give them one.
//
// Methods without Err in their name fail the test and must be called on its
// goroutine. The Err variants may be used elsewhere, one goroutine at a time;
// sending and receiving may be two.
type Client struct {
	// Timeout of every wait, 10 s. It may be changed after Dial, before the
	// client is used.
	Timeout time.Duration

	// Set by Dial, then read-only.
	t     testing.TB
	conn  net.Conn
	ws    bool
	json  bool
	rules ws.Rules

	seq atomic.Int32 // of the last packet that Auth or Heartbeat sent

	// Owned by the receiver.
	in         []byte            // read and not yet used
	asm        ws.Assembler      // of WebSocket
	aside      []protocol.Packet // outer packets, kept for a later call
	pushes     []protocol.Packet // inner packets, kept for Push
	code       ws.StatusCode     // of the server's close frame
	reason     string
	compressed int
}

// Options say how a Client speaks. The zero value is goim's packets over TCP.
type Options struct {
	WS      bool // over WebSocket, with the path that goim's clients use
	JSON    bool // in JSON packets; needs WS
	Deflate bool // offer permessage-deflate, and fail without it; needs WS
	TLS     bool // inside TLS, whose certificate is not checked
}

// Dial connects and, over WebSocket, checks the server's answer. The connection is
// closed when the test ends.
func Dial(t testing.TB, addr string, o Options) *Client {
	t.Helper()
	c, err := DialErr(t, addr, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// DialErr is Dial for other goroutines than the test's.
func DialErr(t testing.TB, addr string, o Options) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, clientTimeout)
	if err != nil {
		return nil, err
	}
	if o.TLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	c := &Client{Timeout: clientTimeout, t: t, conn: conn, ws: o.WS, json: o.JSON, rules: ws.Rules{Limit: maxMessage}}
	t.Cleanup(c.Close)
	if !o.WS {
		return c, nil
	}
	if err := c.upgrade(addr, o.Deflate); err != nil {
		c.Close()
		return nil, fmt.Errorf("upgrade at %s: %w", addr, err)
	}
	return c, nil
}

// DialTCP connects over TCP.
func DialTCP(t testing.TB, addr string) *Client {
	t.Helper()
	return Dial(t, addr, Options{})
}

// DialTCPErr is DialTCP for other goroutines than the test's.
func DialTCPErr(t testing.TB, addr string) (*Client, error) { return DialErr(t, addr, Options{}) }

// DialWS connects over WebSocket.
func DialWS(t testing.TB, addr string) *Client {
	t.Helper()
	return Dial(t, addr, Options{WS: true})
}

// DialWSErr is DialWS for other goroutines than the test's.
func DialWSErr(t testing.TB, addr string) (*Client, error) {
	return DialErr(t, addr, Options{WS: true})
}

func (c *Client) upgrade(addr string, deflate bool) error {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], rand.Uint64())
	binary.BigEndian.PutUint64(raw[8:], rand.Uint64())
	request := ws.Request{Host: addr, Path: ws.Path, Key: base64.StdEncoding.EncodeToString(raw[:]), Deflate: deflate}
	if err := c.SendRawErr(request.Append(nil)); err != nil {
		return err
	}
	deadline := time.Now().Add(c.Timeout)
	for {
		n, err := ws.Head(c.in)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := c.fill(deadline); err != nil {
				return err
			}
			continue
		}
		agreed, err := request.Check(c.in[:n])
		if err != nil {
			return err
		}
		if agreed.Deflate != deflate {
			return errors.New("permessage-deflate was not agreed on")
		}
		if deflate {
			c.rules.Inflate = ws.NewInflater()
		}
		c.in = c.in[n:]
		return nil
	}
}

// Compressed is how many compressed messages have come.
func (c *Client) Compressed() int { return c.compressed }

// Conn is the connection, for tests that need to treat it badly.
func (c *Client) Conn() net.Conn { return c.conn }

// Close closes the connection without a word, as a phone does that has lost its
// network. It may be called again.
func (c *Client) Close() { _ = c.conn.Close() }

// CloseCode is the code of the close frame that the server has sent, and so far
// was read: 0 if none, 1005 if it had no code. TCP has no close frames.
func (c *Client) CloseCode() ws.StatusCode { return c.code }

// CloseReason is the reason in that frame.
func (c *Client) CloseReason() string { return c.reason }

// fill waits for more bytes.
func (c *Client) fill(deadline time.Time) error {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	// Only the room behind c.in is written to: packets that were given out
	// alias what is before.
	c.in = slices.Grow(c.in, 4096)
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	default:
		return err
	}
}

// next reads one outer packet. Its body is not used again.
func (c *Client) next(deadline time.Time) (protocol.Packet, error) {
	for {
		p, ok, err := c.take()
		if ok || err != nil {
			return p, err
		}
		if err := c.fill(deadline); err != nil {
			if c.code != 0 && !errors.Is(err, ErrTimeout) {
				err = fmt.Errorf("closed with %d %q: %w", c.code, c.reason, err)
			}
			return protocol.Packet{}, err
		}
	}
}

// take takes one outer packet from what was read.
func (c *Client) take() (p protocol.Packet, ok bool, err error) {
	if !c.ws {
		p, n, err := protocol.Parse(c.in, maxMessage)
		c.in = c.in[n:]
		return p, n > 0, err
	}
	for {
		first := byte(0)
		if len(c.in) > 0 {
			first = c.in[0]
		}
		n, op, payload, done, err := c.asm.NextFromServer(c.in, &c.rules)
		if err != nil || n == 0 {
			return protocol.Packet{}, false, err
		}
		c.in = c.in[n:]
		if !done {
			continue
		}
		if c.code != 0 {
			return protocol.Packet{}, false, fmt.Errorf("opcode %d after the close frame", op)
		}
		if !op.IsControl() {
			if first&rsv1 != 0 {
				c.compressed++
			}
			p, err := c.oneMessage(op, payload)
			return p, err == nil, err
		}
		if err := c.control(op, payload); err != nil {
			return protocol.Packet{}, false, err
		}
	}
}

// rsv1 is the bit of a compressed frame (RFC 7692 §6).
const rsv1 = 0x40

// oneMessage holds a message to docs/protocol.md §3.2 and §11: binary, exactly one
// packet, or text, one packet in JSON.
func (c *Client) oneMessage(op ws.OpCode, payload []byte) (protocol.Packet, error) {
	payload = bytes.Clone(payload) // what was inflated is used again
	if want, name := ws.OpBinary, "binary"; !c.json && op != want || c.json && op == want {
		if c.json {
			name = "text"
		}
		return protocol.Packet{}, fmt.Errorf("message has opcode %d, want %s: %q", op, name, payload)
	}
	if c.json {
		return protocol.ParseJSON(payload, maxMessage)
	}
	p, err := protocol.ParseMessage(payload, -1)
	if err == nil && len(p.Body)+protocol.HeaderSize != len(payload) {
		err = fmt.Errorf("message of %d bytes has a packet of %d", len(payload), len(p.Body)+protocol.HeaderSize)
	}
	return p, err
}

// control answers pings and close frames. The server may be gone already.
func (c *Client) control(op ws.OpCode, payload []byte) error {
	answer := op
	switch op {
	case ws.OpPing:
		answer = ws.OpPong
	case ws.OpClose:
		code, err := ws.CheckClose(payload)
		if err != nil {
			return err
		}
		if c.code = code; len(payload) > 2 {
			c.reason = string(payload[2:])
		}
	default:
		return nil
	}
	if err := c.SendFrameErr(answer, payload); err != nil && !closed(err) {
		return err
	}
	return nil
}

// closed says whether err is the end of the connection. A server that closes
// before it has read all we sent resets it.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
