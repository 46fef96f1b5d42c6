package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/halley-im/halley/pkg/tlsloop"
)

// startTLS makes s a TLS session. Its handshake runs on the pool; what that
// writes comes to the loop as mail.
func (l *loop) startTLS(s *session) {
	if !s.form.isEcho() {
		s.mark(flagSniff)
	}
	id := s.id()
	l.sideOf(s).tls = l.srv.tls.Server(
		func(out []byte) { l.mailbox.post(&handshakeOut{id, out}) },
		func(err error) { l.mailbox.post(&handshakeDone{id, err}) })
}

// handshakeOut is the mail that brings bytes of a handshake to the socket.
type handshakeOut struct {
	id  sessionID
	out []byte
}

func (m *handshakeOut) run(l *loop) {
	if s := l.table.get(m.id); s != nil && s.state < stateClosing {
		l.writeRaw(s, m.out)
	}
}

// handshakeDone is the mail that says how a handshake ended.
type handshakeDone struct {
	id  sessionID
	err error
}

func (m *handshakeDone) run(l *loop) {
	s := l.table.get(m.id)
	if s == nil || s.state >= stateClosing {
		return
	}
	if m.err != nil {
		l.srv.log.Debug("TLS handshake failed", "ip", s.addr(), "err", m.err)
		l.drop(s, closeTLS)
		return
	}
	s.side.tls.Establish()
	l.inputTLS(s, nil) // what came behind the handshake
}

// inputTLS takes what the socket has brought and handles what it opens to.
func (l *loop) inputTLS(s *session, in []byte) {
	if s.state >= stateClosing {
		return
	}
	t := s.side.tls
	if err := t.Feed(in); err != nil {
		l.drop(s, closeTLS)
		return
	}
	if t.Handshaking() {
		return
	}
	if l.codec.opened == nil {
		l.codec.opened = make([]byte, 16<<10) // a record's plaintext, RFC 8446 §5.1
	}
	for s.state < stateClosing {
		n, err := t.Read(l.codec.opened)
		if n > 0 {
			l.input(s, l.codec.opened[:n])
		}
		if err != nil {
			l.endTLS(s, t, err)
			return
		}
	}
}

// endTLS handles the end of what could be read: for now, or for good.
func (l *loop) endTLS(s *session, t *tlsloop.Conn, err error) {
	if s.state < stateClosing && t.HasOutput() { // an alert, or a new key
		l.sealed, _ = t.Append(l.sealed[:0], nil) // without plaintext it cannot fail
		l.writeRaw(s, l.sealed)
	}
	switch {
	case errors.Is(err, tlsloop.ErrAgain):
	case errors.Is(err, io.EOF):
		l.drop(s, closePeer)
	default:
		l.drop(s, closeTLS)
	}
}

// prepareTLS loads the certificate, if there is one.
func (srv *Server) prepareTLS() error {
	cfg := &srv.cfg
	if cfg.TLSCert == "" {
		return nil
	}
	certificates, err := tlsloop.LoadCertificates(cfg.TLSCert, cfg.TLSKey, srv.log)
	if err != nil {
		return fmt.Errorf("gateway.tls_cert, gateway.tls_key: %w", err)
	}
	srv.certificates = certificates
	srv.tls = tlsloop.NewPool(tlsloop.Options{
		Certificates: certificates, PostQuantum: cfg.TLSPostQuantum,
		Handshakes: cfg.TLSHandshakes, Timeout: cfg.HandshakeTimeout,
	})
	return nil
}

// runTLS watches the certificate and, when ctx ends, waits for the handshakes.
func (srv *Server) runTLS(ctx context.Context) error {
	if srv.tls == nil {
		return nil
	}
	return srv.tls.Run(ctx)
}
