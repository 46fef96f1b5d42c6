package wstest

import "fmt"

// goodText is UTF-8 by RFC 3629.
var goodText = []struct{ name, s string }{
	{"ascii", "Hello, World"},
	{"kosme", "κόσμε"},
	{"mixed", "Hello-µ@ßöäüàá-UTF-8!!"},
	{"nul", "a\x00b"},
	{"nul-first", "\x00a"},
	{"control-characters", "\x01\t\r\n\x1f\x7f"},
	{"u+0080", "\xc2\x80"},
	{"u+07ff", "\xdf\xbf"},
	{"u+0800", "\xe0\xa0\x80"},
	{"u+0fff", "\xe0\xbf\xbf"},
	{"u+1000", "\xe1\x80\x80"},
	{"u+d7ff-last-before-surrogates", "\xed\x9f\xbf"},
	{"u+e000-first-after-surrogates", "\xee\x80\x80"},
	{"u+fffd-replacement", "\xef\xbf\xbd"},
	{"u+feff-byte-order-mark", "\xef\xbb\xbfa"},
	{"u+fffe-noncharacter", "\xef\xbf\xbe"},
	{"u+ffff-noncharacter", "\xef\xbf\xbf"},
	{"u+fdd0-noncharacter", "\xef\xb7\x90"},
	{"u+10000", "\xf0\x90\x80\x80"},
	{"u+1ffff-noncharacter", "\xf0\x9f\xbf\xbf"},
	{"u+3ffff", "\xf0\xbf\xbf\xbf"},
	{"u+40000", "\xf1\x80\x80\x80"},
	{"u+fffff", "\xf3\xbf\xbf\xbf"},
	{"u+100000", "\xf4\x80\x80\x80"},
	{"u+10ffff-last", "\xf4\x8f\xbf\xbf"},
	{"all-lengths-in-turn", "a\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80b"},
	{"joined-emoji", "👩‍👩‍👧‍👦🏳️‍🌈"},
	{"combining-marks", "e\xcc\x81\xcc\x81"},
	{"right-to-left", "שלום مرحبا"},
	{"cjk", "中文日本語한국어"},
}

