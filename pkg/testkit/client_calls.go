package testkit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// must fails the test with err and what was being done.
func (c *Client) must(err error, what string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// Auth authenticates with token, and wants op 8 without a body.
func (c *Client) Auth(token string) {
	c.t.Helper()
	c.must(c.AuthErr(token), "auth")
}

// AuthErr is Auth for other goroutines than the test's.
func (c *Client) AuthErr(token string) error {
	p, err := c.call(protocol.OpAuth, protocol.OpAuthReply, []byte(token))
	if err == nil && len(p.Body) != 0 {
		err = fmt.Errorf("auth was answered with body %q", p.Body)
	}
	return err
}

// Heartbeat sends one, and returns how many are online in the room.
func (c *Client) Heartbeat() int32 {
	c.t.Helper()
	n, err := c.HeartbeatErr()
	c.must(err, "heartbeat")
	return n
}

// HeartbeatErr is Heartbeat for other goroutines than the test's.
func (c *Client) HeartbeatErr() (int32, error) {
	p, err := c.call(protocol.OpHeartbeat, protocol.OpHeartbeatReply, nil)
	if err != nil {
		return 0, err
	}
	if c.json {
		n, err := strconv.ParseInt(string(p.Body), 10, 32)
		return int32(n), err
	}
	if len(p.Body) != 4 {
		return 0, fmt.Errorf("heartbeat was answered with body %x, want 4 bytes", p.Body)
	}
	return int32(binary.BigEndian.Uint32(p.Body)), nil
}

// call sends a packet and waits for its answer, which must repeat ver and seq.
func (c *Client) call(op, reply protocol.Op, body []byte) (protocol.Packet, error) {
	sent := protocol.Packet{Ver: 1, Op: op, Seq: c.seq.Add(1), Body: body}
	if err := c.SendErr(sent); err != nil {
		return protocol.Packet{}, err
	}
	p, err := c.RecvOpErr(reply)
	if err == nil && (p.Ver != sent.Ver || p.Seq != sent.Seq) {
		err = fmt.Errorf("answer has ver %d, seq %d; sent were %d, %d", p.Ver, p.Seq, sent.Ver, sent.Seq)
	}
	return p, err
}

// Send sends p, over WebSocket in a binary frame of its own.
func (c *Client) Send(p protocol.Packet) {
	c.t.Helper()
	c.must(c.SendErr(p), "send")
}

// SendErr is Send for other goroutines than the test's.
func (c *Client) SendErr(p protocol.Packet) error {
	if c.json {
		return c.SendFrameErr(ws.OpText, protocol.AppendJSON(nil, p))
	}
	b := protocol.AppendPacket(nil, p)
	if c.ws {
		return c.SendFrameErr(ws.OpBinary, b)
	}
	return c.SendRawErr(b)
}

// SendFrame sends one WebSocket frame, correctly masked.
func (c *Client) SendFrame(op ws.OpCode, payload []byte) {
	c.t.Helper()
	c.must(c.SendFrameErr(op, payload), "send a frame")
}

// SendFrameErr is SendFrame for other goroutines than the test's.
func (c *Client) SendFrameErr(op ws.OpCode, payload []byte) error {
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32())
	return c.SendRawErr(ws.AppendClientFrame(nil, op, mask, payload))
}

// SendRaw sends bytes as they are, over WebSocket too: no frame is put around
// them.
func (c *Client) SendRaw(b []byte) {
	c.t.Helper()
	c.must(c.SendRawErr(b), "send bytes")
}

