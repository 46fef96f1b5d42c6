package rest

import "bytes"

// params reads the parameters of a query or of a urlencoded form one by one, as
// net/url.ParseQuery does when its error is ignored: empty pieces, pieces with a
// ';' and pieces with a bad escape are left out. With lenient set it reads as PHP
// does: ';' is a character like any other and a bad escape stands for itself.
//
//	for p := (params{raw: query}); p.next(); {
//		switch string(p.key) { … p.value … }
//	}
type params struct {
	raw     []byte // not read yet
	lenient bool

	// Valid after next; they alias raw or memory of their own and stay as they are.
	key, value []byte
}

func (p *params) next() bool {
	for len(p.raw) > 0 {
		var piece []byte
		piece, p.raw, _ = bytes.Cut(p.raw, []byte("&"))
		if len(piece) == 0 || !p.lenient && bytes.IndexByte(piece, ';') >= 0 {
			continue
		}
		key, value, _ := bytes.Cut(piece, []byte("="))
		var ok1, ok2 bool
		p.key, ok1 = unescape(key, p.lenient)
		p.value, ok2 = unescape(value, p.lenient)
		if ok1 && ok2 {
			return true
		}
	}
	return false
}

// unescape undoes the escapes of a urlencoded string. ok is false for a bad one,
// unless lenient.
func unescape(s []byte, lenient bool) (plain []byte, ok bool) {
	// Fast path - nothing is escaped.
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s, true
	}
	plain = make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			plain = append(plain, ' ')
		case s[i] != '%':
			plain = append(plain, s[i])
		case i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			plain = append(plain, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		case lenient:
			plain = append(plain, '%')
		default:
			return nil, false
		}
	}
	return plain, true
}

// unhex is the value of a hexadecimal digit, 255 of anything else.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}
