package gateway

import "github.com/halley-im/halley/pkg/protocol"

// im-cloud's dialect: goim's header, other meanings. A pushed message is an op-9
// packet whose body is the message itself, answers are JSON, and every operation
// other than 2, 7 and 9 is ignored.

// imVer and imSeq are what im-cloud's servers put into pushes: their packet object
// begins with them (Packet.php).
const (
	imVer = 1
	imSeq = 1
)

var (
	imWelcome = []byte(`{"ok":"yes"}`)
	imBeat    = []byte(`{"hreart":"ok"}`) // sic, Heartbeat.php:27
)

// packetIM handles a packet of an im-cloud client. A heartbeat is answered before
// op 7, too, but does not prolong the handshake.
func (l *loop) packetIM(s *session, p protocol.Packet) {
	switch {
	case p.Op == protocol.OpHeartbeat:
		l.sign(s)
		l.answer(s, protocol.Packet{Ver: p.Ver, Op: protocol.OpHeartbeatReply, Seq: p.Seq, Body: imBeat})
	case p.Op == protocol.OpAuth && s.state == stateNew:
		l.authenticate(s, p)
	default:
		l.sign(s)
		l.srv.m.ignored.Inc()
	}
}
