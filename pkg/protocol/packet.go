package protocol

import (
	"encoding/binary"
	"errors"
)

const (
	// HeaderSize is the length of every packet's header, in bytes.
	HeaderSize = 16
	// MaxBody bounds the body of a packet that a client may send, in bytes
	// (goim MaxBodySize). What a server sends has no bound in the protocol.
	MaxBody = 4096
	// PushVer is the version in the header of every pushed packet.
	PushVer = 1
)

// Parse errors. The connection that sent such bytes cannot be trusted to be in
// step any more and must be closed.
var (
	ErrLength   = errors.New("protocol: package length below the header length")
	ErrHeader   = errors.New("protocol: header length is not 16")
	ErrTooLarge = errors.New("protocol: body exceeds the limit")
	ErrShort    = errors.New("protocol: package length exceeds the message")
)

// Packet is one message of the protocol. Body aliases the buffer it was parsed
// from and is valid as long as that is.
type Packet struct {
	Ver  int16
	Op   Op
	Seq  int32
	Body []byte
}

// Parse reads the packet at the start of src, whose body may have at most
// maxBody bytes; a negative maxBody sets no limit. It returns the packet and
// the bytes it took, or n == 0 when src does not yet hold all of it. It checks
// the header before it waits for the body, so that a lie is refused at once.
//
//	 0       4       6       8       12      16
//	+-------+-------+-------+-------+-------+----------
//	| pkg   | header| ver   | op    | seq   | body ...
//	| int32 | int16 | int16 | int32 | int32 | pkg - 16
//	+-------+-------+-------+-------+-------+----------
func Parse(src []byte, maxBody int) (p Packet, n int, err error) {
	if len(src) < HeaderSize {
		return Packet{}, 0, checkPrefix(src)
	}
	size := int64(int32(binary.BigEndian.Uint32(src)))
	if size < HeaderSize {
		return Packet{}, 0, ErrLength
	}
	if binary.BigEndian.Uint16(src[4:]) != HeaderSize {
		return Packet{}, 0, ErrHeader
	}
	if maxBody >= 0 && size-HeaderSize > int64(maxBody) {
		return Packet{}, 0, ErrTooLarge
	}
	if int64(len(src)) < size {
		return Packet{}, 0, nil
	}
	return Packet{
		Ver:  int16(binary.BigEndian.Uint16(src[6:])),
		Op:   Op(binary.BigEndian.Uint32(src[8:])),
		Seq:  int32(binary.BigEndian.Uint32(src[12:])),
		Body: src[HeaderSize:size:size],
	}, int(size), nil
}

// checkPrefix refuses a header of which only a part is here when that part is
// already wrong.
func checkPrefix(src []byte) error {
	if len(src) >= 4 && int32(binary.BigEndian.Uint32(src)) < HeaderSize {
		return ErrLength
	}
	if len(src) >= 6 && binary.BigEndian.Uint16(src[4:]) != HeaderSize {
		return ErrHeader
	}
	return nil
}

// ParseMessage reads the one packet that a WebSocket message holds. Bytes after
// it are ignored, as goim does; a packet that claims more than the message has
// is ErrShort: nothing beyond src is ever looked at.
func ParseMessage(src []byte, maxBody int) (Packet, error) {
	p, n, err := Parse(src, maxBody)
	if err == nil && n == 0 {
		err = ErrShort
	}
	return p, err
}

// AppendHeader appends the header of a packet whose body of bodyLen bytes
// follows. It does not allocate when dst has room.
func AppendHeader(dst []byte, ver int16, op Op, seq int32, bodyLen int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(HeaderSize+bodyLen))
	dst = binary.BigEndian.AppendUint16(dst, HeaderSize)
	dst = binary.BigEndian.AppendUint16(dst, uint16(ver))
	dst = binary.BigEndian.AppendUint32(dst, uint32(op))
	return binary.BigEndian.AppendUint32(dst, uint32(seq))
}

// AppendPacket appends p, header and body.
func AppendPacket(dst []byte, p Packet) []byte {
	return append(AppendHeader(dst, p.Ver, p.Op, p.Seq, len(p.Body)), p.Body...)
}
