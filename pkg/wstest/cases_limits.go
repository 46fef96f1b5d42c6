package wstest

import (
	"encoding/binary"
	"fmt"
)

const (
	whyLimit  = "§10.4: limits on frames and messages; §7.4.1: 1009"
	whyFrames = "§10.4: implementations must protect themselves; 1008 and 1009 both say what it is"
)

// limitCases: §10.4, and messages that are large; Autobahn 9.*.
func limitCases(target *Target) []testCase {
	limit := target.Limit
	var list []testCase
	exact := func(name string, want event, chunks ...chunk) {
		list = append(list, testCase{name: "10.4/" + name, why: whyLimit, steps: []step{{send: chunks, want: []event{want}}}})
	}
	beyond := func(name string, chunks ...chunk) {
		list = append(list, testCase{name: "10.4/" + name, why: whyLimit, steps: []step{{send: chunks}}, ends: []ending{closed(1009)}})
	}
	for _, kind := range bothKinds {
		full := asciiFor(kind.op, limit)
		over := asciiFor(kind.op, limit+1)
		msg, back := echo(kind.op, full)
		exact("limit-in-one-frame-"+kind.name, back, msg)
		exact("limit-in-fragments-"+kind.name, back, fragments{kind.op, full, limit/16 + 1})
		beyond("one-more-in-one-frame-"+kind.name, frame{head: fin | kind.op, data: over})
		beyond("one-more-in-fragments-"+kind.name, fragments{kind.op, over, limit/16 + 1})
	}
	full := frame{head: opBinary, data: asciiFor(opBinary, limit)}
	exact("limit-then-empty-fragment", event{op: opBinary, data: full.data}, full, last(""))
	beyond("limit-then-fragment-of-one", full, last("x"))
	beyond("limit-then-fragment-of-one-not-fin", full, cont("x"))
	beyond("one-more-in-the-first-fragment", frame{head: opBinary, data: asciiFor(opBinary, limit+1)})
	list = append(list, limitSteps(target)...)
	list = append(list, limitByHeader(limit)...)
	list = append(list, frameCounts(target)...)
	return append(list, largeMessages(limit)...)
}

// limitSteps: the limit is of each message, not of the connection or of what
// came before, and control frames do not count.
func limitSteps(target *Target) []testCase {
	half := asciiFor(opBinary, target.Limit/2)
	msg, back := echo(opBinary, half)
	list := []testCase{
		{name: "10.4/limit-is-of-each-message", why: whyLimit,
			steps: []step{{send: send(msg), want: []event{back}}, {send: send(msg), want: []event{back}}, {send: send(msg), want: []event{back}}}},
		{name: "10.4/limit-is-of-each-fragmented-message", why: whyLimit, steps: []step{
			{send: send(fragments{opBinary, half, half.n/3 + 1}), want: []event{back}},
			{send: send(fragments{opBinary, half, half.n/3 + 1}), want: []event{back}},
			{send: send(fragments{opBinary, half, half.n/3 + 1}), want: []event{back}}}},
		{name: "10.4/control-frames-do-not-count", why: whyLimit, steps: []step{
			{send: send(frame{head: opBinary, data: half}, ping("1"), frame{head: opCont, data: half}, ping("2")), want: []event{gotPong("1"), gotPong("2")}},
			{send: send(last("")), want: []event{{op: opBinary, data: asciiFor(opBinary, half.n).plus(half.String())}}}}},
	}
	return list
}

