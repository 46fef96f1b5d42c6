package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
)

// AppendRequest appends the request with which a client opens a connection (RFC
// 6455 §4.1). path may have a query. key is 16 random bytes in base64. None of
// them is checked.
func AppendRequest(dst []byte, host, path, key string) []byte {
	dst = append(append(append(dst, "GET "...), path...), " HTTP/1.1\r\nHost: "...)
	dst = append(append(dst, host...), "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	return append(append(dst, key...), "\r\n\r\n"...)
}

// What a client may find wrong with the answer, RFC 6455 §4.1.
var (
	errAnswer        = errors.New("ws: malformed answer")
	errAnswerUpgrade = errors.New("ws: answer does not upgrade to websocket")
	errAnswerAccept  = errors.New("ws: answer has a wrong Sec-WebSocket-Accept")
	errAnswerExtra   = errors.New("ws: answer chose an extension or subprotocol that was not offered")
)

// CheckResponse checks the head of the answer, as long as Head said, to a
// request with key. Anything but a correct 101 is an error; that of another
// status has the status line in it.
func CheckResponse(head []byte, key string) error {
	line, rest, ok := cutLine(head)
	if !ok {
		return errAnswer
	}
	if status, _, _ := bytes.Cut(line, space); string(status) != "HTTP/1.1" {
		return errAnswer
	}
	if !bytes.HasPrefix(line, status101) {
		return fmt.Errorf("ws: answered %q", line)
	}
	var upgrade, connection bool
	accepts, want := 0, accept(key)
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return errAnswer
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutField(line)
		switch {
		case !ok:
			return errAnswer
		case is(name, "upgrade"):
			upgrade = is(value, "websocket")
		case is(name, "connection"):
			connection = connection || hasToken(value, "upgrade")
		case is(name, "sec-websocket-accept"):
			if accepts++; accepts > 1 || string(value) != string(want[:]) {
				return errAnswerAccept
			}
		case is(name, "sec-websocket-extensions"), is(name, "sec-websocket-protocol"):
			return errAnswerExtra
		}
	}
	switch {
	case !upgrade || !connection:
		return errAnswerUpgrade
	case accepts == 0:
		return errAnswerAccept
	default:
		return nil
	}
}

var status101 = []byte("HTTP/1.1 101 ")

// acceptGUID is what makes an answer one of a WebSocket server (RFC 6455 §1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// accept is the Sec-WebSocket-Accept that answers key.
func accept(key string) (a [28]byte) {
	var buf [keySize + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	base64.StdEncoding.Encode(a[:], sum[:])
	return a
}
