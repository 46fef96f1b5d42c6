package wstest

import "fmt"

const (
	whyFragments = "§5.4: a message is its fragments in order"
	whyOrphan    = "§5.4: a continuation continues a message, there is none: protocol error"
	whyInside    = "§5.4: the fragments of one message MUST NOT be interleaved with those of another"
	whyControl   = "§5.4: control frames MAY be injected in the middle of a fragmented message"
	whyWhole     = "§5.4, §5.5: control frames MUST NOT be fragmented"
	whyShort     = "§5.5: control frames MUST have a payload of 125 bytes or less"
	whyPing      = "§5.5.2, §5.5.3: a pong has the payload of its ping"
	whyPong      = "§5.5.3: a response to an unsolicited pong is not expected"
)

// fragmentCases: §5.4; Autobahn 5.*, 10.1.
func fragmentCases(target *Target) []testCase {
	list := fromRows(fragmentRows)
	for _, op := range []byte{opText, opBinary} {
		for _, f := range []struct{ n, size int }{{10, 1}, {1000, 7}, {65536, 1300}, {65536, 1024}, {65536, 65535}, {65536, 32768}} {
			data := asciiFor(op, f.n)
			for _, s := range []split{whole, oddPieces} {
				name := fmt.Sprintf("5.4/%s-of-%d-in-frames-of-%d", opNames[op], f.n, f.size)
				if s == oddPieces {
					name += "-in-odd-pieces"
				}
				list = append(list, testCase{name: name, why: whyFragments,
					steps: []step{{send: send(fragments{op, data, f.size}), split: s, want: []event{{op: op, data: data}}}}})
			}
		}
	}
	return append(append(list, answeredInside()...), badFragmentsInPieces()...)
}

var fragmentRows = []row{
	{"5.4/two-fragments", whyFragments, send(first("one"), last("two")), usable(gotText("onetwo"))},
	{"5.4/two-fragments-binary", whyFragments, send(firstB("\xff"), last("\xfe")), usable(gotBinary("\xff\xfe"))},
	{"5.4/three-fragments", whyFragments, send(first("one"), cont("two"), last("three")), usable(gotText("onetwothree"))},
	{"5.4/all-fragments-empty", whyFragments, send(first(""), cont(""), last("")), usable(gotText(""))},
	{"5.4/all-fragments-empty-binary", whyFragments, send(firstB(""), cont(""), last("")), usable(gotBinary(""))},
	{"5.4/only-first-empty", whyFragments, send(first(""), last("x")), usable(gotText("x"))},
	{"5.4/only-last-empty", whyFragments, send(first("x"), last("")), usable(gotText("x"))},
	{"5.4/only-middle-not-empty", whyFragments, send(first(""), cont("x"), last("")), usable(gotText("x"))},
	{"5.4/two-fragmented-messages", whyFragments, send(first("a"), last("b"), firstB("c"), last("d")), usable(gotText("ab"), gotBinary("cd"))},
	{"5.4/whole-after-fragmented", whyFragments, send(first("a"), last("b"), text("c")), usable(gotText("ab"), gotText("c"))},
	{"5.4/fragmented-after-whole", whyFragments, send(text("a"), first("b"), last("c")), usable(gotText("a"), gotText("bc"))},
	{"5.4/fragments-with-long-lengths", whyFragments, send(firstB("x"), frame{head: opCont, data: repeat("y", 126)}, frame{head: fin | opCont, data: repeat("y", 65537)}),
		usable(event{op: opBinary, data: str("x").plus(repeat("y", 126+65537).String())})},
	{"5.4/ping-between-fragments", whyControl, send(first("one"), ping("?"), last("two")), usable(gotText("onetwo"), gotPong("?"))},
	{"5.4/ping-after-each-fragment", whyControl, send(first("one"), ping("1"), cont("two"), ping("2"), cont("three"), ping("3"), last("four")),
		usable(gotText("onetwothreefour"), gotPong("1"), gotPong("2"), gotPong("3"))},
	{"5.4/pong-between-fragments", whyControl, send(first("one"), pong("!"), last("two")), usable(gotText("onetwo"))},
	{"5.4/pings-and-pongs-between-fragments", whyControl, send(firstB("one"), pong(""), ping(""), pong("x"), cont(""), ping("y"), last("two")),
		usable(gotBinary("onetwo"), gotPong(""), gotPong("y"))},
	{"5.4/longest-ping-between-fragments", whyControl, send(first("one"), frame{head: fin | opPing, data: repeat("p", 125)}, last("two")),
		usable(gotText("onetwo"), event{op: opPong, data: repeat("p", 125)})},
	{"5.4/close-between-fragments", "§5.5.1: after a Close frame no data follows: the open message is lost", send(first("one"), closing(1000, "")), closed(1000)},
	{"5.4/close-between-fragments-then-the-rest", "§5.5.1: what follows a Close frame is not looked at", send(first("one"), closing(1001, ""), last("two")), closed(1001)},

	{"5.4/continuation-without-start", whyOrphan, send(last("one")), closed(1002)},
	{"5.4/continuation-without-start-not-fin", whyOrphan, send(cont("one")), closed(1002)},
	{"5.4/empty-continuation-without-start", whyOrphan, send(last("")), closed(1002)},
	{"5.4/continuation-without-start-then-message", whyOrphan, send(cont("one"), text("two")), closed(1002)},
	{"5.4/continuation-after-whole-message", whyOrphan, send(text("one"), last("two")), closed(1002).after(gotText("one"))},
	{"5.4/continuation-after-fragmented-message", whyOrphan, send(first("one"), last("two"), last("three")), closed(1002).after(gotText("onetwo"))},
	{"5.4/continuation-not-fin-after-fragmented-message", whyOrphan, send(first("one"), last("two"), cont("three"), text("4")), closed(1002).after(gotText("onetwo"))},
	{"5.4/continuation-after-ping", whyOrphan, send(ping("?"), last("one")), closed(1002).after(gotPong("?"))},

	{"5.4/text-inside-text", whyInside, send(first("one"), text("two"), last("three")), closed(1002)},
	{"5.4/text-start-inside-text", whyInside, send(first("one"), first("two"), last("three")), closed(1002)},
	{"5.4/binary-inside-text", whyInside, send(first("one"), bin("two")), closed(1002)},
	{"5.4/text-inside-binary", whyInside, send(firstB("one"), text("two")), closed(1002)},
	{"5.4/binary-start-inside-binary", whyInside, send(firstB("one"), firstB("two")), closed(1002)},
	{"5.4/empty-text-inside-text", whyInside, send(first("one"), text("")), closed(1002)},
	{"5.4/text-inside-text-after-ping", whyInside, send(first("one"), ping("?"), text("two")), closed(1002).after(gotPong("?"))},
	{"5.4/text-inside-after-continuation", whyInside, send(first("one"), cont("two"), text("three"), last("4")), closed(1002)},
}

