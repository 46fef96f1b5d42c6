package wstest

import (
	"compress/flate"
	"fmt"
	"math/rand/v2"
)

// Examples of RFC 7692 §7.2.3, all of "Hello".
const (
	helloDeflated = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	helloAgain    = "\xf2\x00\x11\x00\x00" // refers to the first
	helloStored   = "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"
	helloFinal    = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"                     // BFINAL is 1
	helloTwo      = "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00" // two blocks
)

const (
	whyDeflate  = "RFC 7692 §7.2.2: how a message is inflated"
	whyExample  = "RFC 7692 §7.2.3: an example"
	whyPerFrame = "RFC 7692 §6: MUST NOT set the bit on control frames and later fragments; MUST fail the connection"
	whyInflate  = "RFC 7692 §7.2.2: it cannot be inflated; no code is given, 1007 and 1002 fit"
	whyBomb     = "RFC 7692 §8, RFC 6455 §10.4: limits are for what is inflated, too; 1009"
)

// deflated is a frame with the compressed bit.
func deflated(head byte, payload string) frame {
	return frame{head: head | rsv1, data: str(payload)}
}

// noise does not compress; it repeats beyond every window.
var noise = func() string {
	b := make([]byte, 80<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(b) // it has no error
	return string(b)
}()

// contents are kinds of payloads for a compressor.
var contents = []struct {
	name string
	op   byte
	unit string
}{
	{"text", opText, "The quick brown fox jumps over the lazy dog. "},
	{"json", opText, `{"id":17,"room":"live://1","body":"Grüße","tags":["a","b"],"at":1700000000},`},
	{"zeros", opBinary, "\x00"},
	{"noise", opBinary, noise},
}

// withDeflate makes rows into cases with an offer.
func withDeflate(rows []row) []testCase {
	list := fromRows(rows)
	for i := range list {
		list[i] = list[i].compressed()
	}
	return list
}

func (tc testCase) compressed() testCase {
	tc.deflate, tc.open.offer, tc.answer.ext = true, permessageDeflate, compressed
	return tc
}

// compressedCases: RFC 7692 §6, §7.2; Autobahn 12.*.
func compressedCases(*Target) []testCase {
	list := withDeflate(compressedRows)
	for _, content := range contents {
		for _, n := range []int{0, 1, 16, 64, 255, 256, 1000, 1024, 4096, 8192, 32767, 32768, 32769, 65536, 131072} {
			data := repeat(content.unit, n)
			if content.op == opText && n > 0 {
				data = wholeRunes(data)
			}
			list = append(list, testCase{name: fmt.Sprintf("7692:7.2/%s-of-%d", content.name, n), why: whyDeflate,
				steps: []step{{send: send(zipped{op: content.op, data: data, level: 6}), want: []event{{op: content.op, data: data}}}}}.compressed())
		}
	}
	for _, l := range []struct {
		name  string
		level int
	}{{"stored-blocks", flate.NoCompression}, {"best-speed", flate.BestSpeed}, {"best-compression", flate.BestCompression}, {"huffman-only", flate.HuffmanOnly}} {
		for _, content := range contents {
			for _, n := range []int{100, 70000} {
				data := wholeRunes(repeat(content.unit, n))
				list = append(list, testCase{name: fmt.Sprintf("7692:7.2/%s-%s-of-%d", l.name, content.name, n), why: whyDeflate,
					steps: []step{{send: send(zipped{op: content.op, data: data, level: l.level}), want: []event{{op: content.op, data: data}}}}}.compressed())
			}
		}
	}
	list = append(list, compressedFragments()...)
	list = append(list, takeover()...)
	return append(list, compressedUTF8()...)
}

// wholeRunes cuts b where a character begins.
func wholeRunes(b blob) blob {
	s := b.String()
	for len(s) > 0 && s[len(s)-1] >= 0x80 && b.unit != noise {
		s = s[:len(s)-1]
	}
	return str(s)
}

var compressedRows = []row{
	{"7692:7.2.3.1/hello", whyExample, send(deflated(fin|opText, helloDeflated)), usable(gotText("Hello"))},
	{"7692:7.2.3.1/hello-in-two-frames", whyExample, send(deflated(opText, helloDeflated[:3]), last(helloDeflated[3:])), usable(gotText("Hello"))},
	{"7692:7.2.3.3/stored-block", whyExample, send(deflated(fin|opText, helloStored)), usable(gotText("Hello"))},
	{"7692:7.2.3.4/final-block", whyExample, send(deflated(fin|opText, helloFinal)), usable(gotText("Hello"))},
	{"7692:7.2.3.4/final-block-then-another-message", whyExample, send(deflated(fin|opText, helloFinal), deflated(fin|opText, helloDeflated)), usable(gotText("Hello"), gotText("Hello"))},
	{"7692:7.2.3.5/two-blocks", whyExample, send(deflated(fin|opText, helloTwo)), usable(gotText("Hello"))},
	{"7692:7.2.3.6/empty-message", "RFC 7692 §7.2.3.6: an empty message is an empty block", send(deflated(fin|opText, "\x00")), usable(gotText(""))},
	{"7692:7.2.3.6/empty-binary-message", "RFC 7692 §7.2.3.6: an empty message is an empty block", send(deflated(fin|opBinary, "\x00")), usable(gotBinary(""))},
	{"7692:7.2.3.6/empty-message-in-a-fixed-block", "RFC 7692 §7.2.3.6: 0x02 0x00 is what zlib makes", send(deflated(fin|opText, "\x02\x00")), usable(gotText(""))},
	{"7692:7.2.2/binary", whyDeflate, send(deflated(fin|opBinary, helloDeflated)), usable(gotBinary("Hello"))},
	{"7692:7.2.1/tail-not-removed", "RFC 7692 §7.2.2: behind it is one more empty block", send(deflated(fin|opText, helloDeflated+"\x00\x00\xff\xff\x00")), usable(gotText("Hello"))},

	{"7692:6.2/not-compressed", "RFC 7692 §6: without the bit a message is as it is", send(text("Hello")), usable(gotText("Hello"))},
	{"7692:6.2/not-compressed-binary-that-looks-so", "RFC 7692 §6: without the bit a message is as it is", send(bin(helloDeflated)), usable(gotBinary(helloDeflated))},
	{"7692:6.2/not-compressed-fragments", "RFC 7692 §6: without the bit a message is as it is", send(first("Hel"), last("lo")), usable(gotText("Hello"))},
	{"7692:6.2/compressed-and-not-in-turn", "RFC 7692 §6: a sender decides for each message",
		send(text("one"), deflated(fin|opText, helloDeflated), first("t"), last("wo"), deflated(fin|opBinary, helloStored), bin("")),
		usable(gotText("one"), gotText("Hello"), gotText("two"), gotBinary("Hello"), gotBinary(""))},
	{"7692:6.2/not-compressed-invalid-utf8", "§8.1: 1007", send(text("\xff")), closed(1007)},
	{"7692:6.2/not-compressed-unmasked", whyMask, send(frame{head: fin | opText, data: str("x"), unmasked: true}), closed(1002)},

	{"7692:6.1/ping-inside-compressed-message", whyControl, send(deflated(opText, helloDeflated[:3]), ping("?"), last(helloDeflated[3:])), usable(gotText("Hello"), gotPong("?"))},
	{"7692:6.1/pong-inside-compressed-message", whyControl, send(deflated(opText, helloDeflated[:3]), pong("?"), last(helloDeflated[3:])), usable(gotText("Hello"))},
	{"7692:6.1/close-inside-compressed-message", whyCloseEcho, send(deflated(opText, helloDeflated[:3]), closing(1000, "")), closed(1000)},
	{"7692:6.1/ping-and-close-after-compressed-message", whyCloseEcho, send(deflated(fin|opText, helloDeflated), ping(helloDeflated), closing(1000, "bye")),
		closed(1000).after(gotText("Hello"), gotPong(helloDeflated))},

	{"7692:6/bit-on-continuation", whyPerFrame, send(deflated(opText, helloDeflated[:3]), deflated(fin|opCont, helloDeflated[3:])), closed(1002)},
	{"7692:6/bit-on-continuation-not-fin", whyPerFrame, send(deflated(opText, helloDeflated[:3]), deflated(opCont, helloDeflated[3:]), last("")), closed(1002)},
	{"7692:6/bit-on-continuation-of-uncompressed", whyPerFrame, send(first("Hello"), deflated(fin|opCont, helloDeflated)), closed(1002)},
	{"7692:6/bit-on-ping", whyPerFrame, send(deflated(fin|opPing, "")), closed(1002)},
	{"7692:6/bit-on-pong", whyPerFrame, send(deflated(fin|opPong, "x")), closed(1002)},
	{"7692:6/bit-on-close", whyPerFrame, send(deflated(fin|opClose, "\x03\xe8")), closed(1002)},
	{"7692:6/bit-on-ping-inside-compressed-message", whyPerFrame, send(deflated(opText, helloDeflated[:3]), deflated(fin|opPing, ""), last(helloDeflated[3:])), closed(1002)},
	{"7692:6/bit-on-reserved-opcode", whyOpcode, send(deflated(fin|3, helloDeflated)), closed(1002)},
	{"7692:6/rsv2-on-compressed", whyReserved, send(deflated(fin|rsv2|opText, helloDeflated)), closed(1002)},
	{"7692:6/rsv3-on-compressed", whyReserved, send(deflated(fin|rsv3|opText, helloDeflated)), closed(1002)},
	{"7692:6/rsv2-and-rsv3-on-compressed", whyReserved, send(deflated(fin|rsv2|rsv3|opBinary, helloDeflated)), closed(1002)},
	{"7692:6/rsv2-on-uncompressed", whyReserved, send(frame{head: fin | rsv2 | opText, data: str("x")}), closed(1002)},
	{"7692:6/rsv3-on-ping", whyReserved, send(frame{head: fin | rsv3 | opPing}), closed(1002)},
	{"7692:6/compressed-orphan", whyPerFrame, send(deflated(fin|opCont, helloDeflated)), closed(1002)},
	{"7692:6/compressed-inside-compressed", whyInside, send(deflated(opText, helloDeflated[:3]), deflated(fin|opText, helloDeflated)), closed(1002)},
}

// compressedFragments: fragments have nothing to do with blocks.
func compressedFragments() []testCase {
	var list []testCase
	for i, content := range contents {
		data := wholeRunes(repeat(content.unit, 20000))
		for _, size := range []int{1, 7, 125, 4096} {
			if size == 1 && i > 1 {
				continue // noise would be more frames than a server has to take
			}
			if content.name == "noise" && size == 7 {
				continue
			}
			list = append(list, testCase{name: fmt.Sprintf("7692:6.1/%s-in-fragments-of-%d", content.name, size), why: "RFC 7692 §6.1: compress, then fragment",
				steps: []step{{send: send(zipped{op: content.op, data: data, level: 6, size: size}), want: []event{{op: content.op, data: data}}}}}.compressed())
		}
	}
	for _, s := range []split{byteWise, oddPieces} {
		data := repeat(contents[0].unit, 2000)
		list = append(list, testCase{name: fmt.Sprintf("7692:6.1/compressed-in-pieces-%d", s), why: "§5.2 speaks of frames, not of reads",
			steps: []step{{send: send(zipped{op: opText, data: data, level: 6, size: 16}, ping("?")), split: s, want: []event{{op: opText, data: data}, gotPong("?")}}}}.compressed())
	}
	hello := deflated(fin|opText, helloDeflated)
	list = append(list, withDeflate([]row{
		{"7692:6.1/empty-first-fragment", "RFC 7692 §6.1: the bit is in the first fragment, whatever it has", send(deflated(opText, ""), last(helloDeflated)), usable(gotText("Hello"))},
		{"7692:6.1/empty-last-fragment", "RFC 7692 §6.1: compress, then fragment", send(deflated(opText, helloDeflated), last("")), usable(gotText("Hello"))},
		{"7692:6.1/many-empty-fragments", "RFC 7692 §6.1: compress, then fragment", send(deflated(opText, ""), cont(""), cont(helloDeflated), cont(""), last("")), usable(gotText("Hello"))},
		{"7692:6.1/empty-message-in-two-fragments", "RFC 7692 §6.1: compress, then fragment", send(deflated(opText, ""), last("\x00")), usable(gotText(""))},
	})...)
	s := step{}
	for range 300 {
		s.send, s.want = append(s.send, hello), append(s.want, gotText("Hello"))
	}
	return append(list, testCase{name: "7692:7.2/300-messages", why: whyDeflate, steps: []step{s}}.compressed())
}

// takeover: §7.1.1, §7.2.3.2. Whether our window may be kept is the server's
// answer; the deflater does what was agreed.
func takeover() []testCase {
	var list []testCase
	for _, content := range contents {
		for _, n := range []int{100, 20000, 60000} {
			data := wholeRunes(repeat(content.unit, n))
			msg := zipped{op: content.op, data: data, level: 6}
			c := testCase{name: fmt.Sprintf("7692:7.1.1/five-times-%s-of-%d", content.name, n), why: "RFC 7692 §7.1.1: the window is kept, or not, as was agreed"}
			for range 5 {
				c.steps = append(c.steps, step{send: send(msg), want: []event{{op: content.op, data: data}}})
			}
			list = append(list, c.compressed())
		}
	}
	for _, offer := range []struct{ name, offer string }{
		{"server_no_context_takeover", "permessage-deflate; server_no_context_takeover"},
		{"client_no_context_takeover", "permessage-deflate; client_no_context_takeover"},
		{"neither-takeover", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
	} {
		data := repeat(contents[0].unit, 5000)
		c := testCase{name: "7692:7.1.1/five-times-with-" + offer.name, why: "RFC 7692 §7.1.1: the window is kept, or not, as was agreed"}.compressed()
		c.open.offer = offer.offer
		for range 5 {
			c.steps = append(c.steps, step{send: send(zipped{op: opText, data: data, level: 9}), want: []event{{op: opText, data: data}}})
		}
		list = append(list, c)
	}
	list = append(list, testCase{name: "7692:7.1.1/uncompressed-messages-are-not-in-the-window", why: "RFC 7692 §7.2: the window has what was compressed", steps: []step{
		{send: send(zipped{op: opText, data: str("one, one, one"), level: 6}), want: []event{gotText("one, one, one")}},
		{send: send(text("not in the window")), want: []event{gotText("not in the window")}},
		{send: send(zipped{op: opText, data: str("one, one, one, two"), level: 6}), want: []event{gotText("one, one, one, two")}},
	}}.compressed())
	return append(list, testCase{name: "7692:7.2.3.2/second-message-refers-to-first", why: whyExample, takeover: true,
		steps: []step{
			{send: send(deflated(fin|opText, helloDeflated)), want: []event{gotText("Hello")}},
			{send: send(deflated(fin|opText, helloAgain)), want: []event{gotText("Hello")}},
		}}.compressed())
}

// compressedUTF8: §5.6 is about what is inflated.
func compressedUTF8() []testCase {
	var list []testCase
	for _, b := range badText {
		if b.prefix == "" && b.suffix == "" && len(b.bad) > 2 {
			continue // the validator is the same one; its classes are in 8.1
		}
		list = append(list, testCase{name: "7692:7.2.2/bad-utf8-" + b.name, why: "§8.1: text is UTF-8 when it is inflated", ends: []ending{closed(1007)},
			steps: []step{{send: send(zipped{op: opText, data: str(b.prefix + b.bad + b.suffix), level: 6})}}}.compressed())
	}
	bad := str("κόσμε\xed\xa0\x80edited")
	return append(list,
		testCase{name: "7692:7.2.2/bad-utf8-in-fragments", why: "§8.1: text is UTF-8 when it is inflated", ends: []ending{closed(1007)},
			steps: []step{{send: send(zipped{op: opText, data: bad, level: 6, size: 3})}}}.compressed(),
		testCase{name: "7692:7.2.2/good-utf8-whose-compressed-bytes-are-not", why: "§5.6: text is UTF-8 when it is inflated", steps: []step{
			{send: send(zipped{op: opText, data: str("κόσμε κόσμε 😀"), level: 6, size: 2}), want: []event{gotText("κόσμε κόσμε 😀")}}}}.compressed(),
		testCase{name: "7692:7.2.2/binary-need-not-be-utf8", why: "§5.6: binary is arbitrary", steps: []step{
			{send: send(zipped{op: opBinary, data: bad, level: 6}), want: []event{{op: opBinary, data: bad}}}}}.compressed())
}
