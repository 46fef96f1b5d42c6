package stamp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Kind is what kind of target a message was pushed to.
type Kind uint8

const (
	Self Kind = iota // one client, by its key or its mid
	Room
	All

	Kinds = 3
)

// Target is whom a message is for: the kind in the two highest bits, below it the
// number of the client or of the room.
type Target uint32

const kindShift = 30

// To makes a target; n is below 2^30.
func To(k Kind, n int) Target { return Target(k)<<kindShift | Target(n) }

func (t Target) Kind() Kind  { return Kind(t >> kindShift) }
func (t Target) Number() int { return int(t & (1<<kindShift - 1)) }

// Stamp is what a message says of itself.
type Stamp struct {
	Run    uint32        // which run of the harness has sent it
	Target Target        // whom it is for
	Lane   uint16        // which of the target's lanes has sent it, from 0
	Seq    uint32        // its place among those of the lane to the target, from 1
	Due    time.Duration // when it was to be sent, since the run's begin; to the nanosecond, below 78 hours
}

// Size is that of a stamp, in bytes: the least body that can be checked.
//
//	0       4        8      10    14          20
//	| run   | target | lane | seq | due, ns   | filling …
//	| u32   | u32    | u16  | u32 | u48       |
//
// All big endian.
const Size = 20

// filling follows a stamp, as often as needed: who receives something else has
// received what nobody has sent.
const filling = "halley measures itself and others by what arrives. "

// Append appends a body of size bytes, Size at least, that begins with s.
func Append(dst []byte, s Stamp, size int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, s.Run)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Target))
	dst = binary.BigEndian.AppendUint16(dst, s.Lane)
	dst = binary.BigEndian.AppendUint32(dst, s.Seq)
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.Due>>32))
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Due))
	for left := size - Size; left > 0; left -= len(filling) {
		dst = append(dst, filling[:min(left, len(filling))]...)
	}
	return dst
}

// Parse reads a body. It is not ok if there is no room for a stamp in it; whether
// it is one of ours its Run tells, and intact whether all behind it is as it was
// made.
func Parse(body []byte) (s Stamp, intact, ok bool) {
	if len(body) < Size {
		return s, false, false
	}
	s = Stamp{
		Run:    binary.BigEndian.Uint32(body),
		Target: Target(binary.BigEndian.Uint32(body[4:])),
		Lane:   binary.BigEndian.Uint16(body[8:]),
		Seq:    binary.BigEndian.Uint32(body[10:]),
		Due:    time.Duration(binary.BigEndian.Uint16(body[14:]))<<32 | time.Duration(binary.BigEndian.Uint32(body[16:])),
	}
	for rest := body[Size:]; len(rest) > 0; {
		n := min(len(rest), len(filling))
		if string(rest[:n]) != filling[:n] {
			return s, false, true
		}
		rest = rest[n:]
	}
	return s, true, true
}

func (t Target) String() string {
	switch t.Kind() {
	case Self:
		return fmt.Sprintf("client %d", t.Number())
	case Room:
		return fmt.Sprintf("room %d", t.Number())
	case All:
		return "everybody"
	default:
		return fmt.Sprintf("target %#x", uint32(t))
	}
}