// answeredInside: a ping inside a message is answered before the message ends
// (§5.5.2: as soon as is practical), or a sender of slow messages looks dead.
func answeredInside() []testCase {
	return []testCase{
		{name: "5.4/ping-answered-before-the-message-ends", why: "§5.5.2: a pong SHOULD come as soon as is practical",
			steps: []step{
				{send: send(first("one")), want: nil},
				{send: send(ping("1")), want: []event{gotPong("1")}},
				{send: send(cont("two")), want: nil},
				{send: send(ping("2")), want: []event{gotPong("2")}},
				{send: send(last("three")), want: []event{gotText("onetwothree")}},
			}},
		{name: "5.4/ping-answered-before-an-empty-end", why: "§5.5.2: a pong SHOULD come as soon as is practical",
			steps: []step{
				{send: send(firstB("one"), ping("")), want: []event{gotPong("")}},
				{send: send(cont(""), ping("x")), want: []event{gotPong("x")}},
				{send: send(last("")), want: []event{gotBinary("one")}},
			}},
	}
}

// badFragmentsInPieces: what is wrong at once is wrong byte by byte.
func badFragmentsInPieces() []testCase {
	list := fromRows([]row{
		{"5.4/continuation-without-start-byte-by-byte", whyOrphan, send(last("one")), closed(1002)},
		{"5.4/continuation-after-message-byte-by-byte", whyOrphan, send(text("one"), cont("two"), text("three")), closed(1002).after(gotText("one"))},
		{"5.4/text-inside-text-byte-by-byte", whyInside, send(first("one"), text("two"), last("three")), closed(1002)},
		{"5.4/ping-between-fragments-byte-by-byte", whyControl, send(first("one"), ping("?"), last("two"), text("!")), usable(gotText("onetwo"), gotPong("?"), gotText("!"))},
	})
	for i := range list {
		list[i].steps[0].split = byteWise
	}
	return list
}

// controlCases: §5.5; Autobahn 2.*.
func controlCases(*Target) []testCase {
	list := fromRows(controlRows)
	for _, n := range []int{0, 1, 2, 3, 4, 5, 124, 125} {
		data := repeat("\x00\xff\xfe\xfd\xfc\xfb", n)
		for _, s := range []split{whole, byteWise} {
			name := fmt.Sprintf("5.5.2/ping-of-%d", n)
			if s == byteWise {
				name += "-byte-by-byte"
			}
			list = append(list, testCase{name: name, why: whyPing, steps: []step{
				{send: send(frame{head: fin | opPing, data: data}), split: s, want: []event{{op: opPong, data: data}}}}})
		}
		list = append(list, testCase{name: fmt.Sprintf("5.5.3/pong-of-%d", n), why: whyPong,
			steps: []step{{send: send(frame{head: fin | opPong, data: data})}}})
	}
	for _, op := range []byte{opPing, opPong, opClose} {
		list = append(list, badControl(op)...)
	}
	return append(list, manyPings(10, "at-once", whole), manyPings(10, "byte-by-byte", byteWise), manyPings(1000, "at-once", whole),
		pingsAndMessages(), pingWithoutStop())
}

