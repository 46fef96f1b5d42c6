package wstest

import (
	"fmt"
	"math"
)

const (
	whyLength   = "§5.2: the length is in 7, 7+16 or 7+64 bits"
	whyMinimal  = "§5.2: the minimal number of bytes MUST be used; §10.7: incoming data MUST always be validated"
	whyMSB      = "§5.2: the most significant bit MUST be 0; or 1009, it is too long as well"
	whyReserved = "§5.2: a nonzero reserved bit without an extension that defines it: MUST fail the connection"
	whyOpcode   = "§5.2: an unknown opcode: MUST fail the connection"
)

// bothKinds are the two kinds of messages.
var bothKinds = []struct {
	name string
	op   byte
	unit string
}{{"text", opText, "Grüße, "}, {"binary", opBinary, "\x00\x01\xfe\xff\x80"}}

// echo is a message and its echo.
func echo(op byte, data blob) (chunk, event) {
	return frame{head: fin | op, data: data}, event{op: op, data: data}
}

// asciiFor makes a payload of exactly n bytes that is UTF-8.
func asciiFor(op byte, n int) blob {
	if op == opText {
		return repeat("The quick brown fox. ", n)
	}
	return repeat("\x00\x01\xfe\xff\x80", n)
}

// lengthCases: every form of a length and both sides of each limit, in several
// pieces (§5.2; Autobahn 1.*, 10.*).
func lengthCases(*Target) []testCase {
	var list []testCase
	splits := []struct {
		name  string
		split split
		most  int // length up to which it makes sense
	}{{"at-once", whole, math.MaxInt}, {"by-bytes", byteWise, 200}, {"in-odd-pieces", oddPieces, 70000}, {"in-pieces-of-997", 997, math.MaxInt}}
	for _, kind := range bothKinds {
		for _, n := range []int{0, 1, 2, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537} {
			for _, s := range splits {
				if n > s.most || s.split == 997 && n < 997 {
					continue
				}
				if s.split == byteWise && kind.op == opBinary && n > 2 {
					continue // the same paths as text
				}
				msg, back := echo(kind.op, asciiFor(kind.op, n))
				list = append(list, testCase{name: fmt.Sprintf("5.2/%s-of-%d-%s", kind.name, n, s.name), why: whyLength,
					steps: []step{{send: send(msg), split: s.split, want: []event{back}}}})
			}
		}
	}
	list = append(list, fromRows(formRows)...)
	// Lengths in a longer form than they need.
	for _, r := range longFormRows {
		c := fromRows([]row{r})[0]
		c.ends[0] = closed(1002)
		c.ends = append(c.ends, orLenient(r.end))
		list = append(list, c)
	}
	return append(list, manyLengths())
}

// manyLengths has every small length in one go: unmasking in words has another
// path for each.
func manyLengths() testCase {
	c := testCase{name: "5.3/payloads-of-0-to-129-in-a-row", why: "§5.3: octet i is masked with octet i MOD 4 of the key"}
	var s step
	for n := range 130 {
		data := repeat("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa", n)
		s.send = append(s.send, frame{head: fin | opBinary, data: data, mask: &[4]byte{byte(n), 0x80, 0xff, 1}})
		s.want = append(s.want, event{op: opBinary, data: data})
	}
	s.split = oddPieces
	c.steps = []step{s}
	return c
}

var formRows = []row{
	{"5.2/length-with-highest-bit", whyMSB, send(raw("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01\x37\xfa\x21\x3d?")), closed(1002, 1009)},
	{"5.2/length-with-all-bits", whyMSB, send(raw("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x37\xfa\x21\x3d?")), closed(1002, 1009)},
	{"5.2/length-minus-2-to-the-63", whyMSB, send(raw("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x37\xfa\x21\x3d")), closed(1002, 1009)},
	{"5.2/length-with-highest-bit-after-a-message", whyMSB, send(text("one"), raw("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01\x37\xfa\x21\x3d?")),
		closed(1002, 1009).after(gotText("one"))},
	{"5.2/length-with-highest-bit-in-a-fragment", whyMSB, send(first("one"), raw("\x80\xff\x80\x00\x00\x00\x00\x00\x00\x01\x37\xfa\x21\x3d?")), closed(1002, 1009)},
}

