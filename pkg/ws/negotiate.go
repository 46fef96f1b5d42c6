package ws

import "bytes"

// Sec-WebSocket-Protocol and Sec-WebSocket-Extensions are comma-separated lists,
// each perhaps on several header lines (RFC 6455 §4.3, §9.1, §11.3.2, §11.3.4):
//
//	protocols  = 1#token
//	extensions = 1#( token *( ";" token [ "=" ( token | quoted-string ) ] ) )
//
// What stands in the quotes must be a token once its backslashes are taken away.
// White space may stand around separators, and elements of a list may be empty
// (RFC 9110 §5.6.1.2), though not all of them.

// listReader reads the value of one header line.
type listReader struct{ rest []byte }

func (l *listReader) space() { l.rest = bytes.TrimLeft(l.rest, " \t") }

// eat takes c, with white space around it, if it is next.
func (l *listReader) eat(c byte) bool {
	l.space()
	if len(l.rest) == 0 || l.rest[0] != c {
		return false
	}
	l.rest = l.rest[1:]
	l.space()
	return true
}

// token takes a token; it is empty if none is next.
func (l *listReader) token() []byte {
	n := 0
	for n < len(l.rest) && tokenChars.has(l.rest[n]) {
		n++
	}
	t := l.rest[:n]
	l.rest = l.rest[n:]
	return t
}

// element goes to the next element of the list. more is false at the end.
func (l *listReader) element() (more bool) {
	l.space()
	for l.eat(',') {
	}
	return len(l.rest) > 0
}

// ends says that an element is over.
func (l *listReader) ends() bool {
	l.space()
	return len(l.rest) == 0 || l.rest[0] == ','
}

// paramValue is the value of a parameter. None that we know is longer; of longer
// ones the rest is left out, which does not make them a known one.
type paramValue struct {
	text [4]byte
	n    int // -1: the parameter has no value
}

func (v *paramValue) add(c byte) {
	if v.n < len(v.text) {
		v.text[v.n] = c
		v.n++
	}
}

// value takes the value of a parameter, if there is one.
func (l *listReader) value() (v paramValue, ok bool) {
	if !l.eat('=') {
		return paramValue{n: -1}, true
	}
	if len(l.rest) > 0 && l.rest[0] == '"' {
		return l.quoted()
	}
	t := l.token()
	for _, c := range t {
		v.add(c)
	}
	return v, len(t) > 0
}

func (l *listReader) quoted() (v paramValue, ok bool) {
	for i := 1; i < len(l.rest); i++ {
		c := l.rest[i]
		if c == '"' {
			l.rest = l.rest[i+1:]
			return v, v.n > 0
		}
		if c == '\\' && i+1 < len(l.rest) {
			i++
			c = l.rest[i]
		}
		if !tokenChars.has(c) {
			return v, false
		}
		v.add(c)
	}
	return v, false
}

// firstProtocol is the first element of a list of subprotocols. ok is false if
// the list is malformed or empty.
func firstProtocol(value []byte) (first []byte, ok bool) {
	l := listReader{value}
	for l.element() {
		t := l.token()
		if len(t) == 0 || !l.ends() {
			return nil, false
		}
		if first == nil {
			first = t
		}
	}
	return first, first != nil
}

// deflateName is what RFC 7692 §7 calls its extension.
const deflateName = "permessage-deflate"

// deflateParams are the parameters of one permessage-deflate (RFC 7692 §7.1), in
// an offer or an answer.
type deflateParams struct {
	bad  bool  // unknown, repeated, or with a value it cannot have
	seen uint8 // a bit for each of the names in deflateParamNames

	serverBits, clientBits int // of the windows; 0 if no value was given
}

var deflateParamNames = [...]string{"server_no_context_takeover", "client_no_context_takeover",
	"server_max_window_bits", "client_max_window_bits"}

const (
	seenServerTakeover = 1 << iota
	seenClientTakeover
	seenServerBits
	seenClientBits
)

// add takes a parameter in. RFC 7692 §7.1.1: no_context_takeover has no value;
// §7.1.2: max_window_bits has 8 to 15, without leading zeros, the client's in an
// offer may do without.
func (p *deflateParams) add(name []byte, v paramValue) {
	for i, known := range deflateParamNames {
		if string(name) != known {
			continue
		}
		bit := uint8(1) << i
		p.bad = p.bad || p.seen&bit != 0
		p.seen |= bit
		switch bit {
		case seenServerBits:
			p.serverBits = windowBits(v)
			p.bad = p.bad || p.serverBits == 0
		case seenClientBits:
			p.clientBits = windowBits(v)
			p.bad = p.bad || p.clientBits == 0 && v.n >= 0
		default:
			p.bad = p.bad || v.n >= 0
		}
		return
	}
	p.bad = true
}

// windowBits is 8 to 15, or 0 if v is nothing of that.
func windowBits(v paramValue) int {
	switch {
	case v.n == 1 && (v.text[0] == '8' || v.text[0] == '9'):
		return int(v.text[0] - '0')
	case v.n == 2 && v.text[0] == '1' && v.text[1] >= '0' && v.text[1] <= '5':
		return 10 + int(v.text[1]-'0')
	default:
		return 0
	}
}

// extensions shows each extension of a list: p has its parameters if deflate,
// which says that it is permessage-deflate. ok is false if the list is malformed
// or empty; what came before the fault has been shown.
func extensions(value []byte, show func(deflate bool, p deflateParams)) (ok bool) {
	l := listReader{value}
	for l.element() {
		name := l.token()
		if len(name) == 0 {
			return false
		}
		var p deflateParams
		for l.eat(';') {
			param := l.token()
			v, good := l.value()
			if len(param) == 0 || !good {
				return false
			}
			p.add(param, v)
		}
		if !l.ends() {
			return false
		}
		show(string(name) == deflateName, p)
		ok = true
	}
	return ok
}