// limitByHeader: the header says it all. Without Strict a server may wait for the
// payload, so that such a case says nothing about it.
func limitByHeader(limit int) []testCase {
	header := func(head byte, n uint64) chunk {
		return raw(binary.BigEndian.AppendUint64([]byte{head, 0xff}, n)) + raw(defaultMask[:])
	}
	const why = "§10.4; no byte of the payload is needed to see that it is too much"
	var list []testCase
	for _, r := range []row{
		{"10.4/one-more-by-the-header", why, send(header(fin|opBinary, uint64(limit)+1)), closed(1009)},
		{"10.4/4-gib-by-the-header", why, send(header(fin|opText, 1<<32)), closed(1009)},
		{"10.4/4-gib-and-one-by-the-header", why, send(header(fin|opText, 1<<32+1)), closed(1009)},
		{"10.4/largest-length-by-the-header", why, send(header(fin|opBinary, 1<<63-1)), closed(1009)},
		{"10.4/largest-length-not-fin-by-the-header", why, send(header(opBinary, 1<<63-1)), closed(1009)},
		{"10.4/fragment-beyond-by-the-header", why, send(firstB("x"), header(fin|opCont, uint64(limit))), closed(1009)},
		{"10.4/largest-fragment-by-the-header", why, send(firstB("x"), header(opCont, 1<<63-1)), closed(1009)},
		{"10.4/one-more-by-the-header-after-a-message", why, send(text("one"), header(fin|opBinary, uint64(limit)+1)), closed(1009).after(gotText("one"))},
	} {
		c := fromRows([]row{r})[0]
		c.strict = true
		list = append(list, c)
	}
	return list
}

// frameCounts: messages of very many frames.
func frameCounts(target *Target) []testCase {
	const why = "§5.4: a message has any number of fragments; §10.4: or as many as a server takes"
	var list []testCase
	for _, n := range []int{100, 1000, 1024, 10000, 65536} {
		if target.Frames > 0 && n > target.Frames {
			continue
		}
		data := asciiFor(opText, n)
		list = append(list, testCase{name: fmt.Sprintf("5.4/%d-fragments-of-1", n), why: why,
			steps: []step{{send: send(fragments{opText, data, 1}), want: []event{{op: opText, data: data}}}}})
	}
	if target.Frames == 0 {
		return list
	}
	data := asciiFor(opBinary, target.Frames)
	empty := []chunk{firstB("")}
	for range target.Frames {
		empty = append(empty, cont(""))
	}
	return append(list,
		testCase{name: "10.4/as-many-frames-as-allowed", why: why,
			steps: []step{{send: send(fragments{opBinary, data, 1}), want: []event{{op: opBinary, data: data}}}}},
		testCase{name: "10.4/one-frame-more", why: whyFrames, ends: []ending{closed(1008, 1009)},
			steps: []step{{send: send(fragments{opBinary, asciiFor(opBinary, target.Frames+1), 1})}}},
		testCase{name: "10.4/one-empty-frame-more", why: whyFrames, ends: []ending{closed(1008, 1009)},
			steps: []step{{send: empty}}})
}

// largeMessages: Autobahn 9.1 to 9.6 without repeating what a size does not
// change, and many small messages, 9.7 and 9.8.
func largeMessages(limit int) []testCase {
	const why = "§5.2: a length of 64 bits"
	var list []testCase
	for _, n := range []int{256 << 10, 1 << 20, 4 << 20, 8 << 20} {
		if n > limit {
			continue
		}
		for _, kind := range bothKinds {
			msg, back := echo(kind.op, asciiFor(kind.op, n))
			list = append(list, testCase{name: fmt.Sprintf("5.2/%s-of-%d-kib", kind.name, n>>10), why: why,
				steps: []step{{send: send(msg), want: []event{back}}}})
		}
	}
	big := min(limit, 1<<20)
	for _, size := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10} {
		data := asciiFor(opText, big)
		list = append(list, testCase{name: fmt.Sprintf("5.4/%d-kib-in-frames-of-%d-kib", big>>10, size>>10), why: whyFragments,
			steps: []step{{send: send(fragments{opText, data, size}), want: []event{{op: opText, data: data}}}}})
	}
	for _, n := range []split{64, 1024, 4096, 65536} {
		msg, back := echo(opBinary, asciiFor(opBinary, 256<<10))
		list = append(list, testCase{name: fmt.Sprintf("5.2/256-kib-in-writes-of-%d", n), why: why,
			steps: []step{{send: send(msg), split: n, want: []event{back}}}})
	}
	for _, n := range []int{0, 16, 64, 256, 1024, 4096, 16384} {
		msg, back := echo(opText, asciiFor(opText, n))
		var s step
		for range 200 {
			s.send, s.want = append(s.send, msg), append(s.want, back)
		}
		list = append(list, testCase{name: fmt.Sprintf("5.2/200-messages-of-%d", n), why: "§5.2: frames follow each other without a gap", steps: []step{s}})
	}
	return list
}