// badText is not UTF-8. prefix and suffix around the bad bytes are.
var badText = []struct{ name, prefix, bad, suffix string }{
	{"kosme-surrogate-edited", "κόσμε", "\xed\xa0\x80", "edited"},
	{"latin-1", "caf", "\xe9", ""},
	{"after-nul", "\x00", "\xff", ""},

	{"continuation-byte-80", "", "\x80", ""},
	{"continuation-byte-bf", "", "\xbf", ""},
	{"continuation-bytes-2", "a", "\x80\xbf", "b"},
	{"continuation-bytes-7", "", "\x80\xbf\x80\xbf\x80\xbf\x80", ""},
	{"one-continuation-too-many-after-2", "\xc2\x80", "\x80", ""},
	{"one-continuation-too-many-after-3", "\xe0\xa0\x80", "\x80", "x"},
	{"one-continuation-too-many-after-4", "\xf0\x90\x80\x80", "\x80", "x"},

	{"truncated-2-of-1", "", "\xdf", ""},
	{"truncated-3-of-1", "", "\xe1", ""},
	{"truncated-3-of-2", "", "\xe1\x80", ""},
	{"truncated-4-of-1", "x", "\xf1", ""},
	{"truncated-4-of-2", "x", "\xf1\x80", ""},
	{"truncated-4-of-3", "x", "\xf1\x80\x80", ""},
	{"truncated-2-then-space", "", "\xc2", " "},
	{"truncated-3-then-ascii", "", "\xe2\x82", "a"},
	{"truncated-4-then-ascii", "", "\xf0\x9f\x98", "a"},
	{"truncated-3-then-start-of-next", "", "\xe2\x82", "\xe2\x82\xac"},
	{"truncated-4-then-start-of-next", "", "\xf0\x9f", "\xf0\x9f\x98\x80"},
	{"truncated-in-each-length-in-turn", "", "\xdf\xe1\x80\xf1\x80\x80", ""},

	{"overlong-2-nul", "", "\xc0\x80", ""},
	{"overlong-2-slash", "", "\xc0\xaf", ""},
	{"overlong-2-last", "", "\xc1\xbf", ""},
	{"overlong-3-nul", "", "\xe0\x80\x80", ""},
	{"overlong-3-slash", "", "\xe0\x80\xaf", ""},
	{"overlong-3-last", "", "\xe0\x9f\xbf", ""},
	{"overlong-4-nul", "", "\xf0\x80\x80\x80", ""},
	{"overlong-4-slash", "", "\xf0\x80\x80\xaf", ""},
	{"overlong-4-last", "", "\xf0\x8f\xbf\xbf", ""},
	{"overlong-5-slash", "", "\xf8\x80\x80\x80\xaf", ""},
	{"overlong-6-slash", "", "\xfc\x80\x80\x80\x80\xaf", ""},

	{"surrogate-d800", "", "\xed\xa0\x80", ""},
	{"surrogate-db7f", "", "\xed\xad\xbf", ""},
	{"surrogate-db80", "", "\xed\xae\x80", ""},
	{"surrogate-dbff", "", "\xed\xaf\xbf", ""},
	{"surrogate-dc00", "", "\xed\xb0\x80", ""},
	{"surrogate-dfff", "", "\xed\xbf\xbf", ""},
	{"surrogate-pair-first", "", "\xed\xa0\x80\xed\xb0\x80", ""},
	{"surrogate-pair-last", "", "\xed\xaf\xbf\xed\xbf\xbf", ""},

	{"u+110000-one-beyond-last", "", "\xf4\x90\x80\x80", ""},
	{"u+13ffff", "", "\xf4\xbf\xbf\xbf", ""},
	{"u+140000", "", "\xf5\x80\x80\x80", ""},
	{"u+1fffff", "", "\xf7\xbf\xbf\xbf", ""},
	{"5-bytes-u+200000", "", "\xf8\x88\x80\x80\x80", ""},
	{"5-bytes-u+3ffffff", "", "\xfb\xbf\xbf\xbf\xbf", ""},
	{"6-bytes-u+4000000", "", "\xfc\x84\x80\x80\x80\x80", ""},
	{"6-bytes-u+7fffffff", "", "\xfd\xbf\xbf\xbf\xbf\xbf", ""},

	{"byte-c0", "a", "\xc0", "b"},
	{"byte-f5", "a", "\xf5", "b"},
	{"byte-f8", "a", "\xf8", "b"},
	{"byte-fe", "", "\xfe", ""},
	{"byte-ff", "", "\xff", ""},
	{"utf-16-byte-order-mark", "", "\xff\xfe", "a\x00"},
	{"utf-16-big-endian", "", "\xfe\xff", "\x00a"},
}

// utf8Cases: §5.6, §8.1; Autobahn 6.*.
func utf8Cases(*Target) []testCase {
	const whyGood, whyBad = "§5.6: text is UTF-8, RFC 3629", "§8.1: MUST fail the connection; §7.4.1: 1007"
	var list []testCase
	for _, g := range goodText {
		want := []event{gotText(g.s)}
		list = append(list,
			testCase{name: "8.1/good-" + g.name, why: whyGood, steps: []step{{send: send(text(g.s)), want: want}}},
			testCase{name: "8.1/good-" + g.name + "-in-fragments-of-1", why: whyGood, steps: []step{{send: send(fragments{opText, str(g.s), 1}), want: want}}})
	}
	for _, b := range badText {
		s, end := str(b.prefix+b.bad+b.suffix), []ending{closed(1007)}
		list = append(list,
			testCase{name: "8.1/bad-" + b.name, why: whyBad, steps: []step{{send: send(text(s.unit))}}, ends: end},
			testCase{name: "8.1/bad-" + b.name + "-in-fragments-of-1", why: whyBad, ends: end,
				steps: []step{{send: send(fragments{opText, s, 1})}}},
			testCase{name: "8.1/bad-" + b.name + "-in-a-fragment-of-its-own", why: whyBad, ends: end,
				steps: []step{{send: send(first(b.prefix), cont(b.bad), last(b.suffix)), split: oddPieces}}})
	}
	list = append(list, fromRows(utf8Rows)...)
	return append(append(list, utf8Blocks()...), failFastCases()...)
}

