package testkit

import (
	"net"
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// peer is the server's end of one connection, driven by a script.
type peer struct {
	t    *testing.T
	conn net.Conn
	ws   bool
	in   []byte
	asm  ws.Assembler
}

// serve starts a server that takes one connection and runs script on it. The
// test waits for its end.
func serve(t *testing.T, overWS bool, script func(p *peer)) (addr string) {
	t.Helper()
	LeakCheck(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		p := &peer{t: t, conn: conn, ws: overWS}
		if overWS {
			p.upgrade()
		}
		script(p)
	}()
	return l.Addr().String()
}

// fill reads more; false at the end.
func (p *peer) fill() bool {
	var buf [4096]byte
	n, err := p.conn.Read(buf[:])
	p.in = append(p.in, buf[:n]...)
	return err == nil
}

func (p *peer) upgrade() {
	for {
		n, err := ws.Head(p.in)
		if err != nil {
			p.t.Errorf("head: %v", err)
			return
		}
		if n > 0 {
			out, req, err := ws.NewUpgrader(ws.Options{}).Upgrade(nil, p.in[:n])
			if err != nil || req.Path != "/sub" {
				p.t.Errorf("upgrade: %+v, %v", req, err)
			}
			p.in = p.in[n:]
			p.write(out)
			return
		}
		if !p.fill() {
			return
		}
	}
}

// read is the next thing from the client: an opcode, which is OpBinary for TCP,
// and bytes. false at the end.
func (p *peer) read() (ws.OpCode, []byte, bool) {
	for {
		if p.ws {
			n, op, payload, done, err := p.asm.Next(p.in, &ws.Rules{Limit: 1 << 20})
			if err != nil {
				p.t.Errorf("client's frame: %v", err)
				return 0, nil, false
			}
			if p.in = p.in[n:]; done {
				return op, payload, true
			}
		} else if _, n, err := protocol.Parse(p.in, -1); err != nil {
			p.t.Errorf("client's packet: %v", err)
			return 0, nil, false
		} else if n > 0 {
			b := p.in[:n]
			p.in = p.in[n:]
			return ws.OpBinary, b, true
		}
		if !p.fill() {
			return 0, nil, false
		}
	}
}

// packet is the next packet from the client; it wants one.
func (p *peer) packet() protocol.Packet {
	op, b, ok := p.read()
	pkt, err := protocol.ParseMessage(b, -1)
	if !ok || op != ws.OpBinary || err != nil {
		p.t.Errorf("want a packet, got op %x, %x, %v, %v", op, b, ok, err)
	}
	return pkt
}

func (p *peer) write(b []byte) {
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("server: %v", err)
	}
}

// frame puts a packet, or several for TCP, into the transport's form.
func (p *peer) frame(b []byte) []byte {
	if p.ws {
		return ws.AppendFrame(nil, ws.OpBinary, b)
	}
	return b
}

// push is pushed packets as halley sends them.
func (p *peer) push(bodies ...string) []byte {
	var inner []byte
	for _, b := range bodies {
		inner = protocol.AppendPacket(inner, protocol.Packet{Ver: 1, Op: 1000, Body: []byte(b)})
	}
	if p.ws {
		return p.frame(append(protocol.AppendHeader(nil, 1, protocol.OpRaw, 0, len(inner)), inner...))
	}
	return inner
}

func (p *peer) answer(to protocol.Packet, op protocol.Op, body string) []byte {
	return p.frame(protocol.AppendPacket(nil, protocol.Packet{Ver: to.Ver, Op: op, Seq: to.Seq, Body: []byte(body)}))
}