// longFormRows have the ending of a lenient server.
var longFormRows = []row{
	{"5.2/0-bytes-in-16-bits", whyMinimal, send(frame{head: fin | opText, form: form16}), usable(gotText(""))},
	{"5.2/1-byte-in-16-bits", whyMinimal, send(frame{head: fin | opText, data: str("a"), form: form16}), usable(gotText("a"))},
	{"5.2/125-bytes-in-16-bits", whyMinimal, send(frame{head: fin | opBinary, data: repeat("a", 125), form: form16}), usable(event{op: opBinary, data: repeat("a", 125)})},
	{"5.2/0-bytes-in-64-bits", whyMinimal, send(frame{head: fin | opBinary, form: form64}), usable(gotBinary(""))},
	{"5.2/125-bytes-in-64-bits", whyMinimal, send(frame{head: fin | opText, data: repeat("a", 125), form: form64}), usable(event{op: opText, data: repeat("a", 125)})},
	{"5.2/126-bytes-in-64-bits", whyMinimal, send(frame{head: fin | opText, data: repeat("a", 126), form: form64}), usable(event{op: opText, data: repeat("a", 126)})},
	{"5.2/65535-bytes-in-64-bits", whyMinimal, send(frame{head: fin | opBinary, data: repeat("a", 65535), form: form64}), usable(event{op: opBinary, data: repeat("a", 65535)})},
	{"5.2/fragment-in-16-bits", whyMinimal, send(frame{head: opText, data: str("a"), form: form16}, last("b")), usable(gotText("ab"))},
	{"5.2/last-fragment-in-64-bits", whyMinimal, send(first("a"), frame{head: fin | opCont, data: str("b"), form: form64}), usable(gotText("ab"))},
}

// cutCases stop inside the header of a frame, at every place, until the server
// has seen what came before: the ping in the same write is answered. What it has
// of the frame must wait for the rest.
func cutCases(*Target) []testCase {
	var list []testCase
	for _, f := range []struct {
		name        string
		n, header   int
		op          byte
		alsoPayload int // cut this far into the payload, too
	}{
		{"7-bit", 100, 6, opText, 50},
		{"16-bit", 1000, 8, opBinary, 999},
		{"64-bit", 70000, 14, opBinary, 65536},
	} {
		msg, back := echo(f.op, asciiFor(f.op, f.n))
		cuts := []int{}
		for i := 1; i <= f.header; i++ {
			cuts = append(cuts, i)
		}
		for _, cut := range append(cuts, f.header+1, f.header+f.alsoPayload) {
			list = append(list, testCase{
				name: fmt.Sprintf("5.2/%s-length-cut-after-byte-%d", f.name, cut),
				why:  "§5.2 speaks of frames, not of reads: a frame is the same in whatever pieces it comes",
				steps: []step{
					{send: send(ping("?"), part{msg, 0, cut}), want: []event{gotPong("?")}},
					{send: send(part{msg, cut, 0}, ping("!")), want: []event{back, gotPong("!")}},
				},
			})
		}
	}
	return list
}