// SendRawErr is SendRaw for other goroutines than the test's.
func (c *Client) SendRawErr(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// Recv is the next packet of any kind as it came: over WebSocket pushes are in
// the body of an op 9. Its body is the caller's.
func (c *Client) Recv() protocol.Packet {
	c.t.Helper()
	p, err := c.RecvErr()
	c.must(err, "receive")
	return p
}

// RecvErr is Recv for other goroutines than the test's. The error is ErrTimeout
// when nothing came in time, and another one when the connection has ended.
func (c *Client) RecvErr() (protocol.Packet, error) {
	return c.recv(time.Now().Add(c.Timeout), func(protocol.Packet) bool { return true })
}

// RecvOp is the next packet with op; others are kept for later calls.
func (c *Client) RecvOp(op protocol.Op) protocol.Packet {
	c.t.Helper()
	p, err := c.RecvOpErr(op)
	c.must(err, fmt.Sprintf("receive op %d", op))
	return p
}

// RecvOpErr is RecvOp for other goroutines than the test's.
func (c *Client) RecvOpErr(op protocol.Op) (protocol.Packet, error) {
	return c.recv(time.Now().Add(c.Timeout), func(p protocol.Packet) bool { return p.Op == op })
}

// recv is the first packet that is wanted, of those kept and those to come.
func (c *Client) recv(deadline time.Time, wanted func(protocol.Packet) bool) (protocol.Packet, error) {
	for i, p := range c.aside {
		if wanted(p) {
			if i == 0 {
				c.aside = c.aside[1:]
			} else {
				c.aside = slices.Delete(c.aside, i, i+1)
			}
			return p, nil
		}
	}
	for {
		p, err := c.next(deadline)
		if err != nil || wanted(p) {
			return p, err
		}
		if len(c.aside) >= maxAside {
			return p, fmt.Errorf("%d packets wait for a call that takes them", maxAside)
		}
		c.aside = append(c.aside, p)
	}
}

// Push is the next pushed packet, out of its op 9 if it had one; answers are
// kept for later calls. Its body is the caller's.
func (c *Client) Push() protocol.Packet {
	c.t.Helper()
	p, err := c.PushErr()
	c.must(err, "receive a push")
	return p
}

// PushErr is Push for other goroutines than the test's.
func (c *Client) PushErr() (protocol.Packet, error) {
	if len(c.pushes) == 0 {
		outer, err := c.recv(time.Now().Add(c.Timeout), c.isPush)
		if err != nil {
			return protocol.Packet{}, err
		}
		if c.pushes, err = c.inner(outer); err != nil {
			return protocol.Packet{}, err
		}
	}
	p := c.pushes[0]
	c.pushes = c.pushes[1:]
	return p, nil
}

func (c *Client) isPush(p protocol.Packet) bool {
	if c.ws {
		return p.Op == protocol.OpRaw && p.Seq == 0
	}
	switch p.Op {
	case protocol.OpHeartbeatReply, protocol.OpAuthReply, protocol.OpChangeRoomReply, protocol.OpSubReply, protocol.OpUnsubReply:
		return false
	default:
		return p.Seq == 0
	}
}

// inner holds pushed packets to docs/protocol.md §8 and takes them out of op 9.
func (c *Client) inner(outer protocol.Packet) (inner []protocol.Packet, err error) {
	if outer.Ver != protocol.PushVer {
		return nil, fmt.Errorf("push has ver %d, want %d", outer.Ver, protocol.PushVer)
	}
	if !c.ws {
		if outer.Op == protocol.OpRaw {
			return nil, errors.New("op 9 over TCP, where pushes come without it")
		}
		return []protocol.Packet{outer}, nil
	}
	for rest := outer.Body; len(rest) > 0; {
		p, n, err := c.innerOne(rest)
		if err != nil {
			return nil, fmt.Errorf("in op 9: %w", err)
		}
		if p.Ver != protocol.PushVer || p.Seq != 0 {
			return nil, fmt.Errorf("push in op 9 has ver %d, seq %d; want %d, 0", p.Ver, p.Seq, protocol.PushVer)
		}
		inner, rest = append(inner, p), rest[n:]
	}
	if len(inner) == 0 {
		return nil, errors.New("op 9 without a packet in it")
	}
	return inner, nil
}

// innerOne takes the first of the packets in an op 9: in JSON an array of them.
func (c *Client) innerOne(rest []byte) (p protocol.Packet, n int, err error) {
	if !c.json {
		p, n, err = protocol.Parse(rest, -1)
		if err == nil && n == 0 {
			err = protocol.ErrShort
		}
		return p, n, err
	}
	if rest[0] != '[' && rest[0] != ',' {
		return p, 0, fmt.Errorf("%q instead of an array", rest)
	}
	d := json.NewDecoder(bytes.NewReader(rest[1:]))
	var one json.RawMessage
	if err := d.Decode(&one); err != nil {
		return p, 0, err
	}
	if n = 1 + int(d.InputOffset()); string(rest[n:]) == "]" {
		n++
	}
	p, err = protocol.ParseJSON(one, maxMessage)
	return p, n, err
}

// ExpectClosed waits until the server has closed the connection, and returns
// what it had sent before. Over WebSocket CloseCode says why.
func (c *Client) ExpectClosed() []protocol.Packet {
	c.t.Helper()
	var before []protocol.Packet
	for {
		p, err := c.RecvErr()
		switch {
		case err == nil:
			before = append(before, p)
		case closed(err):
			return before
		default:
			c.t.Fatalf("expected the server to close the connection: %v, after %d packets", err, len(before))
		}
	}
}

// ExpectNothing reads for d, and fails the test if a packet comes, if one came
// that nobody has taken, or if the connection ends. It always takes all of d: a
// last resort, for what cannot be shown by something else that comes instead.
func (c *Client) ExpectNothing(d time.Duration) {
	c.t.Helper()
	if len(c.pushes) > 0 {
		c.t.Fatalf("expected nothing: %d pushes were not taken, the first is %+v", len(c.pushes), c.pushes[0])
	}
	p, err := c.recv(time.Now().Add(d), func(protocol.Packet) bool { return true })
	switch {
	case err == nil:
		c.t.Fatalf("expected nothing: op %d, seq %d, body %q came", p.Op, p.Seq, p.Body)
	case !errors.Is(err, ErrTimeout):
		c.t.Fatalf("expected nothing: %v", err)
	case c.code != 0:
		c.t.Fatalf("expected nothing: a close frame came, %d %q", c.code, c.reason)
	}
}
