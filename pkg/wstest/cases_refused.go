package wstest

// refusedRow is a request that is refused with one of statuses; lenient are
// those allowed without Strict, 101 among them.
type refusedRow struct {
	name, why string
	edits     []string
	statuses  []int
	lenient   []int
	header    string
}

// noUpgrade is for requests that may be plain HTTP requests: 426 says it best,
// and a path without the WebSocket may be anything.
var (
	bad       = []int{400}
	noUpgrade = []int{426, 400}
	wrongWay  = []int{405, 501, 400}
)

// answerCases are requests that must be refused, §4.2.1, §4.4, and
// RFC 9112.
func answerCases(target *Target) []testCase {
	var list []testCase
	for _, rows := range [][]refusedRow{refusedRows, refusedSyntax} {
		for _, r := range rows {
			if r.name == noResource && target.AnyPath {
				continue
			}
			list = append(list, testCase{name: r.name, why: r.why, open: request{edits: r.edits},
				answer: answer{refused: r.statuses, lenient: r.lenient, header: r.header}})
		}
	}
	return list
}

// noResource needs a path where there is no WebSocket.
const noResource = "4.2.1/no-resource"

const whyVersion = "§4.4: MUST respond with the versions it can, and an appropriate error code such as 426"

var refusedRows = []refusedRow{
	{"4.2.1/host-missing", "RFC 9112 §3.2: MUST respond with 400", edit(lineHost, ""), bad, nil, ""},
	{"4.2.1/host-twice", "RFC 9112 §3.2: MUST respond with 400", edit("", "Host: server.example.com"), bad, nil, ""},
	{"4.2.1/host-twice-different", "RFC 9112 §3.2: MUST respond with 400", edit("", "Host: other.example.com"), bad, nil, ""},
	{"4.2.1/host-with-space", "RFC 9112 §3.2: MUST respond with 400 to an invalid value", edit(lineHost, "Host: a b"), bad, nil, ""},
	{"4.2.1/host-with-path", "RFC 9112 §3.2: MUST respond with 400 to an invalid value", edit(lineHost, "Host: a/b"), bad, nil, ""},

	{"4.2.1/upgrade-missing", whyNoMatch, edit(lineUpgrade, ""), noUpgrade, nil, ""},
	{"4.2.1/upgrade-empty", whyNoMatch, edit(lineUpgrade, "Upgrade:"), noUpgrade, nil, ""},
	{"4.2.1/upgrade-other", whyNoMatch, edit(lineUpgrade, "Upgrade: h2c"), noUpgrade, nil, ""},
	{"4.2.1/upgrade-longer-word", whyNoMatch, edit(lineUpgrade, "Upgrade: websockets"), noUpgrade, nil, ""},
	{"4.2.1/upgrade-shorter-word", whyNoMatch, edit(lineUpgrade, "Upgrade: websocke"), noUpgrade, nil, ""},
	{"4.2.1/upgrade-two-words", whyNoMatch, edit(lineUpgrade, "Upgrade: web socket"), noUpgrade, nil, ""},
	{"4.2.1/connection-missing", whyNoMatch, edit(lineConnection, ""), noUpgrade, nil, ""},
	{"4.2.1/connection-empty", whyNoMatch, edit(lineConnection, "Connection:"), noUpgrade, nil, ""},
	{"4.2.1/connection-keep-alive", whyNoMatch, edit(lineConnection, "Connection: keep-alive"), noUpgrade, nil, ""},
	{"4.2.1/connection-close", whyNoMatch, edit(lineConnection, "Connection: close"), noUpgrade, nil, ""},
	{"4.2.1/connection-longer-word", whyNoMatch, edit(lineConnection, "Connection: upgraded"), noUpgrade, nil, ""},
	{"4.2.1/connection-two-words", whyNoMatch, edit(lineConnection, "Connection: keep-alive Upgrade"), noUpgrade, nil, ""},

	{"4.2.1/key-missing", whyNoMatch, edit(lineKey, ""), bad, nil, ""},
	{"4.2.1/key-empty", whyNoMatch, edit(lineKey, lineKey), bad, nil, ""},
	{"4.2.1/key-of-15-bytes", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25j"), bad, nil, ""},
	{"4.2.1/key-of-17-bytes", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25jZSE="), bad, nil, ""},
	{"4.2.1/key-of-18-bytes", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25jZSEh"), bad, nil, ""},
	{"4.2.1/key-without-padding", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25jZQ"), bad, nil, ""},
	{"4.2.1/key-with-padding-inside", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBs==Bub25jZQ=="), bad, nil, ""},
	{"4.2.1/key-not-base64", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25j!Q=="), bad, nil, ""},
	{"4.2.1/key-in-base64url", whyNoMatch + "; §11.3.1: base64 of RFC 4648 §4", edit(lineKey, lineKey+" ----________________-w=="), bad, nil, ""},
	{"4.2.1/key-with-a-space-inside", whyNoMatch, edit(lineKey, lineKey+" dGhlIHNhbXB ZSBub25jZQ=="), bad, nil, ""},
	{"4.2.1/key-followed-by-more", whyNoMatch, edit(lineKey, lineKey+" "+testKey+", x"), bad, nil, ""},
	{"4.2.1/key-of-1-kib", whyNoMatch, edit(lineKey, lineKey+" "+repeat("QUFB", 1024).String()), bad, nil, ""},
	{"4.2.1/key-twice", "§11.3.1: MUST NOT appear more than once", edit("", lineKey+" "+testKey), bad, nil, ""},
	{"4.2.1/key-twice-different", "§11.3.1: MUST NOT appear more than once", edit("", lineKey+" AAAAAAAAAAAAAAAAAAAAAA=="), bad, nil, ""},

	{"4.4/version-missing", whyNoMatch, edit(lineVersion, ""), noUpgrade, nil, ""},
	{"4.4/version-empty", whyNoMatch, edit(lineVersion, lineVersion), noUpgrade, nil, ""},
	{"4.4/version-0", whyVersion, edit(lineVersion, lineVersion+" 0"), []int{426}, bad, "Sec-WebSocket-Version: 13"},
	{"4.4/version-7", whyVersion, edit(lineVersion, lineVersion+" 7"), []int{426}, bad, "Sec-WebSocket-Version: 13"},
	{"4.4/version-12", whyVersion, edit(lineVersion, lineVersion+" 12"), []int{426}, bad, "Sec-WebSocket-Version: 13"},
	{"4.4/version-14", whyVersion, edit(lineVersion, lineVersion+" 14"), []int{426}, bad, "Sec-WebSocket-Version: 13"},
	{"4.4/version-255", whyVersion, edit(lineVersion, lineVersion+" 255"), []int{426}, bad, "Sec-WebSocket-Version: 13"},
	{"4.4/version-256", "§4.3: a version is at most 255", edit(lineVersion, lineVersion+" 256"), noUpgrade, nil, ""},
	{"4.4/version-013", "§4.3: no leading zero", edit(lineVersion, lineVersion+" 013"), noUpgrade, nil, ""},
	{"4.4/version-13.0", "§4.3: a number", edit(lineVersion, lineVersion+" 13.0"), noUpgrade, nil, ""},
	{"4.4/version-not-a-number", "§4.3: a number", edit(lineVersion, lineVersion+" thirteen"), noUpgrade, nil, ""},
	{"4.4/version-list", "§4.3: a client sends one version", edit(lineVersion, lineVersion+" 8, 13"), noUpgrade, nil, ""},
	{"4.4/version-twice", "§11.3.5: MUST NOT appear more than once in a request", edit("", lineVersion+" 13"), noUpgrade, nil, ""},
	{"4.4/version-twice-different", "§11.3.5: MUST NOT appear more than once in a request", edit("", lineVersion+" 8"), noUpgrade, nil, ""},

	{"4.2.1/method-post", "§4.1 item 2: the method MUST be GET", edit(lineGet, "POST {path} HTTP/1.1", "", "Content-Length: 0"), wrongWay, nil, ""},
	{"4.2.1/method-put", "§4.1 item 2: the method MUST be GET", edit(lineGet, "PUT {path} HTTP/1.1", "", "Content-Length: 0"), wrongWay, nil, ""},
	{"4.2.1/method-options", "§4.1 item 2: the method MUST be GET", edit(lineGet, "OPTIONS {path} HTTP/1.1"), []int{405, 501, 400, 200, 204, 426}, nil, ""},
	{"4.2.1/method-in-lower-case", "RFC 9110 §9.1: methods are case-sensitive", edit(lineGet, "get {path} HTTP/1.1"), wrongWay, nil, ""},
	{"4.2.1/method-unknown", "RFC 9110 §9.1: 501 or 405", edit(lineGet, "GETT {path} HTTP/1.1"), wrongWay, nil, ""},
	{"4.2.1/http-1.0", "§4.1 item 2: at least 1.1; RFC 9110 §7.8: MUST ignore Upgrade in 1.0", edit(lineGet, "GET {path} HTTP/1.0"), []int{505, 426, 400}, nil, ""},
	{"4.2.1/http-2.0", "RFC 9112 §2.3: this is not how HTTP/2 begins", edit(lineGet, "GET {path} HTTP/2.0"), []int{505, 400}, nil, ""},
	{noResource, "§4.2.2 item 4: if the resource is not available: an appropriate HTTP error code such as 404", edit(lineGet, "GET {path}-which-is-not-there HTTP/1.1"), []int{404, 400}, nil, ""},
}

var refusedSyntax = []refusedRow{
	{"9112:3/no-version", whyHTTP, edit(lineGet, "GET {path}"), []int{400, 505}, nil, ""},
	{"9112:3/two-spaces", "RFC 9112 §3: SHOULD respond with 400", edit(lineGet, "GET  {path} HTTP/1.1"), bad, []int{101}, ""},
	{"9112:3/space-in-target", "RFC 9112 §3.2: no white space in a target; SHOULD respond with 400", edit(lineGet, "GET {path}?a b HTTP/1.1"), bad, []int{505}, ""},
	{"9112:3/nul-in-target", whyHTTP, edit(lineGet, "GET {path}?\x00 HTTP/1.1"), bad, nil, ""},
	{"9112:2.3/version-in-lower-case", "RFC 9112 §2.3: HTTP-name is case-sensitive", edit(lineGet, "GET {path} http/1.1"), []int{400, 505}, nil, ""},
	{"9112:2.3/version-without-minor", whyHTTP, edit(lineGet, "GET {path} HTTP/1"), []int{400, 505}, nil, ""},
	{"9112:5/line-without-colon", whyHTTP, edit("", "X-Header"), bad, nil, ""},
	{"9112:5/empty-name", whyHTTP, edit("", ": value"), bad, nil, ""},
	{"9112:5/space-in-name", whyHTTP, edit("", "X Header: a"), bad, nil, ""},
	{"9112:5.1/space-before-colon", whySyntax, edit("", "X-Header : a"), bad, nil, ""},
	{"9112:5.1/space-before-colon-of-upgrade", whySyntax, edit(lineUpgrade, "Upgrade : websocket"), bad, nil, ""},
	{"9112:6.1/length-and-chunked", "RFC 9112 §6.1: MAY reject it, and MUST close the connection otherwise, which rules out a 101", edit("", "Transfer-Encoding: chunked", "", "Content-Length: 5"), bad, []int{501}, ""},
	{"9112:6.3/lengths-differ", "RFC 9112 §6.3: MUST respond with 400", edit("", "Content-Length: 0", "", "Content-Length: 5"), bad, nil, ""},
	{"9112:6.3/length-not-a-number", "RFC 9112 §6.3: MUST respond with 400", edit("", "Content-Length: x"), bad, nil, ""},
	{"9112:6.3/length-negative", "RFC 9112 §6.3: MUST respond with 400", edit("", "Content-Length: -1"), bad, nil, ""},
}

// tooLarge is RFC 6585 §5.
var tooLarge = []int{431}

// headCases: how the head comes, how large it is, what follows it.
func headCases(*Target) []testCase {
	hello := []step{{send: send(text("Hello")), want: []event{gotText("Hello")}}}
	list := []testCase{
		{name: "4.1/request-byte-by-byte", why: "a request is the same in whatever pieces it comes", open: request{split: byteWise}, steps: hello},
		{name: "4.1/request-in-odd-pieces", why: "a request is the same in whatever pieces it comes", open: request{split: oddPieces}, steps: hello},
		{name: "4.1/request-and-frame-byte-by-byte", why: whyEarly, open: request{split: byteWise}, early: send(text("early")), steps: []step{{want: []event{gotText("early")}}}},
		{name: "9112:5.2/folded-line", why: "RFC 9112 §5.2: MUST either reject with 400 or replace by spaces", open: request{edits: edit("", "X-Header: a\r\n b")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9112:5.2/folded-line-with-tab", why: "RFC 9112 §5.2: MUST either reject with 400 or replace by spaces", open: request{edits: edit("", "X-Header: a\r\n\tb")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9112:2.2/folded-first-line", why: "RFC 9112 §2.2: MUST reject or consume lines that begin with white space", open: request{edits: edit(lineHost, " Host: a")},
			answer: answer{refused: bad}},
		{name: "9112:2.2/one-bare-lf", why: "RFC 9112 §2.2: MAY recognize a single LF as a line terminator", open: request{edits: edit("", "X-A: a\nX-B: b")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9112:2.2/all-bare-lf", why: "RFC 9112 §2.2: MAY recognize a single LF as a line terminator", open: request{bareLF: true},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9110:5.5/nul-in-value", why: "RFC 9110 §5.5: MUST either reject the message or replace NUL", open: request{edits: edit("", "X-Header: a\x00b")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9110:5.5/cr-in-value", why: "RFC 9110 §5.5, RFC 9112 §2.2: MUST either reject a bare CR or replace it", open: request{edits: edit("", "X-Header: a\rb")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9112:2.2/empty-line-first", why: "RFC 9112 §2.2: SHOULD ignore at least one empty line", open: request{edits: edit(lineGet, "\r\nGET {path} HTTP/1.1")},
			answer: answer{refused: bad, accept: true}, steps: hello},
		{name: "9110:7.8/body-is-not-frames", why: "RFC 9110 §7.8: the new protocol begins behind the request's content; §9.3.1: or reject it",
			open: request{edits: edit("", "Content-Length: 5"), body: "hello"}, answer: answer{refused: []int{400, 413}, accept: true}, steps: hello},
		{name: "9110:7.8/chunked-body-is-not-frames", why: "RFC 9110 §7.8: the new protocol begins behind the request's content; §9.3.1: or reject it",
			open: request{edits: edit("", "Transfer-Encoding: chunked"), body: "5\r\nhello\r\n0\r\n\r\n"}, answer: answer{refused: []int{400, 411, 413, 501}, accept: true}, steps: hello},
		{name: "10/not-http", why: "§10.7: data that it does not understand", open: request{only: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"}, answer: answer{refused: bad}},
		{name: "10/frame-without-request", why: "§10.7: data that it does not understand", open: request{only: "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n"}, answer: answer{refused: bad}},
		{name: "10/many-nul-bytes", why: "§10.7: data that it does not understand", open: request{only: repeat("\x00", 4096).String() + "\r\n\r\n"}, answer: answer{refused: bad}},
	}
	for _, f := range []struct {
		name     string
		fill     fill
		statuses []int
	}{{"one-line", fillLine, tooLarge}, {"many-lines", fillLines, tooLarge}, {"uri", fillURI, []int{431, 414}}, {"without-an-end", fillEndless, tooLarge}} {
		list = append(list, testCase{name: "6585:5/256-kib-in-" + f.name, why: "RFC 6585 §5, RFC 9110 §15.5.15: too large",
			open: request{fill: f.fill}, answer: answer{refused: f.statuses, lenient: []int{400, 413}}})
	}
	list = append(list,
		testCase{name: "6585:5/head-as-large-as-allowed", head: true, why: "the limit is inclusive", open: request{fill: fillExact}, steps: hello},
		testCase{name: "6585:5/head-one-byte-larger", head: true, why: "RFC 6585 §5: 431", open: request{fill: fillBeyond}, answer: answer{refused: tooLarge}},
		testCase{name: "6585:5/head-as-large-as-allowed-and-frames", head: true, why: "frames are not part of the head", open: request{fill: fillExact},
			early: send(frame{head: fin | opText, data: repeat("early ", 60000)}), steps: []step{{want: []event{{op: opText, data: repeat("early ", 60000)}}}}})
	return append(list, earlyCases()...)
}

const whyEarly = "§4.1: TCP knows no packets, frames may come with the request"

// earlyCases: a client that knows its server need not wait for the answer; what
// comes with the request must not be lost.
func earlyCases() []testCase {
	large := repeat("early ", 200000)
	return []testCase{
		{name: "4.1/message-with-the-request", why: whyEarly, early: send(text("early")), steps: []step{{want: []event{gotText("early")}}}},
		{name: "4.1/ping-with-the-request", why: whyEarly, early: send(ping("early")), steps: []step{{want: []event{gotPong("early")}}}},
		{name: "4.1/200000-bytes-with-the-request", why: whyEarly, early: send(frame{head: fin | opText, data: large}), steps: []step{{want: []event{{op: opText, data: large}}}}},
		{name: "4.1/two-messages-with-the-request", why: whyEarly, early: send(text("one"), bin("two")), steps: []step{{want: []event{gotText("one"), gotBinary("two")}}}},
		{name: "4.1/half-a-frame-with-the-request", why: whyEarly, early: send(part{text("early"), 0, 4}),
			steps: []step{{send: send(part{text("early"), 4, 0}), want: []event{gotText("early")}}}},
		{name: "4.1/close-with-the-request", why: whyEarly, early: send(closing(1001, "")), ends: []ending{closed(1001)}},
		{name: "4.1/violation-with-the-request", why: whyEarly, early: send(frame{head: fin | opText, data: str("x"), unmasked: true}), ends: []ending{closed(1002)}},
	}
}
