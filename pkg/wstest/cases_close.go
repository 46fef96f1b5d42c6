package wstest

import "fmt"

const (
	whyCloseEcho  = "§5.5.1: MUST answer with a Close frame, and typically echos its code"
	whyCloseEmpty = "§7.1.5: without a code it is 1005, which MUST NOT be sent: the answer is empty, or 1000"
	whyCloseBad   = "§7.4.1, §7.4.2: such a code MUST NOT be set by an endpoint"
	whyCloseUTF8  = "§5.5.1: the reason is UTF-8; 1007 is about messages, so 1002 is as good"
	whyCloseLater = "§5.5.1: no data after a Close frame; §1.4: what comes is discarded"
)

// closeCases: §5.5.1, §7; Autobahn 7.*.
func closeCases(*Target) []testCase {
	list := fromRows(closeRows)
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		list = append(list, fromRows([]row{
			{fmt.Sprintf("7.4/code-%d", code), whyCloseEcho, send(closing(code, "")), closed(code)},
			{fmt.Sprintf("7.4/code-%d-with-reason", code), whyCloseEcho, send(closing(code, "a reason")), closed(code)},
		})...)
	}
	// Not in RFC 6455, but registered with IANA since.
	for _, code := range []int{1012, 1013, 1014} {
		list = append(list, fromRows([]row{{fmt.Sprintf("7.4/code-%d", code),
			"IANA registry of close codes; RFC 6455 alone does not know it", send(closing(code, "")), closed(code, 1002)}})...)
	}
	for _, code := range []int{0, 1, 100, 999, 1004, 1005, 1006, 1015} {
		list = append(list, fromRows([]row{
			{fmt.Sprintf("7.4/code-%d", code), whyCloseBad, send(closing(code, "")), closed(1002)},
		})...)
	}
	list = append(list, fromRows([]row{{"7.4/code-1006-with-reason", whyCloseBad, send(closing(1006, "a reason")), closed(1002)}})...)
	// Nobody may send them, but no sentence says that a receiver must mind.
	for _, code := range []int{1016, 1100, 2000, 2999, 5000, 9999, 65535} {
		c := fromRows([]row{{fmt.Sprintf("7.4/code-%d", code), "§7.4.2: below 3000 reserved for the protocol, above 4999 not defined",
			send(closing(code, "")), closed(1002)}})[0]
		lenient := closed(1000)
		if code < 5000 {
			lenient = closed(1000, code)
		}
		c.ends = append(c.ends, orLenient(lenient))
		list = append(list, c)
	}
	for _, b := range badText {
		if b.prefix == "" && b.suffix == "" && b.name[:4] != "byte" {
			continue // one of each class is enough here
		}
		list = append(list, fromRows([]row{{"5.5.1/reason-" + b.name, whyCloseUTF8, send(closing(1000, b.prefix+b.bad+b.suffix)), closed(1007, 1002)}})...)
	}
	return append(list, closeInPieces()...)
}

