package swarm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// read takes what has arrived for c.
func (s *Swarm) read(c *client) {
	for again := true; again && c.state != closed; {
		held := copy(s.buf, c.partial)
		if held == len(s.buf) {
			s.end(c, "a message larger than a client's buffer")
			return
		}
		n, err := s.readInto(c, s.buf[held:])
		switch {
		case err == nil:
			s.arrived(c, s.buf[:held+n], n)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, wouldBlock{}):
			return
		case errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF): // the latter after TLS's own goodbye
			s.end(c, "closed by the server")
		case errors.Is(err, unix.ECONNRESET):
			s.end(c, "reset")
		default:
			s.end(c, err.Error())
		}
		again = c.tls != nil // which may have more that epoll knows nothing of
	}
}

func (s *Swarm) readInto(c *client, b []byte) (n int, err error) {
	if c.tls != nil {
		return c.tls.conn.Read(b)
	}
	n, err = unix.Read(int(c.fd), b)
	if err == nil && n == 0 {
		err = net.ErrClosed
	}
	return max(n, 0), err
}

// arrived handles in, the last n bytes of which are new.
func (s *Swarm) arrived(c *client, in []byte, n int) {
	s.now = s.clock.Now()
	if !c.marked {
		s.report.Bytes += int64(n)
		s.report.Reads++
	}
	used, err := s.consume(c, in)
	switch {
	case c.state == closed:
	case err != nil:
		s.report.example("client %d: %v", s.number(c), err)
		s.report.Broken++
		s.end(c, "broken")
	case used == len(in):
		c.partial = nil
	default:
		c.partial = append(c.partial[:0], in[used:]...)
	}
}

// consume handles as much of in as is complete and returns how much that was.
func (s *Swarm) consume(c *client, in []byte) (used int, err error) {
	overTCP := s.endpoint(c).transport == overTCP
	for c.state != closed && used < len(in) {
		var n int
		switch {
		case c.state == upgrading:
			n, err = s.upgraded(c, in[used:])
		case overTCP:
			var p protocol.Packet
			if p, n, err = protocol.Parse(in[used:], -1); n > 0 {
				err = s.packet(c, p)
			}
		default:
			n, err = s.frame(c, in[used:])
		}
		if n == 0 || err != nil {
			return used, err
		}
		used += n
	}
	return used, nil
}

// upgraded handles the answer to the WebSocket request.
func (s *Swarm) upgraded(c *client, in []byte) (n int, err error) {
	n, err = ws.Head(in)
	if n == 0 || err != nil {
		return 0, err
	}
	if err := ws.CheckResponse(in[:n], upgradeKey); err != nil {
		s.end(c, "upgrade refused: "+err.Error())
		return n, nil
	}
	s.join(c)
	return n, nil
}

// frame handles one WebSocket frame: a server sends each message in one.
func (s *Swarm) frame(c *client, in []byte) (n int, err error) {
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
		s.send(c, ws.AppendClientFrame(nil, ws.OpPong, mask, payload))
		return n, nil
	case ws.OpClose:
		code, err := ws.CheckClose(payload)
		s.end(c, fmt.Sprintf("close code %d", code))
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

// packet handles one packet. Pushes come in an op 9, over TCP also alone; im-cloud's
// have op 9 themselves. Those are told from a container by their stamp.
func (s *Swarm) packet(c *client, p protocol.Packet) error {
	switch p.Op {
	case protocol.OpAuthReply:
		if c.state != joining {
			return errors.New("op 8 was not asked for")
		}
		s.opened(c)
		return nil
	case protocol.OpHeartbeatReply:
		if c.waiting == 0 {
			return errors.New("op 3 was not asked for")
		}
		c.waiting--
		s.report.Beats++
		return nil
	case protocol.OpRaw:
		if _, from := stamp.Parse(p.Body, s.spec.Run); from != stamp.Foreign {
			return s.push(c, p)
		}
		return s.pushes(c, p.Body)
	default:
		return s.push(c, p)
	}
}

// pushes handles the packets of an op 9.
func (s *Swarm) pushes(c *client, in []byte) error {
	framed := int64(0)
	for len(in) > 0 {
		inner, n, err := protocol.Parse(in, -1)
		if err != nil || n == 0 {
			return fmt.Errorf("op 9 with a broken packet in it: %w", errors.Join(err, protocol.ErrShort))
		}
		if err := s.push(c, inner); err != nil {
			return err
		}
		framed++
		in = in[n:]
	}
	if !c.marked {
		s.report.Frames++
		s.report.Framed += framed
	}
	return nil
}

// push checks one message.
func (s *Swarm) push(c *client, p protocol.Packet) error {
	if c.state != open {
		return fmt.Errorf("op %d before op 8", p.Op)
	}
	m, from := stamp.Parse(p.Body, s.spec.Run)
	kind := m.Target.Kind()
	switch {
	case from == stamp.Foreign:
		s.report.Foreign++
		return nil
	case from == stamp.Damaged || int(m.Lane) >= s.laneCount(kind) || m.Seq == 0:
		s.report.Corrupt++
		s.report.example("client %d: message %d of %v, %d bytes, is not as it was sent", s.number(c), m.Seq, m.Target, len(p.Body))
		return nil
	case !s.isFor(c, m.Target):
		s.report.Misdelivered++
		s.report.example("client %d: message %d is for %v", s.number(c), m.Seq, m.Target)
		return nil
	}
	verdict := s.track(c, kind, int(m.Lane)).Come(m.Seq)
	if verdict != stamp.Fine {
		s.report.judge(verdict)
		s.report.example("client %d: message %d of %v is %v", s.number(c), m.Seq, m.Target, verdict)
	}
	if c.marked {
		return nil
	}
	s.report.Pushes++
	s.report.LastPush = s.now
	if s.window.has(m.Due) {
		s.report.Measured++
		s.report.latency.add(s.now - m.Due)
	}
	return nil
}

// laneCount is how many lanes send to a target of kind k.
func (s *Swarm) laneCount(k stamp.Kind) int {
	if k >= stamp.Kinds {
		return 0
	}
	return s.spec.Lanes[k]
}

// isFor says whether a message to t is for c.
func (s *Swarm) isFor(c *client, t stamp.Target) bool {
	n := s.number(c)
	switch t.Kind() {
	case stamp.Self:
		return t.Number() == n
	case stamp.Room:
		return s.spec.RoomSize > 0 && t.Number() == s.spec.room(n)
	default:
		return t.Number() == 0
	}
}

// track is what c remembers of a lane.
func (s *Swarm) track(c *client, k stamp.Kind, lane int) *stamp.Track {
	return &s.tracks[int(c.index)*s.perClient+s.base[k]+lane]
}
