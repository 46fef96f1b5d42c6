package ws

import "bytes"

// MaxHead bounds the head of a request, in bytes: request line, header lines and
// the blank line. It is goim's reader buffer, and far above what browsers send.
const MaxHead = 8 << 10

// Head looks for the end of the head of a request or an answer: n is its length
// including the blank line, 0 while that has not arrived. The error is
// ErrHeadTooLarge.
//
// Bytes that cannot become a head are given out as one, so that Upgrade refuses
// them at once and their sender need not wait for a timeout to learn it: a TLS
// hello or a TCP packet on the wrong port, lines that end in a bare LF.
func Head(src []byte) (n int, err error) {
	if len(src) == 0 {
		return 0, nil
	}
	if src[0] < 'A' || src[0] > 'Z' {
		return min(len(src), MaxHead), nil
	}
	window := src[:min(len(src), MaxHead)]
	if i := bytes.Index(window, blankCRLF); i >= 0 {
		return i + len(blankCRLF), nil
	}
	if i := bytes.Index(window, blankLF); i >= 0 {
		return i + len(blankLF), nil
	}
	if len(src) >= MaxHead {
		return 0, ErrHeadTooLarge
	}
	return 0, nil
}

var (
	blankCRLF = []byte("\r\n\r\n")
	blankLF   = []byte("\n\n")
)

// cutLine cuts the first line off head. ok is false if it does not end in CRLF
// or has control characters other than tabs in it: nothing behind a proxy may
// read more or other lines in it than we do (RFC 9112 §2.2, RFC 9110 §5.5).
func cutLine(head []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(head, '\n')
	if i < 1 || head[i-1] != '\r' {
		return nil, nil, false
	}
	line, rest = head[:i-1], head[i+1:]
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return line, rest, true
}

// cutField splits a header line. ok is false if the name is no token, or empty,
// or followed by white space, or if the line is a folded one (RFC 9112 §5).
func cutField(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 {
		return nil, nil, false
	}
	if !tokenChars.all(line[:i]) {
		return nil, nil, false
	}
	return line[:i], bytes.Trim(line[i+1:], " \t"), true
}

// hasToken reports whether a comma-separated list has token, in lower case, in it.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, comma)
		if is(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

var comma = []byte(",")

// is compares b, without regard to case, to a word of ASCII in lower case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// charSet is a set of ASCII characters.
type charSet [2]uint64

func newCharSet(chars string) (s charSet) {
	for i := range len(chars) {
		s[chars[i]>>6] |= 1 << (chars[i] & 63)
	}
	return s
}

func (s *charSet) has(c byte) bool { return c < 0x80 && s[c>>6]>>(c&63)&1 != 0 }

// all says that b has no other characters.
func (s *charSet) all(b []byte) bool {
	for _, c := range b {
		if !s.has(c) {
			return false
		}
	}
	return true
}

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var (
	// tokenChars may stand in methods and header names (RFC 9110 §5.6.2).
	tokenChars = newCharSet(alphanumeric + "!#$%&'*+-.^_`|~")
	// hostChars may stand in a host and its port (RFC 3986 §3.2.2).
	hostChars = newCharSet(alphanumeric + "-._~%!$&'()*+,;=:[]")
)
