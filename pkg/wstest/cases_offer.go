package wstest

const (
	whyAccept   = "RFC 7692 §7.1: a correct offer"
	whyDecline  = "RFC 7692 §7.1: a server MUST decline an offer with such a parameter"
	whyFallback = "RFC 6455 §9.1, RFC 7692 §5: offers in order of preference, one of them may be accepted"
	whyGrammar  = "§9.1: not of the grammar: MUST fail the connection"
)

// offerRow is an offer of permessage-deflate and what must become of it.
type offerRow struct {
	name, why string
	offer     string
	want      extensionWant
}

// offerCases: RFC 7692 §7.1; Autobahn 13.*. What was agreed is used: a message
// is sent compressed, and the echo is read with the window that was agreed.
func offerCases(*Target) []testCase {
	var list []testCase
	for _, r := range offerRows {
		c := testCase{name: r.name, why: r.why, deflate: true, open: request{offer: r.offer}, answer: answer{ext: r.want}}
		if r.want == uncompressed {
			c.answer.lenient = []int{400} // not opened, and so not accepted either
		}
		list = append(list, c.talking(r.want))
	}
	for _, r := range []struct {
		name, why string
		edits     []string
		want      extensionWant
	}{
		{"in-two-lines", "§9.1: the header may be split", edit("", extensions+"foo", "", extensions+"permessage-deflate"), compressed},
		{"fallback-in-two-lines", whyFallback, edit("", extensions+"permessage-deflate; foo", "", extensions+"permessage-deflate"), compressed},
		{"header-in-lower-case", "RFC 9110 §5.1: names are case-insensitive", edit("", "sec-websocket-extensions: permessage-deflate"), compressed},
		{"not-offered", "§9.1: only what was offered can be accepted", nil, uncompressed},
	} {
		c := testCase{name: "7692:7.1/" + r.name, why: r.why, deflate: true, open: request{edits: r.edits}, answer: answer{ext: r.want}}
		list = append(list, c.talking(r.want))
	}
	for _, r := range malformedOffers {
		list = append(list, testCase{name: "9.1/malformed-" + r.name, why: whyGrammar, deflate: true, open: request{offer: r.offer},
			answer: answer{refused: bad}})
	}
	return list
}

const extensions = "Sec-WebSocket-Extensions: "

// talking adds messages to an offer: three echoes of the same, large enough for
// references into the messages before it. They are sent compressed if that was
// agreed for certain, otherwise not.
func (tc testCase) talking(want extensionWant) testCase {
	data := asciiFor(opText, 3000)
	var msg chunk = frame{head: fin | opText, data: data}
	if want == compressed {
		msg = zipped{op: opText, data: data, level: 6}
	}
	for range 3 {
		tc.steps = append(tc.steps, step{send: send(msg), want: []event{{op: opText, data: data}}})
	}
	return tc
}

