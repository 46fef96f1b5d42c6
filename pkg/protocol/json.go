package protocol

import (
	"encoding/base64"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The JSON form carries a packet as one object, in a WebSocket text message that
// begins with '{' (docs/protocol.md §11):
//
//	{"ver":1,"op":7,"seq":1,"body":{"mid":123,"room_id":"live://1000"}}
//
// "body" is any JSON value; a body that is not UTF-8 is in "body64" instead; a
// packet without a body has neither.

const (
	// JSONPushHead and JSONPushTail enclose the objects of pushed packets, with
	// commas between them, in the one message that carries them.
	JSONPushHead = `{"ver":1,"op":9,"seq":0,"body":[`
	JSONPushTail = `]}`

	// jsonFrame is the longest that an object has beside its body, in bytes.
	jsonFrame = len(`{"ver":-32768,"op":-2147483648,"seq":-2147483648,"body64":""}`)
	// maxPushed is how deep the body of a packet may nest so that maxNesting holds
	// for the whole push message: its object and its array, and the packet's object.
	maxPushed = maxNesting - 3
)

// AppendJSON appends p as a JSON object, which is valid JSON and valid UTF-8
// whatever p.Body has:
//
//   - no bytes: no "body";
//   - a JSON value nested at most 509 deep: that value, byte for byte, without
//     the white space around it. White space in it stays;
//   - other text in UTF-8: a string;
//   - anything else: "body64", base64 with padding (RFC 4648 §4).
//
// So the wire does not tell the text hello from the JSON string "hello" with its
// quotes: both are "body":"hello", and ParseJSON reads hello. It does not allocate
// when dst has room.
func AppendJSON(dst []byte, p Packet) []byte {
	dst = slices.Grow(dst, jsonFrame+len(p.Body))
	dst = append(dst, `{"ver":`...)
	dst = strconv.AppendInt(dst, int64(p.Ver), 10)
	dst = append(dst, `,"op":`...)
	dst = strconv.AppendInt(dst, int64(p.Op), 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, int64(p.Seq), 10)
	if len(p.Body) > 0 {
		dst = appendBody(dst, p.Body)
	}
	return append(dst, '}')
}

func appendBody(dst, body []byte) []byte {
	if !utf8.Valid(body) {
		dst = append(dst, `,"body64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, body)
		return append(dst, '"')
	}
	dst = append(dst, `,"body":`...)
	if value := jsonText(body, maxPushed); value != nil {
		return append(dst, value...)
	}
	return appendString(dst, body)
}

// appendString appends s, which is UTF-8, as a JSON string. Only what RFC 8259 §7
// demands is escaped.
func appendString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	done := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[done:]...), '"')
}

// JSONPushSize is the length in bytes of the message that carries n pushed
// packets whose objects have total bytes together: the header of a WebSocket
// frame, which comes first, needs it.
func JSONPushSize(n, total int) int {
	return len(JSONPushHead) + total + max(n-1, 0) + len(JSONPushTail)
}

// AppendJSONPush appends the message that carries pushed packets. Each of objects
// is one packet as AppendJSON wrote it; a gateway makes it once and shares it. The
// result has JSONPushSize bytes. It does not allocate when dst has room.
func AppendJSONPush(dst []byte, objects ...[]byte) []byte {
	dst = append(dst, JSONPushHead...)
	for i, o := range objects {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, o...)
	}
	return append(dst, JSONPushTail...)
}
