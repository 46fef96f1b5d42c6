package protocol

// maxNesting is how deep objects and arrays may stand in each other in a message
// of the JSON form. Clients' parsers have bounds of their own, and a message over
// them would be lost with all that came in it; 512 is json_decode's in PHP.
// encoding/json allows 10,000: that is 1,250 bytes of stack to clear per call for
// messages that nobody sends.
const maxNesting = 512

// jsonScanner finds the ends of JSON values (RFC 8259). It does not look at what
// they say, whether their bytes are UTF-8, or at names that come twice. It does
// not recurse and does not allocate.
type jsonScanner struct {
	src []byte
	at  int // the next byte; after a failure, the one that is wrong
}

// jsonText is the one JSON value that src holds, nested at most limit deep,
// without the white space around it; nil if src is anything else.
func jsonText(src []byte, limit int) []byte {
	s := jsonScanner{src: src}
	s.space()
	start := s.at
	if !s.value(limit) {
		return nil
	}
	end := s.at
	if s.space(); s.at < len(src) {
		return nil
	}
	return src[start:end:end]
}

// nesting remembers which brackets are open. At most maxNesting are.
type nesting struct {
	level  int
	object [maxNesting / 64]uint64 // a bit per level: '{', not '['
}

func (n *nesting) open(bracket byte) {
	word, bit := n.level/64, uint64(1)<<(n.level%64)
	n.object[word] &^= bit
	if bracket == '{' {
		n.object[word] |= bit
	}
	n.level++
}

// inObject says that the innermost bracket is '{'.
func (n *nesting) inObject() bool {
	top := n.level - 1
	return n.object[top/64]>>(top%64)&1 != 0
}

// closing is the bracket that ends what the innermost one began.
func (n *nesting) closing() byte {
	if n.inObject() {
		return '}'
	}
	return ']'
}

// value takes the value that comes next, and white space before it. Objects and
// arrays may nest limit deep, which is at most maxNesting.
func (s *jsonScanner) value(limit int) bool {
	var n nesting
	for {
		s.space()
		switch c := s.peek(); c {
		case '{', '[':
			if n.level == limit {
				return false
			}
			n.open(c)
			s.at++
			if s.space(); s.peek() == n.closing() {
				break
			}
			if c == '{' && !s.name() {
				return false
			}
			continue
		default:
			if !s.scalar(c) {
				return false
			}
		}
		if !s.follow(&n) {
			return false
		}
		if n.level == 0 {
			return true
		}
	}
}

// follow takes what stands between a value and the next one: brackets that close,
// a comma, a name. It stops at level 0.
func (s *jsonScanner) follow(n *nesting) bool {
	for n.level > 0 {
		s.space()
		switch s.peek() {
		case ',':
			s.at++
			return !n.inObject() || s.name()
		case n.closing():
			s.at++
			n.level--
		default:
			return false
		}
	}
	return true
}

// name takes a string and a colon, and white space before each.
func (s *jsonScanner) name() bool {
	s.space()
	return s.text() && s.colon()
}

// colon takes a colon and white space before it.
func (s *jsonScanner) colon() bool {
	s.space()
	if s.peek() != ':' {
		return false
	}
	s.at++
	return true
}

// scalar takes a string, a number, true, false or null, which begins with c.
func (s *jsonScanner) scalar(c byte) bool {
	switch c {
	case '"':
		return s.text()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// text takes a string.
func (s *jsonScanner) text() bool {
	if s.peek() != '"' {
		return false
	}
	for s.at++; s.at < len(s.src); s.at++ {
		switch c := s.src[s.at]; {
		case c == '"':
			s.at++
			return true
		case c < ' ':
			return false
		case c == '\\':
			if !s.escape() {
				return false
			}
		}
	}
	return false
}

// escape takes an escape sequence but for its last byte.
func (s *jsonScanner) escape() bool {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			s.at++
			if !isHex(s.peek()) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// number takes a number.
func (s *jsonScanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return false
		}
	}
	if s.peek()|0x20 == 'e' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		return s.digits()
	}
	return true
}

// digits takes one digit or more.
func (s *jsonScanner) digits() bool {
	start := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > start
}

func (s *jsonScanner) word(w string) bool {
	for i := range len(w) {
		if s.peek() != w[i] {
			return false
		}
		s.at++
	}
	return true
}

func (s *jsonScanner) space() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek is the next byte; 0, which no token has, at the end.
func (s *jsonScanner) peek() byte {
	if s.at < len(s.src) {
		return s.src[s.at]
	}
	return 0
}
