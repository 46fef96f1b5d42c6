package bench

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// fakeConn is a client's connection as the fake sees it: a reader and a writer.
type fakeConn struct {
	f      *fake
	conn   net.Conn
	overWS bool

	// Owned by the reader.
	in  []byte
	asm ws.Assembler

	// Set by op 7 before it is in fake.clients, then read-only.
	token  token
	number int

	// Guarded by fake.mu.
	came int // messages for it so far
	held []held

	mu   sync.Mutex
	more sync.Cond
	// guards below
	out  []outgoing
	gone bool
}

// token is the body of op 7.
type token struct {
	Mid     int64   `json:"mid"`
	Key     string  `json:"key"`
	Room    string  `json:"room_id"`
	Accepts []int32 `json:"accepts"`
}

// held is what is to be written when message k has been.
type held struct {
	k   int
	out []byte
}

// outgoing is bytes to be written, not before a time; then the connection may be
// closed.
type outgoing struct {
	bytes  []byte
	at     time.Time
	closes bool
}

// serve takes a connection over.
func (f *fake) serve(conn net.Conn, overWS bool) {
	c := &fakeConn{f: f, conn: conn, overWS: overWS}
	c.more.L = &c.mu
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		conn.Close()
		return
	}
	f.conns[c] = true
	f.running.Go(func() { // until either end closes it
		c.read()
		c.close()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, c)
		if f.clients[c.number] == c {
			delete(f.clients, c.number)
		}
	})
	f.running.Go(c.write) // likewise
}

func (c *fakeConn) close() {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.more.Signal()
	c.conn.Close()
}

// send has the writer write b after the delay.
func (c *fakeConn) send(b []byte, wait time.Duration) {
	c.queue(outgoing{bytes: b, at: time.Now().Add(wait)})
}

func (c *fakeConn) queue(o outgoing) {
	c.mu.Lock()
	c.out = append(c.out, o)
	c.mu.Unlock()
	c.more.Signal()
}

// write writes what is queued, in order.
func (c *fakeConn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.gone {
			c.more.Wait()
		}
		list := c.out
		c.out = nil
		gone := c.gone
		c.mu.Unlock()
		for _, o := range list {
			if wait := time.Until(o.at); wait > 0 && !gone {
				time.Sleep(wait) // a slow server, which is what it is for
			}
			_, _ = c.conn.Write(o.bytes) // the reader finds out why it failed
			if o.closes {
				c.close()
			}
		}
		if gone {
			return
		}
	}
}

// read handles what the client sends until the connection ends.
func (c *fakeConn) read() {
	upgraded := !c.overWS
	buf := make([]byte, 1024)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		c.in = append(c.in, buf[:n]...)
		if !upgraded {
			if upgraded = c.upgrade(); !upgraded {
				continue
			}
		}
		for p, ok := c.next(); ok; p, ok = c.next() {
			c.packet(p)
		}
		if len(c.in) == 0 {
			c.in = nil
		}
	}
}

// upgrade answers the request once it is there.
func (c *fakeConn) upgrade() bool {
	n, err := ws.Head(c.in)
	if n == 0 || err != nil {
		return false
	}
	out, _, err := ws.NewUpgrader(ws.Options{}).Upgrade(nil, c.in[:n])
	if err != nil {
		c.f.t.Errorf("upgrade: %v", err)
	}
	c.in = c.in[n:]
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.f.upgrades++
	if c.f.upgrades <= c.f.plan.refuse {
		c.f.did[refused]++
		c.queue(outgoing{bytes: ws.AppendBusy(nil, time.Second, nil), closes: true})
		return true
	}
	c.send(out, 0)
	return true
}

// next is the next packet that has arrived.
func (c *fakeConn) next() (p protocol.Packet, ok bool) {
	var err error
	if !c.overWS {
		var n int
		if p, n, err = protocol.Parse(c.in, protocol.MaxBody); n > 0 {
			c.in = c.in[n:]
			ok = true
		}
	} else if n, op, payload, done, failed := c.asm.Next(c.in, &ws.Rules{Limit: 1 << 16}); failed != nil {
		err = failed
	} else if c.in = c.in[n:]; done && op == ws.OpBinary {
		p, err = protocol.ParseMessage(payload, protocol.MaxBody)
		ok = err == nil
	}
	if err != nil {
		c.f.t.Errorf("a client's bytes: %v", err)
	}
	return p, ok
}

