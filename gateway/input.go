package gateway

import (
	"errors"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// heldBeside is what a session may hold back beside one message, in bytes.
const heldBeside = 1024

// input handles bytes that have arrived. in is gnet's buffer or what TLS has
// opened, valid during the call; only what is not complete is copied.
func (l *loop) input(s *session, in []byte) {
	if s.state >= stateClosing {
		return // what it still sends is not wanted
	}
	held := s.side != nil && len(s.side.partial) > 0
	if held {
		s.side.partial = append(s.side.partial, in...)
		in = s.side.partial
	}
	n := l.consume(s, in)
	if s.state >= stateClosing {
		return
	}
	rest := in[n:]
	switch {
	case len(rest) > l.srv.cfg.MaxMessage+heldBeside: // behind what waits for an answer
		l.close(s, closeFlood)
	case len(rest) == 0:
		if held {
			s.side.partial = nil
		}
		l.tidy(s)
	case held && n == 0:
		// side.partial already is the rest.
	default:
		l.sideOf(s).partial = append(make([]byte, 0, len(rest)), rest...)
	}
}

// consume handles as much of in as is complete and returns how much that was.
// Answers are written together at the end.
func (l *loop) consume(s *session, in []byte) (n int) {
	l.reading, l.out = s, l.out[:0]
	for n < len(in) && s.reads() {
		took := l.consumeOne(s, in[n:])
		if took == 0 {
			break
		}
		if n += took; len(l.out) > maxAnswers {
			l.write(s, l.out)
			l.out = l.out[:0]
		}
	}
	l.reading = nil
	l.write(s, l.out)
	return n
}

// maxAnswers is when answers leave before their questions are all read, in bytes.
const maxAnswers = 64 << 10

func (l *loop) consumeOne(s *session, in []byte) (n int) {
	switch {
	case s.is(flagSniff):
		return l.sniff(s, in)
	case s.form.isIM() && !s.form.isWS(), s.form == formTCP:
		return l.consumeTCP(s, in)
	case s.state == stateUpgrade:
		return l.consumeUpgrade(s, in)
	default:
		return l.consumeFrame(s, in)
	}
}

// sniff decides what is spoken inside TLS: an HTTP request begins with a letter,
// a packet with the high byte of its length, which is 0. For packets there is no 503.
func (l *loop) sniff(s *session, in []byte) int {
	s.unmark(flagSniff)
	if in[0] < 'A' || in[0] > 'Z' {
		if why := l.refusal(s); why != closePeer {
			l.drop(s, why)
			return 0
		}
		s.form, s.state = formTCP, stateNew
		s.unmark(flagFirst)
	}
	return l.consumeOne(s, in)
}

// closeReading writes the answers given so far, then closes.
func (l *loop) closeReading(s *session, why closeReason) {
	l.write(s, l.out)
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
	before := len(l.out)
	out, req, err := l.codec.upgrader(s.form).Upgrade(l.out, in[:n])
	l.out = out
	if err != nil {
		l.closeReading(s, closeUpgrade)
		return 0
	}
	if why := l.refusal(s); why != closePeer {
		l.refuseUpgrade(s, why, before, req.Origin != "")
		return 0
	}
	if req.Cookie != "" {
		l.sideOf(s).cookie = req.Cookie
	}
	if req.Deflate {
		s.form = s.form.deflated()
	}
	s.state = stateNew
	if s.form.isEcho() {
		s.state, s.active = stateOpen, l.now
	}
	return n
}

// consumeFrame handles one WebSocket frame. 0: it is not complete, or s is
// closing.
func (l *loop) consumeFrame(s *session, in []byte) int {
	var frames ws.Assembler
	if s.side != nil {
		frames = s.side.frames
	}
	n, op, payload, done, err := frames.Next(in, l.codec.rulesOf(s.form))
	if err != nil {
		l.violated(s, err)
		return 0
	}
	if s.side != nil || frames != (ws.Assembler{}) {
		l.sideOf(s).frames = frames
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
	default:
		if l.message(s, op, payload); s.state >= stateClosing {
			return 0
		}
	}
	return n
}

// message handles a whole WebSocket message. The first decides the form: text
// that begins with a brace is JSON, text that begins with a zero byte and all
// binary are goim's packets.
func (l *loop) message(s *session, op ws.OpCode, payload []byte) {
	if s.form.isEcho() {
		l.echo(s, op, payload)
		return
	}
	if s.is(flagFirst) {
		s.unmark(flagFirst)
		if op == ws.OpText && !s.form.isIM() && len(payload) > 0 && payload[0] == '{' {
			s.form += formJSON - formWS
		}
	}
	if s.form.isJSON() != (op == ws.OpText && !isPacket(payload)) {
		l.closeReading(s, closeUnsupported)
		return
	}
	p, err := l.parseMessage(s, payload)
	if err != nil {
		l.refused(s, err)
		return
	}
	l.packet(s, p)
}

// isPacket tells goim's packet in a text message from text.
func isPacket(payload []byte) bool { return len(payload) > 0 && payload[0] == 0 }

func (l *loop) parseMessage(s *session, payload []byte) (protocol.Packet, error) {
	if s.form.isJSON() {
		return protocol.ParseJSON(payload, protocol.MaxBody)
	}
	return protocol.ParseMessage(payload, protocol.MaxBody)
}

// refused ends a session whose message is no packet. Authors of JSON clients are
// told what is wrong with theirs.
func (l *loop) refused(s *session, err error) {
	if !s.form.isJSON() {
		l.closeReading(s, closeProtocol)
		return
	}
	l.write(s, l.out)
	l.out = l.out[:0]
	l.closeWS(s, closeProtocol, closeTable[closeProtocol].code, err.Error())
}

// maxEcho bounds the messages of the echo service, in bytes: conformance suites
// send 16 MiB.
const maxEcho = 16 << 20

// echo gives a message back as it came.
func (l *loop) echo(s *session, op ws.OpCode, payload []byte) {
	s.active = l.now
	if s.form.deflates() {
		l.out = l.codec.deflater().AppendDeflated(l.out, op, payload)
		return
	}
	l.out = ws.AppendFrame(l.out, op, payload)
}

// peerClosed answers a close frame with its own code, as RFC 6455 §5.5.1 wants,
// and ends the connection.
func (l *loop) peerClosed(s *session, payload []byte) {
	code, err := ws.CheckClose(payload)
	if err != nil {
		l.violated(s, err)
		return
	}
	l.write(s, l.out)
	l.out = l.out[:0]
	l.closeWS(s, closePeer, code, "")
}

// violated writes the answers given so far and closes a WebSocket that broke its
// protocol, with the code and the reason of err.
func (l *loop) violated(s *session, err error) {
	l.write(s, l.out)
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