var closeRows = []row{
	{"5.5.1/empty", whyCloseEmpty, send(closeWith("")), closed(noCode, 1000)},
	{"5.5.1/one-byte", "§5.5.1: if there is a body, its first two bytes MUST be a code", send(closeWith("\x03")), closed(1002)},
	{"5.5.1/one-byte-0", "§5.5.1: if there is a body, its first two bytes MUST be a code", send(closeWith("\x00")), closed(1002)},
	{"5.5.1/code-only", whyCloseEcho, send(closing(1000, "")), closed(1000)},
	{"5.5.1/reason-of-1", whyCloseEcho, send(closing(1000, "x")), closed(1000)},
	{"5.5.1/reason-of-123", whyCloseEcho, send(frame{head: fin | opClose, data: str("\x03\xe8").plus(repeat("x", 123).String())}), closed(1000)},
	{"5.5.1/reason-of-124", "§5.5: 125 bytes or less, code and reason together", send(frame{head: fin | opClose, data: str("\x03\xe8").plus(repeat("x", 124).String())}), closed(1002)},
	{"5.5.1/reason-in-utf8", whyCloseEcho, send(closing(1000, "κόσμε 😀 中文")), closed(1000)},
	{"5.5.1/reason-of-123-in-utf8", whyCloseEcho, send(closing(4000, repeat("€", 123).String())), closed(4000)},
	{"5.5.1/reason-with-nul", whyCloseEcho, send(closing(1000, "a\x00b")), closed(1000)},
	{"5.5.1/reason-truncated", whyCloseUTF8, send(closing(1000, "€"[:2])), closed(1007, 1002)},

	{"5.5.1/message-then-close", whyCloseEcho, send(text("one"), closing(1000, "")), closed(1000).after(gotText("one"))},
	{"5.5.1/256-kib-then-close", whyCloseEcho, send(frame{head: fin | opText, data: repeat("x", 256<<10)}, closing(1000, "")),
		closed(1000).after(event{op: opText, data: repeat("x", 256<<10)})},
	{"5.5.1/ping-then-close", whyCloseEcho, send(ping("?"), closing(1001, "")), closed(1001).after(gotPong("?"))},
	{"5.5.1/message-after-close", whyCloseLater, send(closing(1000, ""), text("one")), closed(1000)},
	{"5.5.1/ping-after-close", whyCloseLater, send(closing(1000, ""), ping("?")), closed(1000)},
	{"5.5.1/two-closes", whyCloseLater, send(closing(1000, ""), closing(1001, "")), closed(1000)},
	{"5.5.1/two-empty-closes", whyCloseLater, send(closeWith(""), closeWith("")), closed(noCode, 1000)},
	{"5.5.1/close-then-bad-close", whyCloseLater, send(closing(1000, ""), closing(1005, "")), closed(1000)},
	{"5.5.1/close-then-rubbish", whyCloseLater, send(closing(1000, ""), raw("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), closed(1000)},
	{"5.5.1/close-then-unmasked", whyCloseLater, send(closing(1000, ""), frame{head: fin | opText, data: str("x"), unmasked: true}), closed(1000)},
	{"5.5.1/close-then-half-a-frame", whyCloseLater, send(closing(1000, ""), raw("\x82")), closed(1000)},
	{"5.5.1/close-then-65536-bytes", whyCloseLater, send(closing(1000, ""), frame{head: fin | opBinary, data: repeat("x", 65536)}), closed(1000)},
	{"5.5.1/message-ping-close-message-ping", whyCloseLater, send(text("one"), ping("?"), closing(3000, "bye"), text("two"), ping("!")),
		closed(3000).after(gotText("one"), gotPong("?"))},
	{"7.1.7/nothing-after-a-violation", "§7.1.7: MUST NOT go on to process data", send(frame{head: fin | rsv1 | opText, data: str("one")}, text("two"), ping("?"), closing(1000, "")), closed(1002)},
	{"7.1.7/close-after-a-violation", "§7.1.7: MUST NOT go on to process data", send(text("\xff"), closing(1000, "")), closed(1007)},
	{"7.1.7/two-violations", "§5.5.1: one Close frame, for the first", send(text("\xff"), last("orphan"), frame{head: 0xff}), closed(1007)},
	{"7.1.7/256-kib-after-a-violation", "§7.1.7: MUST NOT go on to process data", send(text("\xff"), frame{head: fin | opBinary, data: repeat("x", 256<<10)}), closed(1007)},
}

// closeInPieces: a Close frame that comes byte by byte, and one that does not
// come to its end before the next step.
func closeInPieces() []testCase {
	return []testCase{
		{name: "5.5.1/close-byte-by-byte", why: whyCloseEcho, ends: []ending{closed(1000).after(gotText("one"))},
			steps: []step{{send: send(text("one"), closing(1000, "good bye")), split: byteWise}}},
		{name: "5.5.1/close-cut-in-its-code", why: whyCloseEcho, ends: []ending{closed(1001)},
			steps: []step{
				{send: send(ping("?"), part{closing(1001, "x"), 0, 7}), want: []event{gotPong("?")}},
				{send: send(part{closing(1001, "x"), 7, 0})},
			}},
		{name: "5.5.1/message-after-echoed-message-then-close", why: whyCloseEcho, ends: []ending{closed(1000)},
			steps: []step{
				{send: send(text("one")), want: []event{gotText("one")}},
				{send: send(text("two")), want: []event{gotText("two")}},
				{send: send(closing(1000, ""))},
			}},
	}
}
