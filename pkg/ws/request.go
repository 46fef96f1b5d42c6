package ws

import (
	"bytes"
	"encoding/base64"
)

// clientRequest is a request head that was read. What is of bytes aliases it.
type clientRequest struct {
	path, query          []byte
	host, origin, cookie []byte // nil: not there
	upgrade, connection  bool   // they name websocket and upgrade
	key                  []byte // nil: not there
	version              bool

	protocol   []byte // the first subprotocol; nil: none is offered
	deflate    bool   // there is an offer of permessage-deflate that we can take
	serverBits bool   // it wants an answer with server_max_window_bits
}

// read takes in a head. It holds it to the strict grammar, so that nothing before
// us has read another request in it, and refuses repeated headers of which one
// might take the first and another the last.
func (r *clientRequest) read(head []byte, anyPath bool) *UpgradeError {
	line, rest, ok := cutLine(head)
	if !ok {
		return errRequest
	}
	if err := r.line(line, anyPath); err != nil {
		return err
	}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return errLine
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutField(line)
		if !ok {
			return errLine
		}
		if err := r.field(name, value); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errRequest // longer than Head said
	}
	return r.complete()
}

// complete says what is missing (RFC 6455 §4.2.1).
func (r *clientRequest) complete() *UpgradeError {
	switch {
	case r.host == nil:
		return errHost
	case !r.upgrade:
		return errNoUpgrade
	case !r.connection:
		return errConnection
	case !r.version:
		return errNoVersion
	case r.key == nil:
		return errKey
	}
	return nil
}

// field takes in one header line. Of lists the lines are one list (RFC 9110 §5.3).
func (r *clientRequest) field(name, value []byte) *UpgradeError {
	if value == nil {
		value = []byte{} // there, and empty
	}
	switch {
	case is(name, "host"):
		if r.host != nil || !hostChars.all(value) {
			return errHost
		}
		r.host = value
	case is(name, "upgrade"):
		r.upgrade = r.upgrade || hasToken(value, "websocket")
	case is(name, "connection"):
		r.connection = r.connection || hasToken(value, "upgrade")
	case is(name, "origin"):
		if r.origin != nil {
			return errOrigin
		}
		r.origin = value
	case is(name, "cookie"):
		if r.cookie != nil {
			return errCookie
		}
		r.cookie = value
	case is(name, "content-length"):
		if string(value) != "0" {
			return errBody
		}
	case is(name, "transfer-encoding"):
		return errBody
	case len(name) > len(webSocketPrefix) && is(name[:len(webSocketPrefix)], webSocketPrefix):
		return r.webSocketField(name[len(webSocketPrefix):], value)
	}
	return nil
}

// webSocketPrefix begins the names that webSocketField looks at.
const webSocketPrefix = "sec-websocket-"

func (r *clientRequest) webSocketField(name, value []byte) *UpgradeError {
	switch {
	case is(name, "key"):
		if r.key != nil || !validKey(value) {
			return errKey
		}
		r.key = value
	case is(name, "version"):
		if r.version {
			return errNoVersion
		}
		if string(value) != "13" {
			return errWSVersion
		}
		r.version = true
	case is(name, "protocol"):
		first, ok := firstProtocol(value)
		if !ok {
			return errProtocol
		}
		if r.protocol == nil {
			r.protocol = first
		}
	case is(name, "extensions"):
		if !extensions(value, r.extension) {
			return errExtensions
		}
	}
	return nil
}

// extension looks at one offer. The first that can be taken is (RFC 7692 §5.2);
// one that cannot is declined, not the connection. Ours is a window of 15 bits
// and no other (§7.1.2.1): a smaller one would need a compressor of its own.
func (r *clientRequest) extension(deflate bool, p deflateParams) {
	if !deflate || r.deflate || p.bad || p.serverBits != 0 && p.serverBits != 15 {
		return
	}
	r.deflate, r.serverBits = true, p.serverBits == 15
}

// line holds the first line to RFC 9112 §3: a token, a target of visible ASCII
// without a fragment, HTTP/1.1, with one space between.
func (r *clientRequest) line(line []byte, anyPath bool) *UpgradeError {
	method, rest, ok1 := bytes.Cut(line, space)
	target, version, ok2 := bytes.Cut(rest, space)
	if !ok1 || !ok2 || len(target) == 0 || len(method) == 0 || !tokenChars.all(method) {
		return errRequest
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return errRequest
		}
	}
	switch {
	case len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" || version[6] != '.':
		return errRequest
	case string(version) != "HTTP/1.1":
		return errVersion
	case string(method) != "GET":
		return errMethod
	}
	r.path, r.query, _ = bytes.Cut(withoutAuthority(target), questionMark)
	switch {
	case string(r.path) == Path:
	case !anyPath:
		return errPath
	case len(r.path) == 0 || r.path[0] != '/' || !validEscapes(r.path):
		return errTarget
	}
	return nil
}

// withoutAuthority cuts scheme and host off an absolute target, which RFC 9112
// §3.2.2 and RFC 6455 §4.2.1 want to be taken.
func withoutAuthority(target []byte) []byte {
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) <= len(scheme) || !is(target[:len(scheme)], scheme) {
			continue
		}
		target = target[len(scheme):]
		if i := bytes.IndexAny(target, "/?"); i > 0 {
			return target[i:]
		}
	}
	return target
}

// validEscapes says that two hexadecimal digits follow each "%" (RFC 3986 §2.1).
func validEscapes(path []byte) bool {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || !hexChars.has(path[i+1]) || !hexChars.has(path[i+2]) {
			return false
		}
		path = path[i+3:]
	}
}

var (
	space    = []byte(" ")
	hexChars = newCharSet("0123456789ABCDEFabcdef")
)

// keySize is 16 bytes in base64, RFC 6455 §4.1.
const keySize = 24

func validKey(value []byte) bool {
	var raw [18]byte
	if len(value) != keySize {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], value)
	return err == nil && n == 16
}
