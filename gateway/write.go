package gateway

import (
	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// write sends b now, sealed if the session has TLS. What the socket does not take
// gnet keeps, and s is behind until it has gone.
func (l *loop) write(s *session, b []byte) {
	if s.state == stateClosed || len(b) == 0 {
		return // the descriptor may already be a stranger's
	}
	if s.side != nil && s.side.tls != nil {
		var err error
		if l.sealed, err = s.side.tls.Append(l.sealed[:0], b); err != nil {
			l.drop(s, closeProtocol)
			return
		}
		b = l.sealed
	}
	l.writeRaw(s, b)
}

// writeRaw sends b as it is.
func (l *loop) writeRaw(s *session, b []byte) {
	l.writes++
	l.left -= len(b) / sliceBytes
	l.unasked += int64(len(b))
	s.mark(flagWritten)
	if _, err := s.conn.Write(b); err != nil || s.state >= stateClosing {
		return // gnet has closed it and called OnClose, or nothing more will come
	}
	if s.conn.OutboundBuffered() > 0 {
		l.fellBehind(s)
	}
}

// answer queues an answer to the session being read, or writes it to another.
func (l *loop) answer(s *session, p protocol.Packet) {
	if l.reading == s {
		l.out = appendPacket(l.out, s.form, p)
		return
	}
	l.write(s, appendPacket(nil, s.form, p))
}

// close says goodbye to s as its transport can, and ends it. It does nothing for
// a session that is closing already.
func (l *loop) close(s *session, why closeReason) {
	if s.state >= stateClosing {
		return
	}
	if s.form.isWS() && s.state != stateUpgrade {
		l.closeWS(s, why, closeTable[why].code, closeTable[why].text)
		return
	}
	l.drop(s, why)
}

// drop ends s without a word. For one that does not read or whose peer is gone its
// socket keeps nothing.
func (l *loop) drop(s *session, why closeReason) {
	if s.state >= stateClosing {
		return
	}
	gone := why == closeHeartbeat && (s.conn.OutboundBuffered() > 0 || l.askKernel(s))
	l.detach(s, why)
	s.state = stateClosing
	if gone || why == closeSlow || why == closeBudget {
		l.abort(s)
		return
	}
	l.hangUp(s)
}

// abort closes the descriptor of a client that does not read, with a reset: a
// socket that is closed otherwise keeps what was not sent, out of our sight, until
// the kernel gives up on its peer (904 MB of 4,500 clients).
func (l *loop) abort(s *session) {
	if s.state == stateClosed {
		return
	}
	// It fails only for a connection that has ended.
	_ = unix.SetsockoptLinger(s.conn.Fd(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.hangUp(s)
}

// closeWS ends a WebSocket session with a close frame. RFC 6455 §7.1.1: the peer
// shall see the frame before the connection ends. Closing a socket with unread
// input resets it and may destroy the frame on its way, so we send FIN and wait
// for the peer's, or for the sweep. Behind a backlog the frame is best effort.
func (l *loop) closeWS(s *session, why closeReason, code ws.StatusCode, text string) {
	if s.state >= stateClosing {
		return
	}
	l.detach(s, why)
	s.state, s.active = stateClosing, l.srv.coarse()
	l.write(s, ws.AppendClose(nil, code, text))
	l.keepCounted(s)
	l.finish(s)
}

// finish sends FIN, behind TLS's own goodbye, when all before it has gone.
func (l *loop) finish(s *session) {
	if s.state != stateClosing || s.conn.OutboundBuffered() > 0 {
		return
	}
	if s.side != nil && s.side.tls != nil {
		l.sealed = s.side.tls.AppendCloseNotify(l.sealed[:0])
		l.writeRaw(s, l.sealed)
		if s.state == stateClosed {
			return
		}
	}
	_ = unix.Shutdown(s.conn.Fd(), unix.SHUT_WR) // it may be gone already
}

// hangUp closes the descriptor, which calls OnClose. gnet allows it within
// OnTraffic of the same connection if that then returns gnet.Close.
func (l *loop) hangUp(s *session) {
	if s.state == stateClosed {
		return
	}
	_ = s.conn.EventLoop().Close(s.conn)
}

// detach ends what s is to others: its room, its key, its route. It is counted
// here, once.
func (l *loop) detach(s *session, why closeReason) {
	l.leave(s)
	l.opSets.drop(s.accepts)
	s.accepts = nil
	if s.is(flagBehind) {
		l.caughtUp(s)
	}
	if s.side != nil {
		s.side.waiting, s.side.partial, s.side.frames = nil, nil, ws.Assembler{}
		l.putPending(s.side)
	}
	l.srv.m.closed[why].Inc()
	if h := s.handle; h != 0 {
		s.handle = 0
		l.srv.sessionEnded(h)
	}
}