// badControl: too long in each form of a length, and fragmented.
func badControl(op byte) []testCase {
	name := "5.5/" + opNames[op]
	long := func(n int, form form) []chunk {
		return send(frame{head: fin | op, data: str("\x03\xe8").plus(repeat("x", n-2).String()), form: form})
	}
	code := str("\x03\xe8")
	list := fromRows([]row{
		{name + "-of-126", whyShort, long(126, shortest), closed(1002)},
		{name + "-of-127", whyShort, long(127, shortest), closed(1002)},
		{name + "-of-65535", whyShort, long(65535, shortest), closed(1002)},
		{name + "-of-65536", whyShort, long(65536, shortest), closed(1002)},
		{name + "-of-126-after-a-message", whyShort, append(send(text("one")), long(126, shortest)...), closed(1002).after(gotText("one"))},
		{name + "-of-126-inside-a-message", whyShort, append(append(send(first("one")), long(126, shortest)...), last("two")), closed(1002)},
		{name + "-fragmented", whyWhole, send(frame{head: op, data: code}, last("two")), closed(1002)},
		{name + "-without-fin-and-empty", whyWhole, send(frame{head: op}), closed(1002)},
		{name + "-fragmented-inside-a-message", whyWhole, send(first("one"), frame{head: op, data: code}, last("two"), last("three")), closed(1002)},
		{name + "-fragmented-after-a-message", whyWhole, send(text("one"), frame{head: op, data: code}, last("two")), closed(1002).after(gotText("one"))},
		{name + "-with-16-bits-of-a-short-length", whyShort + "; 126 and 127 announce more", send(frame{head: fin | op, data: code, form: form16}), closed(1002)},
		{name + "-with-64-bits-of-a-short-length", whyShort + "; 126 and 127 announce more", send(frame{head: fin | op, data: code, form: form64}), closed(1002)},
	})
	// A receiver that takes longer forms of a length can take these as well.
	n := len(list)
	for i := n - 2; i < n; i++ {
		lenient := usable()
		switch op {
		case opPing:
			lenient = usable(gotPong("\x03\xe8"))
		case opClose:
			lenient = closed(1000)
		}
		list[i].ends = append(list[i].ends, orLenient(lenient))
	}
	return append(list, testCase{name: name + "-of-126-byte-by-byte", why: whyShort,
		steps: []step{{send: long(126, shortest), split: byteWise}}, ends: []ending{closed(1002)}})
}

var controlRows = []row{
	{"5.5.2/ping-not-utf8", whyPing, send(ping("\xff\x00\xc0")), usable(gotPong("\xff\x00\xc0"))},
	{"5.5.2/ping-before-message", whyPing, send(ping("1"), text("one")), usable(gotPong("1"), gotText("one"))},
	{"5.5.2/ping-after-message", whyPing, send(text("one"), ping("1")), usable(gotText("one"), gotPong("1"))},
	{"5.5.3/pong-then-ping", whyPong, send(pong("unsolicited"), ping("?")), usable(gotPong("?"))},
	{"5.5.3/pong-then-message", whyPong, send(pong(""), text("one")), usable(gotText("one"))},
	{"5.5.3/ten-pongs", whyPong, send(pong("1"), pong("2"), pong("3"), pong("4"), pong("5"), pong("6"), pong("7"), pong("8"), pong("9"), pong("10")), usable()},
	{"5.5.3/pong-with-payload-of-no-ping-after-ping", whyPong, send(ping("a"), pong("b")), usable(gotPong("a"))},
}

// manyPings: §5.5.3 lets a server answer only the latest of those it has not
// answered yet; the latest of all is always answered. Of very many at once a
// server may have enough.
func manyPings(n int, name string, s split) testCase {
	c := testCase{name: fmt.Sprintf("5.5.2/%d-pings-%s", n, name), why: "§5.5.3: MAY answer only the most recent ping; §10.4: or protect itself"}
	st := step{split: s}
	for i := range n {
		p := fmt.Sprintf("payload-%d", i)
		st.send, st.want = append(st.send, ping(p)), append(st.want, gotPong(p))
	}
	if n > 10 {
		c.ends = []ending{usable(), orLenient(closed(1008, 1002))}
	}
	c.steps = []step{st}
	return c
}

func pingsAndMessages() testCase {
	c := testCase{name: "5.5.2/50-pings-among-50-messages", why: whyPing}
	var st step
	for i := range 50 {
		p := fmt.Sprintf("%d", i)
		st.send = append(st.send, text(p), ping(p))
		st.want = append(st.want, gotText(p), gotPong(p))
	}
	c.steps = []step{st}
	return c
}

// pingWithoutStop: one after the other, each answered.
func pingWithoutStop() testCase {
	c := testCase{name: "5.5.2/10-pings-each-answered", why: "§5.5.2: an endpoint MUST send a pong in response"}
	for i := range 10 {
		p := fmt.Sprintf("%d", i)
		c.steps = append(c.steps, step{send: send(ping(p)), want: []event{gotPong(p)}})
	}
	return c
}
