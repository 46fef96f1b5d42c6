package protocol

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonField is a field of the JSON form that means something.
type jsonField int

const (
	fieldVer jsonField = iota
	fieldOp
	fieldSeq
	fieldBody
	fieldBody64
	jsonFields
	fieldUnknown = jsonFields
)

var fieldNames = [jsonFields]string{"ver", "op", "seq", "body", "body64"}

func (f jsonField) String() string { return fieldNames[f] }

var (
	errJSONText = errors.New("protocol: a JSON message must be UTF-8")
	errJSONBoth = errors.New(`protocol: JSON fields "body" and "body64": one of them is allowed`)
	errBase64   = errors.New(`protocol: JSON field "body64": a string in base64 with padding, RFC 4648 section 4, is allowed`)
	errNoOp     = errors.New(`protocol: JSON field "op" is missing: an integer from -2147483648 to 2147483647 is needed`)
)

// ParseJSON reads the packet that a message of the JSON form holds: one object,
// with nothing but white space around it, in UTF-8, nested at most 512 deep.
//
//   - "op" must be there; "ver" is 1 and "seq" is 0 if they are not. All three are
//     integers, without fraction or exponent, that fit into the packet;
//   - "body" is a string, which stands for its text, or any other value, null
//     included, which stands for its bytes as they were sent. A lone surrogate in
//     a string is read as U+FFFD, as encoding/json does;
//   - "body64" is bytes in base64; "body" and "body64" together are refused;
//   - other fields are ignored; those above may come only once. Names are
//     compared as they are, upper and lower case differ.
//
// The body may have at most maxBody bytes, otherwise the error is ErrTooLarge; a
// negative maxBody sets no limit. Errors name the field or the place and say what
// is allowed, in at most 123 bytes of ASCII, which fit into a close frame (RFC
// 6455 §5.5); they quote nothing of src. The connection must be closed, as after
// an error of Parse.
//
// Body aliases src, as that of Parse does, unless it had to be decoded: a string
// with escapes and base64 are the only ones that allocate.
func ParseJSON(src []byte, maxBody int) (Packet, error) {
	var values [jsonFields][]byte
	if err := scanFields(src, &values); err != nil {
		return Packet{}, err
	}
	if values[fieldOp] == nil {
		return Packet{}, errNoOp
	}
	ver, err := parseInteger(values[fieldVer], fieldVer, math.MinInt16, math.MaxInt16, 1)
	if err != nil {
		return Packet{}, err
	}
	op, err := parseInteger(values[fieldOp], fieldOp, math.MinInt32, math.MaxInt32, 0)
	if err != nil {
		return Packet{}, err
	}
	seq, err := parseInteger(values[fieldSeq], fieldSeq, math.MinInt32, math.MaxInt32, 0)
	if err != nil {
		return Packet{}, err
	}
	body, err := parseBody(&values, maxBody)
	if err != nil {
		return Packet{}, err
	}
	return Packet{Ver: int16(ver), Op: Op(op), Seq: int32(seq), Body: body}, nil
}

// scanFields checks all of src and finds the values of the fields.
func scanFields(src []byte, values *[jsonFields][]byte) error {
	if !utf8.Valid(src) {
		return errJSONText
	}
	s := jsonScanner{src: src}
	if s.space(); s.peek() != '{' {
		return s.broken()
	}
	s.at++
	s.space()
	for more := s.peek() != '}'; more; {
		s.space()
		f, ok := s.field()
		if !ok {
			return s.broken()
		}
		s.space()
		start := s.at
		if !s.value(maxNesting - 1) {
			return s.broken()
		}
		if f != fieldUnknown {
			if values[f] != nil {
				return fmt.Errorf("protocol: JSON field %q comes twice: once is allowed", f)
			}
			values[f] = src[start:s.at:s.at]
		}
		s.space()
		if more = s.peek() == ','; more {
			s.at++
		}
	}
	if s.peek() != '}' {
		return s.broken()
	}
	s.at++
	if s.space(); s.at < len(src) {
		return fmt.Errorf("protocol: JSON message goes on behind its object, at byte %d: one object is allowed", s.at)
	}
	return nil
}

