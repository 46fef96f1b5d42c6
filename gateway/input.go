package gateway

import (
	"errors"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

const (
	// maxMessage bounds a WebSocket message a client may send, in bytes. A packet
	// in it may have protocol.MaxBody; what follows the packet is ignored.
	maxMessage = 64 << 10
	// maxHeld bounds the input of a client that waits for an answer (to op 7 or
	// op 12) or whose packet is not complete.
	maxHeld = maxMessage + 1024
)

// input handles bytes that have arrived. in is gnet's buffer, valid during the
// call; only what is not complete is copied.
func (l *loop) input(s *session, in []byte) {
	if s.state >= stateClosing {
		return // what it still sends is not wanted
	}
	held := len(s.partial) > 0
	if held {
		s.partial = append(s.partial, in...)
		in = s.partial
	}
	n := l.consume(s, in)
	if s.state >= stateClosing {
		s.partial = nil
		return
	}
	rest := in[n:]
	switch {
	case len(rest) > maxHeld:
		l.close(s, closeFlood)
	case len(rest) == 0:
		s.partial = nil
	case held && n == 0:
		// s.partial already is the rest.
	default:
		s.partial = append(make([]byte, 0, len(rest)), rest...)
	}
}

// consume handles as much of in as is complete and returns how much that was.
// Answers are written together at the end.
func (l *loop) consume(s *session, in []byte) (n int) {
	l.reading, l.out = s, l.out[:0]
	for n < len(in) && s.reads() {
		var took int
		switch {
		case !s.ws:
			took = l.consumeTCP(s, in[n:])
		case s.state == stateUpgrade:
			took = l.consumeUpgrade(s, in[n:])
		default:
			took = l.consumeFrame(s, in[n:])
		}
		if took == 0 {
			break
		}
		n += took
	}
	l.reading = nil
	s.write(l.out)
	return n
}

// closeReading writes the answers given so far, then closes.
func (l *loop) closeReading(s *session, why closeReason) {
	s.write(l.out)
	l.out = l.out[:0]
	l.close(s, why)
}

// consumeTCP handles one packet. 0: it is not complete, or s is closing.
func (l *loop) consumeTCP(s *session, in []byte) int {
	p, n, err := protocol.Parse(in, protocol.MaxBody)
	if err != nil {
		l.closeReading(s, closeProtocol)
		return 0
	}
	if n > 0 {
		l.packet(s, p)
	}
	return n
}

// consumeUpgrade handles the HTTP request that opens a WebSocket.
func (l *loop) consumeUpgrade(s *session, in []byte) int {
	n, err := ws.Head(in)
	if err != nil {
		l.out = ws.AppendTooLarge(l.out)
		l.closeReading(s, closeUpgrade)
		return 0
	}
	if n == 0 {
		return 0
	}
	out, req, err := l.upgrader.Upgrade(l.out, in[:n])
	l.out = out
	if err != nil {
		l.closeReading(s, closeUpgrade)
		return 0
	}
	s.cookie = req.Cookie
	s.state = stateNew
	return n
}

// consumeFrame handles one WebSocket frame. 0: it is not complete, or s is
// closing.
func (l *loop) consumeFrame(s *session, in []byte) int {
	n, op, payload, done, err := s.frames.Next(in, maxMessage)
	if err != nil {
		l.violated(s, err)
		return 0
	}
	if !done {
		return n
	}
	switch op {
	case ws.OpPing:
		l.sign(s)
		l.out = ws.AppendFrame(l.out, ws.OpPong, payload)
	case ws.OpPong:
		l.sign(s)
	case ws.OpClose:
		l.peerClosed(s, payload)
		return 0
	case ws.OpText:
		if len(payload) == 0 || payload[0] != 0 {
			l.closeReading(s, closeUnsupported)
			return 0
		}
		l.message(s, payload)
	default:
		l.message(s, payload)
	}
	return n
}

// message handles the packet in a WebSocket message.
func (l *loop) message(s *session, payload []byte) {
	p, err := protocol.ParseMessage(payload, protocol.MaxBody)
	if err != nil {
		l.closeReading(s, closeProtocol)
		return
	}
	l.packet(s, p)
}

// peerClosed answers a close frame with its own code, as RFC 6455 §5.5.1 wants,
// and ends the connection.
func (l *loop) peerClosed(s *session, payload []byte) {
	code, err := ws.CheckClose(payload)
	if err != nil {
		l.violated(s, err)
		return
	}
	s.write(l.out)
	l.out = l.out[:0]
	l.closeWS(s, closePeer, code, "")
}

// violated writes the answers given so far and closes a WebSocket that broke its
// protocol, with the code and the reason of err.
func (l *loop) violated(s *session, err error) {
	s.write(l.out)
	l.out = l.out[:0]
	var broken *ws.ProtocolError
	reason := err.Error()
	if errors.As(err, &broken) {
		reason = broken.Reason
	}
	l.closeWS(s, closeProtocol, ws.Code(err), reason)
}

// sign notes a sign of life. Before op 8 none counts: the handshake's time runs.
func (l *loop) sign(s *session) {
	if s.state == stateOpen {
		s.active = l.now
	}
}
