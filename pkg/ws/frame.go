package ws

import (
	"encoding/binary"

	gobwas "github.com/gobwas/ws"
)

// OpCode says what a frame is.
type OpCode byte

// Opcodes, RFC 6455 §5.2; the others are reserved.
const (
	OpContinuation OpCode = 0x0
	OpText         OpCode = 0x1
	OpBinary       OpCode = 0x2
	OpClose        OpCode = 0x8
	OpPing         OpCode = 0x9
	OpPong         OpCode = 0xa
)

// IsControl reports whether frames of o stand for themselves, even between the
// frames of a message (RFC 6455 §5.5).
func (o OpCode) IsControl() bool { return o&0x8 != 0 }

// reservedOps has a bit for every opcode that RFC 6455 §5.2 reserves: 3-7, b-f.
const reservedOps = 0xf8f8

const (
	// MaxControl is the most that a control frame carries, in bytes (RFC 6455
	// §5.5).
	MaxControl = 125
	// MaxHeader is the longest header of a frame, in bytes: two, eight of
	// length, four of mask.
	MaxHeader = 14

	bitFin  = 0x80
	bitRsv1 = 0x40
	bitsRsv = 0x70
	bitMask = 0x80

	length16 = 126 // 16 bits of length follow
	length64 = 127 // 64 bits of length follow
)

// Header is the header of one frame.
type Header struct {
	Fin        bool // last frame of its message
	Compressed bool // RSV1: first frame of a compressed message (RFC 7692 §6)
	Op         OpCode
	Masked     bool
	Mask       [4]byte
	Length     int64 // of the payload, in bytes
	Size       int   // of the header itself, in bytes
}

// ParseHeader reads the frame header at the start of src. ok is false when src
// does not hold all of it yet. What is wrong is refused as soon as its byte is
// there. The error is a *ProtocolError. Whether the frame had to be masked, and
// whether it may follow the frames before it, is for Assembler to say. deflate
// says that permessage-deflate was agreed on: RSV1 may then be set in the first
// frame of a message, but not in continuations and control frames (RFC 7692 §6.1).
//
//	 0               1               2               4            4 or 10
//	+-+-+-+-+-------+-+-------------+---------------+------------+--------
//	|F|R|R|R| op    |M| length 7    | length 16, if | or 64,     | mask 32,
//	|I|S|S|S|       |A|             | length 7 is   | if it is   | if MASK
//	|N|V|V|V|       |S|             | 126           | 127        |
//	+-+-+-+-+-------+-+-------------+---------------+------------+--------
//
// RFC 6455 §5.2.
func ParseHeader(src []byte, deflate bool) (h Header, ok bool, err error) {
	if len(src) == 0 {
		return Header{}, false, nil
	}
	h.Fin = src[0]&bitFin != 0
	h.Op = OpCode(src[0] & 0x0f)
	h.Compressed = src[0]&bitRsv1 != 0
	switch {
	case src[0]&bitsRsv != 0 && !(deflate && src[0]&bitsRsv == bitRsv1 && (h.Op == OpText || h.Op == OpBinary)):
		return Header{}, false, errReservedBits
	case reservedOps>>h.Op&1 != 0:
		return Header{}, false, errReservedOp
	case h.Op.IsControl() && !h.Fin:
		return Header{}, false, errControlFin
	}
	if len(src) < 2 {
		return Header{}, false, nil
	}
	h.Masked = src[1]&bitMask != 0
	h.Length = int64(src[1] &^ bitMask)
	h.Size = 2
	if h.Length > MaxControl {
		if h.Op.IsControl() {
			return Header{}, false, errControlSize
		}
		if ok, err = h.longLength(src); !ok {
			return Header{}, false, err
		}
	}
	if h.Masked {
		if len(src) < h.Size+len(h.Mask) {
			return Header{}, false, nil
		}
		h.Size += copy(h.Mask[:], src[h.Size:])
	}
	return h, true, nil
}

// longLength reads the 16 or 64 bits of length that follow the first two bytes.
func (h *Header) longLength(src []byte) (ok bool, err error) {
	if h.Length == length16 {
		if h.Size = 4; len(src) < h.Size {
			return false, nil
		}
		if h.Length = int64(binary.BigEndian.Uint16(src[2:])); h.Length <= MaxControl {
			return false, errLengthForm
		}
		return true, nil
	}
	if h.Size = 10; len(src) < h.Size {
		return false, nil
	}
	if h.Length = int64(binary.BigEndian.Uint64(src[2:])); h.Length < 0 {
		return false, errLengthSign
	}
	if h.Length <= 0xffff {
		return false, errLengthForm
	}
	return true, nil
}

// Append appends h with its length in the shortest form. Size is not looked at.
func (h Header) Append(dst []byte) []byte {
	b0, b1 := byte(h.Op), byte(0)
	if h.Fin {
		b0 |= bitFin
	}
	if h.Compressed {
		b0 |= bitRsv1
	}
	if h.Masked {
		b1 = bitMask
	}
	switch {
	case h.Length <= MaxControl:
		dst = append(dst, b0, b1|byte(h.Length))
	case h.Length <= 0xffff:
		dst = append(dst, b0, b1|length16, byte(h.Length>>8), byte(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, b0, b1|length64), uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// Unmask masks or unmasks payload in place (RFC 6455 §5.3). offset, not
// negative, is the place of payload's first byte in the frame's payload.
func Unmask(payload []byte, mask [4]byte, offset int) { gobwas.Cipher(payload, mask, offset) }

// AppendHeader appends the header of a frame that a server sends: a message of
// its own, unmasked, whose payload of payloadLen bytes follows.
func AppendHeader(dst []byte, op OpCode, payloadLen int) []byte {
	return Header{Fin: true, Op: op, Length: int64(payloadLen)}.Append(dst)
}

// AppendFrame appends a whole frame that a server sends. It does not allocate
// when dst has room.
func AppendFrame(dst []byte, op OpCode, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendClientFrame appends a whole frame that a client sends, masked with mask,
// which must be random wherever a proxy may listen (RFC 6455 §5.3, §10.3).
// payload is copied and left as it is.
func AppendClientFrame(dst []byte, op OpCode, mask [4]byte, payload []byte) []byte {
	dst = Header{Fin: true, Op: op, Masked: true, Mask: mask, Length: int64(len(payload))}.Append(dst)
	dst = append(dst, payload...)
	Unmask(dst[len(dst)-len(payload):], mask, 0)
	return dst
}
