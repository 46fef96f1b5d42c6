package ws

import "errors"

// ProtocolError says what a peer did that RFC 6455 or RFC 7692 forbids. The connection must
// be failed (§7.1.7): Code and Reason belong into the close frame.
type ProtocolError struct {
	Code   StatusCode
	Reason string // fits a close frame
}

func (e *ProtocolError) Error() string { return "ws: " + e.Reason }

// Code is the close code for err: that of a ProtocolError, otherwise 1011,
// since an error that is not the peer's is ours. It is 1000 for nil.
func Code(err error) StatusCode {
	if err == nil {
		return StatusNormal
	}
	if e := (*ProtocolError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return StatusInternal
}

// Frame headers, RFC 6455 §5.1, §5.2, §5.5.
var (
	errReservedBits = &ProtocolError{StatusProtocol, "reserved bits are set that no negotiated extension uses"}
	errReservedOp   = &ProtocolError{StatusProtocol, "reserved opcode"}
	errControlFin   = &ProtocolError{StatusProtocol, "fragmented control frame"}
	errControlSize  = &ProtocolError{StatusProtocol, "control frame of more than 125 bytes"}
	errLengthForm   = &ProtocolError{StatusProtocol, "payload length is not in its shortest form"}
	errLengthSign   = &ProtocolError{StatusProtocol, "payload length has its highest bit set"}
	errUnmasked     = &ProtocolError{StatusProtocol, "client frames must be masked"}
	errMasked       = &ProtocolError{StatusProtocol, "server frames must not be masked"}
)

// Messages, RFC 6455 §5.4, §5.6.
var (
	errNoMessage  = &ProtocolError{StatusProtocol, "continuation of no message"}
	errInMessage  = &ProtocolError{StatusProtocol, "new message before the last one ended"}
	errTooBig     = &ProtocolError{StatusTooBig, "message is too big"}
	errTooMany    = &ProtocolError{StatusPolicy, "message has too many frames"}
	errTextNoUTF8 = &ProtocolError{StatusInvalidData, "text message is not UTF-8"}
)

// Compressed messages, RFC 7692 §7.2.2. It names no code for data that is not
// DEFLATE; 1007 is what common servers send (ws of Node.js, permessage-deflate.js),
// as for text that is not UTF-8: data that is not what the frame says it is.
var (
	errDeflate     = &ProtocolError{StatusInvalidData, "compressed message is not DEFLATE data"}
	errInflatedBig = &ProtocolError{StatusTooBig, "message is too big once it is inflated"}
)

// Close frames, RFC 6455 §5.5.1, §7.4.
var (
	errCloseSize   = &ProtocolError{StatusProtocol, "close frame of one byte"}
	errCloseCode   = &ProtocolError{StatusProtocol, "close code may not be sent"}
	errCloseNoUTF8 = &ProtocolError{StatusInvalidData, "close reason is not UTF-8"}
)