// broken says where the scanner has failed.
func (s *jsonScanner) broken() error {
	return fmt.Errorf("protocol: broken JSON at byte %d: one object, nested at most %d deep, is allowed", s.at, maxNesting)
}

// field takes the name of a field and the colon behind it.
func (s *jsonScanner) field() (f jsonField, ok bool) {
	start := s.at
	if !s.text() {
		return fieldUnknown, false
	}
	f = fieldOf(s.src[start+1 : s.at-1])
	return f, s.colon()
}

// fieldOf tells which field a name is, given as it is between its quotes.
func fieldOf(name []byte) jsonField {
	const longest = len(`\u0062\u006f\u0064\u0079\u0036\u0034`) // body64
	var buf [longest]byte
	if len(name) <= longest && bytes.IndexByte(name, '\\') >= 0 {
		name = appendUnescaped(buf[:0], name)
	}
	for f, known := range fieldNames {
		if string(name) == known {
			return jsonField(f)
		}
	}
	return fieldUnknown
}

// parseInteger reads the value of a field, which has the value missing if it is
// not there.
func parseInteger(value []byte, f jsonField, low, high, missing int64) (int64, error) {
	if value == nil {
		return missing, nil
	}
	// The value is valid JSON: what ParseInt takes beyond it cannot come.
	n, err := strconv.ParseInt(string(value), 10, 32)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("protocol: JSON field %q: an integer from %d to %d is allowed", f, low, high)
	}
	return n, nil
}

func parseBody(values *[jsonFields][]byte, maxBody int) (body []byte, err error) {
	f := fieldBody
	body = values[f]
	if coded := values[fieldBody64]; coded != nil {
		if body != nil {
			return nil, errJSONBoth
		}
		f = fieldBody64
		if body, err = parseBase64(coded); err != nil {
			return nil, err
		}
	} else if len(body) > 0 && body[0] == '"' {
		body = unquoted(body)
	}
	if maxBody >= 0 && len(body) > maxBody {
		return nil, fmt.Errorf("%w: JSON field %q has %d bytes, at most %d are allowed", ErrTooLarge, f, len(body), maxBody)
	}
	return body, nil
}

// parseBase64 reads a JSON value that must be a string of base64. Line ends,
// which package base64 skips, are no base64 (RFC 4648 §3.3).
func parseBase64(value []byte) ([]byte, error) {
	if value[0] != '"' {
		return nil, errBase64
	}
	text := unquoted(value)
	if bytes.ContainsAny(text, "\r\n") {
		return nil, errBase64
	}
	body, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return nil, errBase64
	}
	return body, nil
}

// unquoted is the text of a JSON string.
func unquoted(value []byte) []byte {
	text := value[1 : len(value)-1 : len(value)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return text // Fast path - nothing is escaped.
	}
	return appendUnescaped(make([]byte, 0, len(text)), text)
}

// appendUnescaped appends what stands between the quotes of a valid JSON string,
// its escapes resolved. That is never longer than it was.
func appendUnescaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		c := text[i+1]
		text = text[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, n := decodeUTF16(text)
			dst = utf8.AppendRune(dst, r)
			text = text[n:]
			continue
		}
		dst = append(dst, c)
	}
}

// decodeUTF16 reads the character whose first escape sequence has lost its `\u`
// already, and the bytes it takes: 4, or 10 for a pair of surrogates.
func decodeUTF16(text []byte) (r rune, n int) {
	r = hex4(text)
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(text) >= 10 && text[4] == '\\' && text[5] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(text[6:])); pair != utf8.RuneError {
			return pair, 10
		}
	}
	return utf8.RuneError, 4
}

// hex4 reads four hexadecimal digits.
func hex4(text []byte) (r rune) {
	for _, c := range text[:4] {
		if c > '9' {
			c = c&^0x20 - 'A' + '0' + 10
		}
		r = r<<4 + rune(c-'0')
	}
	return r
}
