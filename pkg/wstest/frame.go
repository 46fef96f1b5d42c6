package wstest

import (
	"encoding/binary"
	"strings"
)

// The first byte of a frame, RFC 6455 §5.2.
const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
	rsvs = rsv1 | rsv2 | rsv3

	opCont   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

var opNames = map[byte]string{opCont: "continuation", opText: "text", opBinary: "binary",
	opClose: "close", opPing: "ping", opPong: "pong"}

func isControl(op byte) bool { return op&0x8 != 0 }

// blob is unit, again and again, n bytes of it: tables can speak of 16 MiB
// without having them.
type blob struct {
	unit string
	n    int
}

func str(s string) blob                { return blob{s, len(s)} }
func repeat(unit string, n int) blob   { return blob{unit, n} }
func (b blob) plus(suffix string) blob { return str(b.String() + suffix) }

func (b blob) String() string {
	if b.n <= len(b.unit) {
		return b.unit[:b.n]
	}
	return strings.Repeat(b.unit, b.n/len(b.unit)+1)[:b.n]
}

// equal compares without making b's string.
func (b blob) equal(p []byte) bool {
	if len(p) != b.n {
		return false
	}
	for len(p) > 0 {
		n := min(len(p), len(b.unit))
		if string(p[:n]) != b.unit[:n] {
			return false
		}
		p = p[n:]
	}
	return true
}

// chunk is something a client sends. z compresses as was agreed.
type chunk interface {
	appendTo(dst []byte, z *deflater) []byte
}

// raw is bytes as they are.
type raw string

func (r raw) appendTo(dst []byte, _ *deflater) []byte { return append(dst, r...) }

// part is bytes from to to of another chunk; to 0 means its end.
type part struct {
	of       chunk
	from, to int
}

func (p part) appendTo(dst []byte, z *deflater) []byte {
	b := p.of.appendTo(nil, z)
	if p.to > 0 {
		b = b[:p.to]
	}
	return append(dst, b[p.from:]...)
}

// frame is one frame, right or wrong.
type frame struct {
	head byte // FIN, reserved bits and opcode
	data blob

	form     form // of the length
	mask     *[4]byte
	unmasked bool
}

// form is how the length is written: as short as it can be, or longer.
type form int

const (
	shortest form = 0
	form16   form = 16
	form64   form = 64
)

// defaultMask is the one of the example in RFC 6455 §5.7.
var defaultMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func (f frame) appendTo(dst []byte, _ *deflater) []byte {
	bit := byte(0x80)
	if f.unmasked {
		bit = 0
	}
	n := f.data.n
	switch {
	case f.form == form64 || n > 0xffff:
		dst = binary.BigEndian.AppendUint64(append(dst, f.head, bit|127), uint64(n))
	case f.form == form16 || n > 125:
		dst = binary.BigEndian.AppendUint16(append(dst, f.head, bit|126), uint16(n))
	default:
		dst = append(dst, f.head, bit|byte(n))
	}
	if f.unmasked {
		return append(dst, f.data.String()...)
	}
	mask := defaultMask
	if f.mask != nil {
		mask = *f.mask
	}
	dst = append(dst, mask[:]...)
	dst = append(dst, f.data.String()...)
	xor(dst[len(dst)-n:], mask)
	return dst
}

func xor(b []byte, mask [4]byte) {
	four := binary.LittleEndian.Uint32(mask[:])
	eight := uint64(four)<<32 | uint64(four)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^eight)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i&3]
	}
}

// fragments is a message cut into frames of size bytes, the last one maybe
// shorter.
type fragments struct {
	op   byte
	data blob
	size int
}

func (f fragments) appendTo(dst []byte, z *deflater) []byte {
	return appendFragments(dst, f.op, f.data.String(), f.size)
}

func appendFragments(dst []byte, head byte, s string, size int) []byte {
	for first := true; first || s != ""; first = false {
		n := min(size, len(s))
		if n == len(s) {
			head |= fin
		}
		dst = frame{head: head, data: str(s[:n])}.appendTo(dst, nil)
		head, s = opCont, s[n:]
	}
	return dst
}

// What clients send.

func send(chunks ...chunk) []chunk { return chunks }

func text(s string) frame   { return frame{head: fin | opText, data: str(s)} }
func bin(s string) frame    { return frame{head: fin | opBinary, data: str(s)} }
func ping(s string) frame   { return frame{head: fin | opPing, data: str(s)} }
func pong(s string) frame   { return frame{head: fin | opPong, data: str(s)} }
func first(s string) frame  { return frame{head: opText, data: str(s)} }
func firstB(s string) frame { return frame{head: opBinary, data: str(s)} }
func cont(s string) frame   { return frame{head: opCont, data: str(s)} }
func last(s string) frame   { return frame{head: fin | opCont, data: str(s)} }

// closing is a Close frame with a code, right or wrong.
func closing(code int, reason string) frame {
	return closeWith(string([]byte{byte(code >> 8), byte(code)}) + reason)
}

func closeWith(payload string) frame { return frame{head: fin | opClose, data: str(payload)} }
