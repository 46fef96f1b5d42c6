package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
)

// Request is what a client opens a connection with (RFC 6455 §4.1). None of it is
// checked.
type Request struct {
	Host string
	Path string // perhaps with a query
	Key  string // 16 random bytes in base64

	Origin   string // of a browser's page; "" sends none
	Protocol string // a subprotocol, or several with commas between; "" offers none
	// Deflate offers permessage-deflate without context takeover: an Inflater
	// reads every message on its own (RFC 7692 §7.1.1).
	Deflate bool
}

// AppendRequest appends the request of a client that offers nothing.
func AppendRequest(dst []byte, host, path, key string) []byte {
	return (&Request{Host: host, Path: path, Key: key}).Append(dst)
}

// Append appends the request.
func (r *Request) Append(dst []byte) []byte {
	dst = append(append(append(dst, "GET "...), r.Path...), " HTTP/1.1\r\nHost: "...)
	dst = append(append(dst, r.Host...), "\r\n"...)
	line := func(name, value string) {
		if value != "" {
			dst = append(append(append(append(dst, name...), ": "...), value...), "\r\n"...)
		}
	}
	line("Upgrade", "websocket")
	line("Connection", "Upgrade")
	line("Sec-WebSocket-Version", "13")
	line("Sec-WebSocket-Key", r.Key)
	line("Origin", r.Origin)
	line("Sec-WebSocket-Protocol", r.Protocol)
	if r.Deflate {
		dst = append(dst, deflateAnswer+"\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// What a client may find wrong with the answer, RFC 6455 §4.1.
var (
	errAnswer          = errors.New("ws: malformed answer")
	errAnswerUpgrade   = errors.New("ws: answer does not upgrade to websocket")
	errAnswerAccept    = errors.New("ws: answer has a wrong Sec-WebSocket-Accept")
	errAnswerProtocol  = errors.New("ws: answer chose a subprotocol that was not offered, or more than one")
	errAnswerExtension = errors.New("ws: answer chose an extension that was not offered, or not as it was offered")
)

// Agreed is what the two ends have agreed on besides WebSocket.
type Agreed struct {
	Protocol string // "" if none
	Deflate  bool
}

// CheckResponse is Check for the answer to AppendRequest.
func CheckResponse(head []byte, key string) error {
	_, err := (&Request{Key: key}).Check(head)
	return err
}

// Check checks the head of the answer to r, as long as Head said. Anything but a
// correct 101 is an error; that of another status has the status line in it.
func (r *Request) Check(head []byte) (Agreed, error) {
	line, rest, ok := cutLine(head)
	if !ok {
		return Agreed{}, errAnswer
	}
	if status, _, _ := bytes.Cut(line, space); string(status) != "HTTP/1.1" {
		return Agreed{}, errAnswer
	}
	if !bytes.HasPrefix(line, status101) {
		return Agreed{}, fmt.Errorf("ws: answered %q", line)
	}
	var a answer
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return Agreed{}, errAnswer
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutField(line)
		if !ok {
			return Agreed{}, errAnswer
		}
		if err := a.field(r, name, value); err != nil {
			return Agreed{}, err
		}
	}
	switch {
	case !a.upgrade || !a.connection:
		return Agreed{}, errAnswerUpgrade
	case !a.accept:
		return Agreed{}, errAnswerAccept
	default:
		return a.agreed, nil
	}
}

// answer is what a client has seen of one.
type answer struct {
	upgrade, connection, accept bool
	extensions                  int
	agreed                      Agreed
}

// field takes in one header line.
func (a *answer) field(r *Request, name, value []byte) error {
	switch {
	case is(name, "upgrade"):
		a.upgrade = is(value, "websocket")
	case is(name, "connection"):
		a.connection = a.connection || hasToken(value, "upgrade")
	case is(name, "sec-websocket-accept"):
		want := accept(r.Key)
		if a.accept || string(value) != string(want[:]) {
			return errAnswerAccept
		}
		a.accept = true
	case is(name, "sec-websocket-protocol"):
		if a.agreed.Protocol != "" || !offered(r.Protocol, value) {
			return errAnswerProtocol
		}
		a.agreed.Protocol = string(value)
	case is(name, "sec-websocket-extensions"):
		if !extensions(value, func(deflate bool, p deflateParams) { a.extension(r, deflate, p) }) || !a.agreed.Deflate {
			return errAnswerExtension
		}
	}
	return nil
}

// extension takes in an extension that the server chose. RFC 7692 §7.1: it may
// promise a window that is smaller, but not demand one of a client that did not
// offer it, and must promise what the offer demands.
func (a *answer) extension(r *Request, deflate bool, p deflateParams) {
	a.extensions++
	a.agreed.Deflate = a.extensions == 1 && r.Deflate && deflate && !p.bad &&
		p.seen&seenServerTakeover != 0 && p.seen&seenClientBits == 0
}

// offered says that value is one of a list of subprotocols, whose case counts.
func offered(list string, value []byte) bool {
	for rest := []byte(list); len(rest) > 0; {
		var item []byte
		item, rest, _ = bytes.Cut(rest, comma)
		if item = bytes.Trim(item, " \t"); len(item) > 0 && bytes.Equal(item, value) {
			return true
		}
	}
	return false
}

var status101 = []byte("HTTP/1.1 101 ")

// acceptGUID is what makes an answer one of a WebSocket server (RFC 6455 §1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// accept is the Sec-WebSocket-Accept that answers key.
func accept[T string | []byte](key T) (a [28]byte) {
	var buf [keySize + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	base64.StdEncoding.Encode(a[:], sum[:])
	return a
}
