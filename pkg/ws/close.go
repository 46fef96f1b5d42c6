package ws

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// StatusCode is why a connection is closed.
type StatusCode uint16

// Close codes: RFC 6455 §7.4.1, and 1012 to 1014 from the IANA registry of
// WebSocket close codes. 3000 to 3999 may be registered, 4000 to 4999 are free.
const (
	StatusNormal      StatusCode = 1000
	StatusGoingAway   StatusCode = 1001
	StatusProtocol    StatusCode = 1002
	StatusUnsupported StatusCode = 1003
	StatusNoStatus    StatusCode = 1005 // never sent: the close frame had no code
	StatusAbnormal    StatusCode = 1006 // never sent: there was no close frame
	StatusInvalidData StatusCode = 1007
	StatusPolicy      StatusCode = 1008
	StatusTooBig      StatusCode = 1009
	StatusExtension   StatusCode = 1010
	StatusInternal    StatusCode = 1011
	StatusRestart     StatusCode = 1012
	StatusTryLater    StatusCode = 1013
	StatusBadGateway  StatusCode = 1014
	StatusTLS         StatusCode = 1015 // never sent: the TLS handshake did not succeed
)

// MaxReason is the longest reason that a close frame carries, in bytes.
const MaxReason = MaxControl - 2

// sendable reports whether a close frame may carry c (RFC 6455 §7.4).
func (c StatusCode) sendable() bool {
	switch {
	case c == 1004 || c == StatusNoStatus || c == StatusAbnormal:
		return false
	case c >= StatusNormal && c <= StatusBadGateway:
		return true
	default:
		return c >= 3000 && c <= 4999
	}
}

// AppendClose appends the close frame that a server sends (RFC 6455 §5.5.1). A
// reason longer than MaxReason is cut between runes, and what is not UTF-8 in it
// is replaced. With a code that may not be sent, StatusNoStatus among them, the
// frame is empty.
func AppendClose(dst []byte, code StatusCode, reason string) []byte {
	if !code.sendable() {
		return AppendHeader(dst, OpClose, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

func cutReason(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= MaxReason {
		return s
	}
	n := MaxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// CheckClose reads the payload of a close frame: a code and, from its third byte
// on, a reason in UTF-8 (RFC 6455 §5.5.1, §7.4). The code of an empty one is
// StatusNoStatus. The error is a *ProtocolError.
func CheckClose(payload []byte) (StatusCode, error) {
	if len(payload) == 0 {
		return StatusNoStatus, nil
	}
	if len(payload) < 2 {
		return 0, errCloseSize
	}
	code := StatusCode(binary.BigEndian.Uint16(payload))
	if !code.sendable() {
		return 0, errCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, errCloseNoUTF8
	}
	return code, nil
}
