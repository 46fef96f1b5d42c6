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
	Lane   uint8         // which of the target's lanes has sent it, from 0
	Seq    uint32        // its place among those of the lane to the target, from 1
	Due    time.Duration // when it was to be sent, since the run's begin; to the nanosecond, below 78 hours
}

// Size is that of a stamp, in bytes: the least body that can be checked.
//
//	0       4        8       9      10    14          20
//	| run   | target | check | lane | seq | due, ns   | filling …
//	| u32   | u32    | u8    | u8   | u32 | u48       |
//
// All big endian.
const Size = 20

// MaxLanes is how many lanes may send to one target.
const MaxLanes = 1 << 8

// The check byte is such that all bytes of a stamp, and the two lowest of the body's
// length, give checked if they are XORed: a stamp in which one byte is wrong does not
// pass, nor does a body that was cut off. That is what a gateway does to messages
// that it does not drop; and at 2 ns a message nothing better was needed.
const (
	checkAt = 8
	checked = 0x5a
)

// fold is the XOR of a stamp's bytes and of the body's length.
func fold(body []byte) byte {
	x := binary.BigEndian.Uint64(body) ^ binary.BigEndian.Uint64(body[8:]) ^
		uint64(binary.BigEndian.Uint32(body[16:])) ^ uint64(len(body)&0xffff)
	x ^= x >> 32
	x ^= x >> 16
	return byte(x ^ x>>8)
}

// filling follows a stamp, as often as needed: who receives something else has
// received what nobody has sent.
const filling = "halley measures itself and others by what arrives. "

// Append appends a body of size bytes, Size at least, that begins with s.
func Append(dst []byte, s Stamp, size int) []byte {
	begin := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, s.Run)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Target))
	dst = append(dst, 0, s.Lane)
	dst = binary.BigEndian.AppendUint32(dst, s.Seq)
	dst = binary.BigEndian.AppendUint16(dst, uint16(s.Due>>32))
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Due))
	for left := size - Size; left > 0; left -= len(filling) {
		dst = append(dst, filling[:min(left, len(filling))]...)
	}
	dst[begin+checkAt] = fold(dst[begin:]) ^ checked
	return dst
}

// Origin is what a body says of where it comes from.
type Origin uint8

const (
	Foreign Origin = iota // nobody of this run has sent it
	Damaged               // this run has sent it, but not as it is
	Whole
)

// Parse reads a body that a client of run has got. One with the stamp of another run
// is foreign; one whose filling is the harness's but whose stamp does not check is
// damaged, whatever run it names: that may be what is wrong.
func Parse(body []byte, run uint32) (s Stamp, from Origin) {
	if len(body) < Size {
		return s, Foreign
	}
	s = Stamp{
		Run:    binary.BigEndian.Uint32(body),
		Target: Target(binary.BigEndian.Uint32(body[4:])),
		Lane:   body[9],
		Seq:    binary.BigEndian.Uint32(body[10:]),
		Due:    time.Duration(binary.BigEndian.Uint16(body[14:]))<<32 | time.Duration(binary.BigEndian.Uint32(body[16:])),
	}
	sound, filled := fold(body) == checked, isFilling(body[Size:])
	switch {
	case s.Run == run && sound && filled:
		return s, Whole
	case s.Run == run, !sound && filled && len(body) > Size:
		return s, Damaged
	}
	return s, Foreign
}

// isFilling says whether rest is what Append puts behind a stamp.
func isFilling(rest []byte) bool {
	for len(rest) > 0 {
		n := min(len(rest), len(filling))
		if string(rest[:n]) != filling[:n] {
			return false
		}
		rest = rest[n:]
	}
	return true
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