var offerRows = []offerRow{
	{"7692:7.1/no-parameters", whyAccept, "permessage-deflate", compressed},
	{"7692:7.1/as-chrome-and-firefox-offer", whyAccept, "permessage-deflate; client_max_window_bits", compressed},
	{"7692:7.1/all-parameters", whyAccept, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=15", compressed},
	{"7692:7.1/all-parameters-in-another-order", whyAccept, "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15; client_no_context_takeover; server_no_context_takeover", compressed},
	{"7692:7.1/no-spaces", whyAccept, "permessage-deflate;client_max_window_bits;server_no_context_takeover", compressed},
	{"7692:7.1/spaces-and-tabs", whyAccept, "  permessage-deflate\t;  client_max_window_bits\t;\tserver_no_context_takeover  ", compressed},
	{"7692:7.1/empty-list-items", "RFC 9110 §5.6.1: empty items MUST be ignored", ", permessage-deflate,,", compressed},

	{"7692:7.1.1.1/server_no_context_takeover", whyAccept + "; it MUST be in the answer", "permessage-deflate; server_no_context_takeover", compressed},
	{"7692:7.1.1.1/server_no_context_takeover-with-value", whyDecline + " value", "permessage-deflate; server_no_context_takeover=1", uncompressed},
	{"7692:7.1.1.1/server_no_context_takeover-with-quoted-value", whyDecline + " value", `permessage-deflate; server_no_context_takeover="true"`, uncompressed},
	{"7692:7.1.1.1/server_no_context_takeover-twice", whyDecline + " twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", uncompressed},
	{"7692:7.1.1.2/client_no_context_takeover", whyAccept, "permessage-deflate; client_no_context_takeover", compressed},
	{"7692:7.1.1.2/both-no_context_takeover", whyAccept, "permessage-deflate; client_no_context_takeover; server_no_context_takeover", compressed},
	{"7692:7.1.1.2/client_no_context_takeover-with-value", whyDecline + " value", "permessage-deflate; client_no_context_takeover=0", uncompressed},
	{"7692:7.1.1.2/client_no_context_takeover-twice", whyDecline + " twice", "permessage-deflate; client_no_context_takeover; client_no_context_takeover", uncompressed},

	{"7692:7.1.2.1/server_max_window_bits-15", whyAccept, "permessage-deflate; server_max_window_bits=15", compressed},
	{"7692:7.1.2.1/server_max_window_bits-quoted", "§9.1: a value may be a quoted string", `permessage-deflate; server_max_window_bits="15"`, compressed},
	{"7692:7.1.2.1/server_max_window_bits-14", "RFC 7692 §7.1.2.1: MAY be declined; or it binds the server", "permessage-deflate; server_max_window_bits=14", maybeCompressed},
	{"7692:7.1.2.1/server_max_window_bits-12", "RFC 7692 §7.1.2.1: MAY be declined; or it binds the server", "permessage-deflate; server_max_window_bits=12", maybeCompressed},
	{"7692:7.1.2.1/server_max_window_bits-9", "RFC 7692 §7.1.2.1: MAY be declined; or it binds the server", "permessage-deflate; server_max_window_bits=9", maybeCompressed},
	{"7692:7.1.2.1/server_max_window_bits-8", "RFC 7692 §7.1.2.1: MAY be declined; or it binds the server", "permessage-deflate; server_max_window_bits=8", maybeCompressed},
	{"7692:7.1.2.1/server_max_window_bits-without-value", whyDecline, "permessage-deflate; server_max_window_bits", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-7", whyDecline + " value", "permessage-deflate; server_max_window_bits=7", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-16", whyDecline + " value", "permessage-deflate; server_max_window_bits=16", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-0", whyDecline + " value", "permessage-deflate; server_max_window_bits=0", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-leading-zero", whyDecline + " value", "permessage-deflate; server_max_window_bits=015", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-with-plus", whyDecline + " value", "permessage-deflate; server_max_window_bits=+15", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-negative", whyDecline + " value", "permessage-deflate; server_max_window_bits=-15", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-not-a-number", whyDecline + " value", "permessage-deflate; server_max_window_bits=foo", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-with-fraction", whyDecline + " value", "permessage-deflate; server_max_window_bits=10.0", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-beyond-int64", whyDecline + " value", "permessage-deflate; server_max_window_bits=18446744073709551631", uncompressed},
	{"7692:7.1.2.1/server_max_window_bits-twice", whyDecline + " twice", "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", uncompressed},

	{"7692:7.1.2.2/client_max_window_bits-15", whyAccept, "permessage-deflate; client_max_window_bits=15", compressed},
	{"7692:7.1.2.2/client_max_window_bits-10", whyAccept + "; a hint, the answer need not have it", "permessage-deflate; client_max_window_bits=10", compressed},
	{"7692:7.1.2.2/client_max_window_bits-8", whyAccept + "; a hint, the answer need not have it", "permessage-deflate; client_max_window_bits=8", compressed},
	{"7692:7.1.2.2/client_max_window_bits-quoted", "§9.1: a value may be a quoted string", `permessage-deflate; client_max_window_bits="15"`, compressed},
	{"7692:7.1.2.2/client_max_window_bits-7", whyDecline + " value", "permessage-deflate; client_max_window_bits=7", uncompressed},
	{"7692:7.1.2.2/client_max_window_bits-16", whyDecline + " value", "permessage-deflate; client_max_window_bits=16", uncompressed},
	{"7692:7.1.2.2/client_max_window_bits-leading-zero", whyDecline + " value", "permessage-deflate; client_max_window_bits=08", uncompressed},
	{"7692:7.1.2.2/client_max_window_bits-not-a-number", whyDecline + " value", "permessage-deflate; client_max_window_bits=x", uncompressed},
	{"7692:7.1.2.2/client_max_window_bits-twice", whyDecline + " twice", "permessage-deflate; client_max_window_bits; client_max_window_bits", uncompressed},
	{"7692:7.1.2.2/client_max_window_bits-twice-different", whyDecline + " twice", "permessage-deflate; client_max_window_bits; client_max_window_bits=15", uncompressed},

	{"7692:7.1/unknown-parameter", whyDecline, "permessage-deflate; foo", uncompressed},
	{"7692:7.1/unknown-parameter-with-value", whyDecline, "permessage-deflate; foo=15", uncompressed},
	{"7692:7.1/unknown-parameter-after-known", whyDecline, "permessage-deflate; client_max_window_bits; foo", uncompressed},
	{"7692:7.1/parameter-with-longer-name", whyDecline, "permessage-deflate; server_no_context_takeovers", uncompressed},
	{"7692:7.1/parameter-with-shorter-name", whyDecline, "permessage-deflate; server_no_context", uncompressed},

	{"7692:7.1/fallback-after-unknown-parameter", whyFallback, "permessage-deflate; foo, permessage-deflate", compressed},
	{"7692:7.1/fallback-after-bad-value", whyFallback, "permessage-deflate; server_max_window_bits=7, permessage-deflate; client_max_window_bits", compressed},
	{"7692:7.1/fallback-after-small-window", whyFallback, "permessage-deflate; server_max_window_bits=8, permessage-deflate", compressed},
	{"7692:7.1/fallback-after-twice", whyFallback, "permessage-deflate; client_max_window_bits; client_max_window_bits, permessage-deflate; server_no_context_takeover", compressed},
	{"7692:7.1/two-fallbacks", whyFallback, "permessage-deflate; foo, permessage-deflate; bar, permessage-deflate; server_no_context_takeover", compressed},
	{"7692:7.1/good-before-bad", whyFallback, "permessage-deflate; client_no_context_takeover, permessage-deflate; foo", compressed},
	{"7692:7.1/good-twice", whyFallback, "permessage-deflate; server_no_context_takeover, permessage-deflate", compressed},
	{"7692:7.1/all-bad", whyFallback, "permessage-deflate; foo, permessage-deflate; server_max_window_bits=99", uncompressed},
	{"7692:7.1/behind-an-unknown-extension", whyFallback, "foo; bar=1, permessage-deflate", compressed},
	{"7692:7.1/before-an-unknown-extension", whyFallback, "permessage-deflate, foo; client_max_window_bits", compressed},
	{"7692:7.1/behind-an-extension-with-its-name-as-parameter", whyFallback, "foo; permessage-deflate", uncompressed},
	{"7692:7.1/behind-an-extension-with-a-quoted-value", whyFallback, `foo; bar="baz", permessage-deflate`, compressed},
}

var malformedOffers = []struct{ name, offer string }{
	{"no-value-after-equals-sign", "permessage-deflate; server_max_window_bits="},
	{"empty-parameter", "permessage-deflate; ; client_max_window_bits"},
	{"semicolon-at-the-end", "permessage-deflate;"},
	{"equals-sign-first", "permessage-deflate; =15"},
	{"space-in-name", "permessage deflate"},
	{"quote-not-closed", `permessage-deflate; server_max_window_bits="15`},
	{"quoted-empty-value", `permessage-deflate; server_max_window_bits=""`},
	{"quoted-value-not-a-token", `permessage-deflate; server_max_window_bits="1 5"`},
	{"two-values", "permessage-deflate; server_max_window_bits=15=15"},
	{"parameter-without-extension", "; client_max_window_bits"},
	{"slash-in-name", "permessage/deflate"},
	{"control-character", "permessage-deflate; \x01"},
}