var utf8Rows = []row{
	{"5.6/binary-need-not-be-utf8", "§5.6: binary is arbitrary", send(bin("\xff\xfe\xed\xa0\x80\xc0")), usable(gotBinary("\xff\xfe\xed\xa0\x80\xc0"))},
	{"5.6/fragmented-binary-need-not-be-utf8", "§5.6: binary is arbitrary", send(firstB("\xff\xfe"), cont("\xc0"), last("\x80")), usable(gotBinary("\xff\xfe\xc0\x80"))},
	{"5.6/partial-code-point-at-the-end-of-a-message", "§5.6: a frame might include a partial UTF-8 sequence, the whole message MUST be UTF-8",
		send(first("\xf0\x9f"), cont("\x98"), last("\x80\xc3"), first("a\xe2"), last("\x82\xac")), closed(1007)},
	{"5.6/code-points-across-fragments", "§5.6: a particular text frame might include a partial UTF-8 sequence",
		send(first("\xf0\x9f"), cont("\x98"), cont(""), last("\x80"), first("a\xe2"), ping("\x82"), last("\x82\xac")),
		usable(gotText("😀"), gotPong("\x82"), gotText("a€"))},
	{"8.1/bad-at-the-end-of-a-good-message", "§8.1: MUST fail the connection", send(text("one"), text("two\xff"), text("three")), closed(1007).after(gotText("one"))},
	{"8.1/bad-completed-by-the-next-message", "§5.6: each message stands for itself", send(text("\xe2\x82"), text("\xac")), closed(1007)},
	{"8.1/bad-in-text-after-binary", "§5.6: binary is arbitrary, text is not", send(bin("\xff"), text("\xff")), closed(1007).after(gotBinary("\xff"))},
	{"8.1/bad-in-first-fragment", "§8.1: MUST fail the connection, at once or at the end of the message", send(first("\xff"), cont("two"), last("three")), closed(1007)},
	{"8.1/bad-in-last-fragment", "§8.1: MUST fail the connection", send(first("one"), cont("two"), last("\xc0")), closed(1007)},
	{"8.1/truncated-then-empty-last-fragment", "§8.1: MUST fail the connection", send(first("one"), cont("\xe2\x82"), last("")), closed(1007)},
}

// utf8Blocks have the bad byte far behind, where validators that look at blocks
// of bytes have their seams.
func utf8Blocks() []testCase {
	var list []testCase
	for _, at := range []int{7, 8, 15, 16, 31, 32, 63, 64, 127, 1023, 4095, 65535} {
		s := repeat("x", at).String()
		list = append(list,
			testCase{name: fmt.Sprintf("8.1/bad-byte-at-%d", at), why: "§8.1: MUST fail the connection",
				steps: []step{{send: send(text(s + "\x80" + "xxxxxxxxxxxxxxxx"))}}, ends: []ending{closed(1007)}},
			testCase{name: fmt.Sprintf("8.1/code-point-across-%d", at), why: "§5.6: text is UTF-8",
				steps: []step{{send: send(text(s[1:]+"😀x"), fragments{opText, str(s[1:] + "😀x"), at}),
					want: []event{gotText(s[1:] + "😀x"), gotText(s[1:] + "😀x")}}}})
	}
	return list
}

// failFastCases have no end of their message: what is wrong is already there
// (Autobahn 6.4). What may still become right must wait, which the ping shows.
func failFastCases() []testCase {
	const why = "§8.1: MUST fail the connection when an endpoint finds that bytes are not UTF-8; Target.FailFast finds it at once"
	half := func(s string) chunk { // of a frame that is twice as long
		return part{text(s + s), 0, 6 + len(s)}
	}
	var list []testCase
	for _, r := range []struct {
		name      string
		good, bad chunk
	}{
		{"in-first-fragment", nil, first("one\xff")},
		{"in-second-fragment", first("one"), cont("\xc0")},
		{"second-byte-too-large", first("κόσμε\xf4"), cont("\x90")},
		{"second-byte-a-surrogate", first("κόσμε\xed"), cont("\xa0")},
		{"second-byte-overlong", first("κόσμε\xe0"), cont("\x80")},
		{"truncated-by-the-next-fragment", first("\xf0\x9f\x98"), cont("a")},
		{"in-a-frame-that-has-not-ended", nil, half("κόσμε\xed\xa0edited")},
		{"in-a-second-fragment-that-has-not-ended", first("\xe2\x82"), part{last("\x7f and more"), 0, 9}},
	} {
		c := testCase{name: "8.1/at-once-" + r.name, why: why, failFast: true, ends: []ending{closed(1007)}}
		if r.good != nil {
			c.steps = append(c.steps, step{send: send(r.good, ping("?")), want: []event{gotPong("?")}})
		}
		c.steps = append(c.steps, step{send: send(r.bad)})
		list = append(list, c)
	}
	return list
}