func (c *fakeConn) packet(p protocol.Packet) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	switch p.Op {
	case protocol.OpAuth:
		if err := json.Unmarshal(p.Body, &c.token); err != nil {
			c.f.t.Errorf("op 7: %v", err)
		}
		n, err := strconv.ParseUint(c.token.Key[max(0, len(c.token.Key)-8):], 16, 32)
		if err != nil {
			c.f.t.Errorf("op 7: key %q", c.token.Key)
		}
		c.number = int(n)
		if c.f.plan.mute[c.number] {
			c.f.did[muted]++
			return
		}
		c.reply(protocol.Packet{Ver: p.Ver, Op: protocol.OpAuthReply, Seq: p.Seq})
		c.f.clients[c.number] = c
	case protocol.OpHeartbeat:
		if !c.f.plan.deaf {
			c.f.did[beaten]++
			c.reply(protocol.Packet{Ver: p.Ver, Op: protocol.OpHeartbeatReply, Seq: p.Seq, Body: []byte{0, 0, 0, 1}})
		}
	default:
		c.f.t.Errorf("client %d: op %d", c.number, p.Op)
	}
}

// reply queues a packet that is no push.
func (c *fakeConn) reply(p protocol.Packet) {
	out := protocol.AppendPacket(nil, p)
	if c.overWS {
		out = ws.AppendFrame(nil, ws.OpBinary, out)
	}
	c.send(out, 0)
}

// frame is a message as it is written: alone over TCP, in an op 9 over WebSocket.
func (c *fakeConn) frame(op int32, body []byte) []byte {
	out := protocol.AppendPacket(nil, protocol.Packet{Ver: protocol.PushVer, Op: protocol.Op(op), Body: body})
	if c.overWS {
		if !c.f.plan.plain {
			out = protocol.AppendPacket(nil, protocol.Packet{Ver: protocol.PushVer, Op: protocol.OpRaw, Body: out})
		}
		out = ws.AppendFrame(nil, ws.OpBinary, out)
	}
	return out
}

// isMeant says whether a push is for c: of those that are not to rooms, clients get
// the operations that they accept.
func (c *fakeConn) isMeant(to string, op int32, values url.Values) bool {
	if to != "room" && !slices.Contains(c.token.Accepts, op) {
		return false
	}
	has := func(name, value string) bool {
		return slices.Contains(values[name], value) || slices.Contains(values[name+"[]"], value)
	}
	switch to {
	case "keys":
		return has("keys", c.token.Key)
	case "mids":
		return has("mids", strconv.FormatInt(c.token.Mid, 10))
	case "room":
		return c.token.Room == values.Get("type")+"://"+values.Get("room")
	case "all":
		return true
	}
	c.f.t.Errorf("push to %q", to)
	return false
}

// deliver writes a message to c, or does what the plan says. fake.mu is held.
func (f *fake) deliver(c *fakeConn, op int32, body []byte) {
	c.came++
	x, special := f.plan.messages[place{c.number, c.came}]
	out, wait := c.frame(op, body), f.plan.delay
	if special {
		f.did[x.what]++
		out, wait = f.lie(c, x, op, body, out)
	} else {
		f.did[delivered]++
	}
	later := c.held
	c.held = nil
	for _, h := range later {
		if h.k == c.came {
			out = append(out, h.out...)
		} else {
			c.held = append(c.held, h)
		}
	}
	switch again := x.what == echoed || x.what == swapped; {
	case again && x.behind > 0:
		c.held = append(c.held, held{c.came + x.behind, c.frame(op, body)})
	case again:
		defer c.send(c.frame(op, body), x.wait)
	}
	if len(out) > 0 {
		c.send(out, wait)
	}
}

// lie is what is written to c in place of out, and when.
func (f *fake) lie(c *fakeConn, x lie, op int32, body, out []byte) ([]byte, time.Duration) {
	wait := f.plan.delay
	switch x.what {
	case dropped, swapped:
		return nil, 0
	case doubled:
		return append(out, out...), wait
	case moved, copied:
		other, ok := f.clients[x.to]
		if !ok {
			f.t.Errorf("there is no client %d to get what is another's", x.to)
			return out, wait
		}
		other.send(other.frame(op, body), wait)
		if x.what == moved {
			return nil, 0
		}
	case corrupted:
		wrong := slices.Clone(body)
		wrong[x.at] ^= 0x10
		return c.frame(op, wrong), wait
	case cut:
		return c.frame(op, body[:x.at]), wait
	case replaced:
		return c.frame(op, fmt.Appendf(nil, "a message of nobody in this run, to client %d", c.number)), wait
	case garbled:
		out[len(out)-len(body)-protocol.HeaderSize+5] = 17 // the length of a header
	case delayed:
		wait += x.wait
	case closed:
		var last []byte
		if x.at > 0 && c.overWS {
			last = ws.AppendClose(nil, ws.StatusCode(x.at), "")
		}
		c.queue(outgoing{bytes: last, closes: true})
		return nil, 0
	}
	return out, wait
}
