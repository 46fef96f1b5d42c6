package wstest

import (
	"compress/flate"
	"fmt"
)

// brokenDeflateCases: bytes that do not inflate, and bytes that inflate to more
// than a server takes.
func brokenDeflateCases(target *Target) []testCase {
	var list []testCase
	for _, b := range brokenDeflate {
		c := withDeflate([]row{{"7692:7.2.2/" + b.name, whyInflate, send(deflated(fin|opBinary, b.payload)), closed(1007, 1002)}})[0]
		c.strict = b.strict
		list = append(list, c)
	}
	list = append(list, withDeflate([]row{
		{"7692:7.2.2/bad-data-after-a-good-message", whyInflate, send(deflated(fin|opText, helloDeflated), deflated(fin|opText, "\x06")), closed(1007, 1002).after(gotText("Hello"))},
		{"7692:7.2.2/bad-data-in-fragments", whyInflate, send(deflated(opText, "\xf2"), cont("\x48"), last("\xff\xff\xff\xff\xff")), closed(1007, 1002)},
		{"7692:7.2.2/bad-data-then-a-good-message", "§7.1.7: MUST NOT go on to process data", send(deflated(fin|opText, "\x06"), text("one"), ping("?")), closed(1007, 1002)},
	})...)
	return append(list, bombs(target)...)
}

// brokenDeflate is by RFC 1951.
var brokenDeflate = []struct {
	name, payload string
	strict        bool // a server may take what can be inflated of it
}{
	{"block-type-3", "\x06", false},                                                     // §3.2.3: BTYPE 11 is reserved
	{"final-block-type-3", "\x07", false},                                               // the same with BFINAL
	{"all-ones", "\xff\xff\xff\xff\xff\xff\xff\xff", false},                             // BTYPE 11
	{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", false},                         // BTYPE 11
	{"not-deflate-but-text", "Hello, this is not compressed at all.", false},            // LEN "el", NLEN "lo"
	{"stored-length-not-its-complement", "\x00\x05\x00\x00\x00Hello", false},            // §3.2.4: LEN and NLEN
	{"stored-block-cut", "\x00\x64\x00\x9b\xffHello", true},                             // 100 bytes are announced
	{"distance-into-nothing", "\x02\x02\x00\x00", false},                                // §3.2.5: a match as the first symbol
	{"distance-before-the-first-byte", "\x4a\x04\x22\x00\x00", false},                   // §3.2.5: one literal, then a distance of 3
	{"dynamic-block-of-rubbish", "\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false}, // §3.2.7: HLIT is 31
}

// bombs: a little that becomes much.
func bombs(target *Target) []testCase {
	limit := target.Limit
	zeros := func(n int) blob { return repeat("\x00", n) }
	c := func(name string, ends []ending, s ...step) testCase {
		return testCase{name: "7692:8/" + name, why: whyBomb, steps: s, ends: ends}.compressed()
	}
	tooBig := []ending{closed(1009)}
	echoed := func(m zipped) step { return step{send: send(m), want: []event{{op: m.op, data: m.data}}} }
	list := []testCase{
		c("limit-exactly", nil, echoed(zipped{op: opBinary, data: zeros(limit), level: 6})),
		c("limit-exactly-text", nil, echoed(zipped{op: opText, data: repeat("The quick brown fox. ", limit), level: 1})),
		c("limit-exactly-in-fragments", nil, echoed(zipped{op: opBinary, data: zeros(limit), level: 6, size: 1 << 10})),
		c("one-more", tooBig, step{send: send(zipped{op: opBinary, data: zeros(limit + 1), level: 6})}),
		c("one-more-text", tooBig, step{send: send(zipped{op: opText, data: repeat("x", limit+1), level: 6})}),
		c("one-more-in-fragments", tooBig, step{send: send(zipped{op: opBinary, data: zeros(limit + 1), level: 6, size: 1 << 10})}),
		c("four-times-the-limit", tooBig, step{send: send(zipped{op: opBinary, data: zeros(4 * limit), level: 6})}),
		c("one-more-after-a-message", tooBig, echoed(zipped{op: opText, data: str("one"), level: 6}), step{send: send(zipped{op: opBinary, data: zeros(limit + 1), level: 6})}),
		c("half-the-limit-three-times", nil, echoed(zipped{op: opBinary, data: zeros(limit / 2), level: 6}),
			echoed(zipped{op: opBinary, data: zeros(limit / 2), level: 6}), echoed(zipped{op: opBinary, data: zeros(limit / 2), level: 6})),
		c("uncompressed-limit-exactly", nil, step{send: send(frame{head: fin | opBinary, data: zeros(limit)}), want: []event{{op: opBinary, data: zeros(limit)}}}),
		c("uncompressed-one-more", tooBig, step{send: send(frame{head: fin | opBinary, data: zeros(limit + 1)})}),
		c("stored-one-more", tooBig, step{send: send(zipped{op: opBinary, data: repeat(noise, limit+1), level: flate.NoCompression})}),
	}
	for _, n := range []int{192 << 10, 1000 << 10} { // what does not compress is longer on the wire
		if n <= limit {
			list = append(list, c(fmt.Sprintf("%d-kib-of-noise", n>>10), nil, echoed(zipped{op: opBinary, data: repeat(noise, n), level: 6})))
		}
	}
	return list
}
