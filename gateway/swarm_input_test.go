package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// minStamped is the least body of a push that clients can check.
const minStamped = 16

// appendStamped appends the body of a push: where it stands in its sequence,
// when it was due by monotonic, and what fills it up to size bytes.
func appendStamped(dst []byte, seq uint64, at int64, size int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	return append(dst, make([]byte, max(size-minStamped, 0))...)
}

// read takes what has arrived for c.
func (s *swarm) read(c *swarmConn) {
	held := copy(s.buf, c.partial)
	if held == len(s.buf) {
		s.end(c, "a message larger than a client's buffer")
		return
	}
	n, err := unix.Read(int(c.fd), s.buf[held:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return
	case errors.Is(err, unix.ECONNRESET):
		s.end(c, "reset")
		return
	case err != nil:
		s.end(c, err.Error())
		return
	case n == 0:
		s.end(c, "eof")
		return
	}
	s.now = monotonic()
	if !c.marked {
		s.report.Bytes += int64(n)
	}
	in := s.buf[:held+n]
	used, err := s.consume(c, in)
	switch {
	case c.fd < 0:
	case err != nil:
		s.report.fail("client %d: %v", s.spec.First+int(c.index), err)
		s.end(c, "broken")
	case used == len(in):
		c.partial = nil
	default:
		c.partial = append(c.partial[:0], in[used:]...)
	}
}

// consume handles as much of in as is complete and returns how much that was.
func (s *swarm) consume(c *swarmConn, in []byte) (used int, err error) {
	for c.fd >= 0 && used < len(in) {
		var n int
		switch {
		case c.state == swarmUpgrading:
			n, err = s.upgraded(c, in[used:])
		case s.spec.WS || s.spec.Bare:
			n, err = s.frame(c, in[used:])
		default:
			var p protocol.Packet
			if p, n, err = protocol.Parse(in[used:], -1); n > 0 {
				err = s.packet(c, p)
			}
		}
		if n == 0 || err != nil {
			return used, err
		}
		used += n
	}
	return used, nil
}

// upgraded handles the answer to the WebSocket request.
func (s *swarm) upgraded(c *swarmConn, in []byte) (n int, err error) {
	n, err = ws.Head(in)
	if n == 0 || err != nil {
		return 0, err
	}
	if err := ws.CheckResponse(in[:n], swarmKey); err != nil {
		s.end(c, "refused: "+err.Error())
		return n, nil
	}
	s.join(c)
	return n, nil
}

// frame handles one WebSocket frame: a server sends each message in one.
func (s *swarm) frame(c *swarmConn, in []byte) (n int, err error) {
	op, payload, n, err := serverFrame(in)
	if n == 0 || err != nil {
		return 0, err
	}
	switch op {
	case ws.OpBinary:
		p, err := protocol.ParseMessage(payload, -1)
		if err == nil {
			err = s.packet(c, p)
		}
		return n, err
	case ws.OpPing:
		s.send(c, ws.AppendClientFrame(nil, ws.OpPong, swarmMask, payload))
		return n, nil
	case ws.OpClose:
		code, err := ws.CheckClose(payload)
		s.end(c, fmt.Sprint(int(code)))
		return n, err
	default:
		return n, fmt.Errorf("a frame with opcode %d", op)
	}
}

// serverFrame is the frame at the start of in (RFC 6455 §5.2); n is 0 while it is
// not complete.
func serverFrame(in []byte) (op ws.OpCode, payload []byte, n int, err error) {
	if len(in) < 2 {
		return 0, nil, 0, nil
	}
	const fin, mask = 0x80, 0x80
	if in[0]&^0x0f != fin || in[1]&mask != 0 {
		return 0, nil, 0, fmt.Errorf("a frame that begins with %x: only whole, plain, unmasked ones were asked for", in[:2])
	}
	size, length := 2, uint64(in[1])
	switch {
	case length == 126 && len(in) >= 4:
		size, length = 4, uint64(binary.BigEndian.Uint16(in[2:]))
	case length == 127 && len(in) >= 10:
		size, length = 10, binary.BigEndian.Uint64(in[2:])
	case length >= 126:
		return 0, nil, 0, nil
	}
	if length > uint64(len(in)-size) {
		return 0, nil, 0, nil
	}
	n = size + int(length)
	return ws.OpCode(in[0] & 0x0f), in[size:n], n, nil
}

// packet handles one packet. Pushes come in an op 9, over TCP also alone.
func (s *swarm) packet(c *swarmConn, p protocol.Packet) error {
	switch p.Op {
	case protocol.OpAuthReply:
		if c.state != swarmJoining {
			return errors.New("op 8 was not asked for")
		}
		s.opened(c)
		return nil
	case protocol.OpHeartbeatReply:
		c.answers++
		s.report.Beats++
		return nil
	case protocol.OpRaw:
		if !c.marked {
			s.report.Frames++
		}
		for in := p.Body; len(in) > 0; {
			inner, n, err := protocol.Parse(in, -1)
			if err != nil || n == 0 {
				return fmt.Errorf("op 9 with a broken packet in it: %w", errors.Join(err, protocol.ErrShort))
			}
			if err := s.push(c, inner); err != nil {
				return err
			}
			in = in[n:]
		}
		return nil
	default:
		return s.push(c, p)
	}
}

// push checks one push: in each room they are numbered from 1.
func (s *swarm) push(c *swarmConn, p protocol.Packet) error {
	if p.Op < 1000 || len(p.Body) < minStamped {
		return fmt.Errorf("op %d with %d bytes is no push", p.Op, len(p.Body))
	}
	if c.state != swarmOpen {
		return errors.New("a push before op 8")
	}
	switch seq := binary.BigEndian.Uint64(p.Body); {
	case seq <= c.seq:
		s.report.Repeated++ // or in the wrong order
		s.report.fail("client %d: push %d after push %d", s.spec.First+int(c.index), seq, c.seq)
	case seq > c.seq+1:
		s.report.Lost += int64(seq - c.seq - 1)
		s.report.fail("client %d: push %d after push %d", s.spec.First+int(c.index), seq, c.seq)
		fallthrough
	default:
		c.seq = seq
	}
	c.pushes++
	if !c.marked {
		s.report.Pushes++
		s.report.Latency.add(s.now - int64(binary.BigEndian.Uint64(p.Body[8:])))
	}
	return nil
}