// reservedCases: reserved bits on every kind of frame, reserved opcodes in every
// place (§5.2; Autobahn 3.*, 4.*).
func reservedCases(*Target) []testCase {
	var list []testCase
	for bits := 1; bits < 8; bits++ {
		for _, op := range []byte{opText, opBinary, opCont, opClose, opPing, opPong} {
			f := frame{head: fin | byte(bits<<4) | op, data: str("Hello")}
			chunks := send(f)
			switch op {
			case opCont:
				chunks = send(first("Hello"), f)
			case opClose:
				f.data = str("\x03\xe8")
				chunks = send(f)
			}
			list = append(list, testCase{name: fmt.Sprintf("5.2/reserved-bits-%03b-on-%s", bits, opNames[op]), why: whyReserved,
				steps: []step{{send: chunks}}, ends: []ending{closed(1002)}})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		empty, full := frame{head: fin | op}, frame{head: fin | op, data: str("reserved")}
		name := fmt.Sprintf("5.2/opcode-%d-", op)
		list = append(list, fromRows([]row{
			{name + "alone", whyOpcode, send(empty), closed(1002)},
			{name + "with-payload-after-a-message", whyOpcode, send(text("one"), full, ping("")), closed(1002).after(gotText("one"))},
			{name + "inside-a-message", whyOpcode, send(first("one"), full, last("two")), closed(1002)},
			{name + "without-fin", whyOpcode, send(frame{head: op, data: str("reserved")}, last("two")), closed(1002)},
		})...)
	}
	list = append(list, fromRows(reservedRows)...)
	return append(list, testCase{name: "5.2/reserved-bit-byte-by-byte", why: whyReserved,
		steps: []step{{send: send(text("one"), frame{head: fin | rsv2 | opText, data: str("two")}, ping("")), split: byteWise}},
		ends:  []ending{closed(1002).after(gotText("one"))}})
}

var reservedRows = []row{
	{"5.2/reserved-bit-after-a-message", whyReserved, send(text("one"), frame{head: fin | rsv2 | opText, data: str("two")}, ping("")),
		closed(1002).after(gotText("one"))},
	{"5.2/reserved-bit-on-first-fragment", whyReserved, send(frame{head: rsv1 | opText, data: str("one")}, last("two")), closed(1002)},
	{"5.2/reserved-bit-on-middle-fragment", whyReserved, send(first("one"), frame{head: rsv3 | opCont, data: str("two")}, last("3")), closed(1002)},
	{"5.2/reserved-bit-on-empty-frame", whyReserved, send(frame{head: fin | rsv1 | opBinary}), closed(1002)},
	{"5.2/reserved-bit-on-ping-inside-a-message", whyReserved, send(first("one"), frame{head: fin | rsv1 | opPing}, last("two")), closed(1002)},
	{"5.2/reserved-bits-on-65536-bytes", whyReserved, send(frame{head: fin | rsvs | opBinary, data: repeat("x", 65536)}), closed(1002)},
	{"5.2/all-bits-of-the-first-byte", whyReserved, send(frame{head: 0xff}), closed(1002)},
}

const whyMask = "§5.1: the server MUST close the connection upon a frame that is not masked"

// maskCases: §5.1, §5.3.
func maskCases(*Target) []testCase {
	list := fromRows(maskRows)
	for _, m := range []struct {
		name string
		key  [4]byte
	}{{"zero", [4]byte{}}, {"all-ones", [4]byte{0xff, 0xff, 0xff, 0xff}}, {"text", [4]byte{'H', 'e', 'l', 'l'}}, {"like-a-header", [4]byte{0x88, 0x82, 0x03, 0xe8}}} {
		data := repeat("Hello, mask! ", 1000)
		f := frame{head: fin | opText, data: data, mask: &m.key}
		list = append(list, testCase{name: "5.3/mask-" + m.name, why: "§5.3: a mask is any 32-bit value",
			steps: []step{{send: send(f), want: []event{{op: opText, data: data}}}}})
	}
	return list
}

var maskRows = []row{
	{"5.1/unmasked-text", whyMask, send(frame{head: fin | opText, data: str("Hello"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-binary", whyMask, send(frame{head: fin | opBinary, data: str("Hello"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-empty-text", whyMask, send(frame{head: fin | opText, unmasked: true}), closed(1002)},
	{"5.1/unmasked-ping", whyMask, send(frame{head: fin | opPing, data: str("?"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-empty-ping", whyMask, send(frame{head: fin | opPing, unmasked: true}), closed(1002)},
	{"5.1/unmasked-pong", whyMask, send(frame{head: fin | opPong, data: str("!"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-close", whyMask, send(frame{head: fin | opClose, data: str("\x03\xe8"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-empty-close", whyMask, send(frame{head: fin | opClose, unmasked: true}), closed(1002)},
	{"5.1/unmasked-first-fragment", whyMask, send(frame{head: opText, data: str("Hello"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-continuation", whyMask, send(first("one"), frame{head: fin | opCont, data: str("two"), unmasked: true}), closed(1002)},
	{"5.1/unmasked-ping-inside-a-message", whyMask, send(first("one"), frame{head: fin | opPing, unmasked: true}, last("two")), closed(1002)},
	{"5.1/unmasked-after-masked", whyMask, send(text("one"), frame{head: fin | opText, data: str("two"), unmasked: true}), closed(1002).after(gotText("one"))},
	{"5.1/unmasked-126-bytes", whyMask, send(frame{head: fin | opBinary, data: repeat("x", 126), unmasked: true}), closed(1002)},
	{"5.1/unmasked-65536-bytes", whyMask, send(frame{head: fin | opBinary, data: repeat("x", 65536), unmasked: true}), closed(1002)},
	{"5.1/unmasked-reserved-opcode", whyMask, send(frame{head: fin | 3, unmasked: true}), closed(1002)},
	{"5.3/another-mask-for-each-frame", "§5.3: the key is chosen anew for each frame",
		send(frame{head: opText, data: str("one "), mask: &[4]byte{1, 2, 3, 4}}, frame{head: opCont, data: str("two "), mask: &[4]byte{0xff, 0, 0xfe, 9}},
			frame{head: fin | opCont, data: str("three"), mask: &[4]byte{0, 0, 0, 1}}), usable(gotText("one two three"))},
	{"5.3/masked-payload-looks-like-a-close-frame", "§5.3: bytes on the wire mean nothing before they are unmasked",
		send(frame{head: fin | opBinary, data: str("\x00\x00\x00\x00\x00\x00\x00\x00"), mask: &[4]byte{0x88, 0x80, 0x88, 0x80}}),
		usable(gotBinary("\x00\x00\x00\x00\x00\x00\x00\x00"))},
}
