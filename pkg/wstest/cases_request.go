package wstest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	whyMatch   = "§4.2.1: this is a handshake as described there"
	whyNoMatch = "§4.2.1: not as described there: MUST return an appropriate HTTP error code"
	whyHTTP    = "§4.1: the handshake must be a valid HTTP request"
	whySyntax  = "RFC 9112 §5.1, RFC 9110 §5.5: a server MUST reject it with 400"
)

// Beginnings of the request's lines, for edits.
const (
	lineGet        = "GET "
	lineHost       = "Host:"
	lineUpgrade    = "Upgrade:"
	lineConnection = "Connection:"
	lineKey        = "Sec-WebSocket-Key:"
	lineVersion    = "Sec-WebSocket-Version:"
)

func edit(pairs ...string) []string { return pairs }

// requestCases are requests that a server must take: after each the connection
// is used.
func requestCases(*Target) []testCase {
	var list []testCase
	for _, r := range []struct {
		name, why string
		edits     []string
	}{
		{"4.1/plain", whyMatch, nil},
		{"4.2.1/query", "§4.1: the resource name has the path and the query", edit(lineGet, "GET {path}?a=b&c=%20/?d HTTP/1.1")},
		{"4.2.1/empty-query", "§3: the query may be empty", edit(lineGet, "GET {path}? HTTP/1.1")},
		{"4.2.1/absolute-uri", "§4.2.1 item 1: or an absolute HTTP/HTTPS URI containing the resource name; RFC 9112 §3.2.2: MUST accept it",
			edit(lineGet, "GET http://server.example.com{path} HTTP/1.1")},
		{"4.2.1/absolute-https-uri-with-port-and-query", "§4.2.1 item 1: or an absolute HTTP/HTTPS URI", edit(lineGet, "GET https://server.example.com:3103{path}?a HTTP/1.1")},
		{"4.2.1/host-with-port", whyMatch, edit(lineHost, "Host: server.example.com:3102")},
		{"4.2.1/host-ipv4", whyMatch, edit(lineHost, "Host: 127.0.0.1:80")},
		{"4.2.1/host-ipv6", whyMatch, edit(lineHost, "Host: [::1]:3102")},
		{"4.2.1/upgrade-in-other-case", "§4.2.1 item 3: ASCII case-insensitive", edit(lineUpgrade, "Upgrade: WebSocket")},
		{"4.2.1/upgrade-in-upper-case", "§4.2.1 item 3: ASCII case-insensitive", edit(lineUpgrade, "Upgrade: WEBSOCKET")},
		{"4.2.1/upgrade-list", "§4.2.1 item 3: a field containing the value; RFC 9110 §7.8: Upgrade is a list", edit(lineUpgrade, "Upgrade: h2c, websocket")},
		{"4.2.1/upgrade-list-websocket-first", "§4.2.1 item 3: a field containing the value; RFC 9110 §7.8: Upgrade is a list", edit(lineUpgrade, "Upgrade: websocket,foo/2")},
		{"4.2.1/connection-in-lower-case", "§4.2.1 item 4: ASCII case-insensitive", edit(lineConnection, "Connection: upgrade")},
		{"4.2.1/connection-in-upper-case", "§4.2.1 item 4: ASCII case-insensitive", edit(lineConnection, "Connection: UPGRADE")},
		{"4.2.1/connection-list", "§4.2.1 item 4: a field that includes the token", edit(lineConnection, "Connection: keep-alive, Upgrade")},
		{"4.2.1/connection-list-upgrade-first", "§4.2.1 item 4: a field that includes the token", edit(lineConnection, "Connection: Upgrade , keep-alive")},
		{"4.2.1/connection-list-with-empty-items", "RFC 9110 §5.6.1: empty items MUST be ignored", edit(lineConnection, "Connection: ,Upgrade,,")},
		{"4.2.1/connection-in-two-lines", "RFC 9110 §5.3: the lines of a list are one list", edit(lineConnection, "Connection: keep-alive", "", "Connection: Upgrade")},
		{"4.2.1/connection-in-two-lines-upgrade-first", "RFC 9110 §5.3: the lines of a list are one list", edit("", "Connection: keep-alive")},
		{"4.2.1/upgrade-in-two-lines", "RFC 9110 §5.3: the lines of a list are one list", edit(lineUpgrade, "Upgrade: h2c", "", "Upgrade: websocket")},
		{"4.2.1/names-in-lower-case", "RFC 9110 §5.1: names are case-insensitive", edit(lineHost, "host: a", lineUpgrade, "upgrade: websocket", lineConnection, "connection: Upgrade",
			lineKey, "sec-websocket-key: "+testKey, lineVersion, "sec-websocket-version: 13")},
		{"4.2.1/names-in-upper-case", "RFC 9110 §5.1: names are case-insensitive", edit(lineHost, "HOST: a", lineUpgrade, "UPGRADE: websocket", lineConnection, "CONNECTION: Upgrade",
			lineKey, "SEC-WEBSOCKET-KEY: "+testKey, lineVersion, "SEC-WEBSOCKET-VERSION: 13")},
		{"4.2.1/no-space-before-values", "RFC 9112 §5: OWS is optional", edit(lineHost, "Host:a", lineUpgrade, "Upgrade:websocket", lineConnection, "Connection:Upgrade",
			lineKey, lineKey+testKey, lineVersion, lineVersion+"13")},
		{"4.2.1/spaces-and-tabs-around-values", "RFC 9112 §5: OWS does not belong to the value", edit(lineHost, "Host: \t a \t", lineUpgrade, "Upgrade:\twebsocket ", lineConnection, "Connection:  Upgrade\t",
			lineKey, lineKey+" \t"+testKey+"  ", lineVersion, lineVersion+"  13\t")},
		{"4.2.1/headers-in-another-order", "§4.2.1: the order is not significant", edit(lineHost, "", lineUpgrade, "", lineConnection, "", "", "Connection: Upgrade", "", "Upgrade: websocket", "", "Host: a")},
		{"4.2.1/unknown-headers", "§4.2.1: unknown fields are ignored", edit("", "X-Unknown: a, b; c=\"d\"", "", "Accept-Encoding: gzip, deflate, br", "", "X-Empty:", "", "Sec-WebSocket-Foo: bar")},
		{"4.2.1/header-value-not-ascii", "RFC 9110 §5.5: obs-text is opaque data", edit("", "X-Name: Gr\xc3\xbc\xdfe")},
		{"4.2.1/origin", "§4.2.1 item 7: optional", edit("", "Origin: http://server.example.com")},
		{"4.2.1/cookie", "§4.1 item 12: cookies may be there", edit("", "Cookie: a=b; c=d")},
		{"4.2.1/100-headers", "§4.2.1: unknown fields are ignored", manyHeaders(100)},
		{"4.2.1/content-length-0", "RFC 9110 §8.6: no content", edit("", "Content-Length: 0")},
	} {
		list = append(list, testCase{name: r.name, why: r.why, open: request{edits: r.edits},
			steps: []step{{send: send(text("Hello")), want: []event{gotText("Hello")}}}})
	}
	list = append(list, keyCases()...)
	list = append(list, protocolCases()...)
	return append(list, ignoredExtensions()...)
}

func manyHeaders(n int) (pairs []string) {
	for i := range n {
		pairs = append(pairs, "", fmt.Sprintf("X-%d: %d", i, i))
	}
	return pairs
}

// keyCases: Sec-WebSocket-Accept for keys of all kinds of characters, §4.2.2.
func keyCases() []testCase {
	var list []testCase
	for _, k := range []struct{ name, raw string }{
		{"all-zero", strings.Repeat("\x00", 16)},
		{"all-ones", strings.Repeat("\xff", 16)},
		{"with-plus-and-slash", "\xfb\xef\xbe\xff\xff\xff\xfb\xef\xbe\xff\xff\xff\xfb\xef\xbe\xff"},
		{"counting", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"},
		{"letters", "abcdefghijklmnop"},
	} {
		list = append(list, testCase{name: "4.2.2/accept-of-key-" + k.name, why: "§4.2.2 item 5: the SHA-1 of the key and the GUID, in base64",
			open: request{edits: edit(lineKey, lineKey+" "+base64.StdEncoding.EncodeToString([]byte(k.raw)))}})
	}
	return append(list, testCase{name: "4.2.1/key-with-bits-in-its-padding", why: "RFC 4648 §3.5: a decoder MAY reject it",
		open: request{edits: edit(lineKey, lineKey+" dGhlIHNhbXBsZSBub25jZR==")}, answer: answer{refused: []int{400}, accept: true}})
}

// protocolCases: whatever is chosen was offered; the first, if the target says so.
func protocolCases() []testCase {
	const name, why = "Sec-WebSocket-Protocol: ", "§4.2.2 item 5: one of the subprotocols that were offered, or none"
	var list []testCase
	for _, p := range []struct {
		name, first string
		edits       []string
	}{
		{"one", "chat", edit("", name+"chat")},
		{"two", "chat", edit("", name+"chat, superchat")},
		{"two-without-space", "superchat", edit("", name+"superchat,chat")},
		{"in-two-lines", "chat", edit("", name+"chat", "", name+"superchat")},
		{"with-all-token-characters", "!#$%&'*+-.^_`|~09azAZ", edit("", name+"!#$%&'*+-.^_`|~09azAZ")},
		{"in-mixed-case", "v10.STOMP", edit("", name+"v10.STOMP, v10.stomp")},
	} {
		list = append(list, testCase{name: "4.2.2/subprotocol-" + p.name, why: why,
			open: request{edits: p.edits}, answer: answer{protocol: p.first},
			steps: []step{{send: send(text("Hello")), want: []event{gotText("Hello")}}}})
	}
	for _, p := range []struct{ name, value string }{{"empty", ""}, {"not-a-token", "a b"}, {"with-separators", "chat/1"}} {
		list = append(list, testCase{name: "4.1/subprotocol-" + p.name, why: "§4.1 item 10: elements MUST be non-empty tokens; a server may ignore what is not",
			open: request{edits: edit("", name+p.value)}, answer: answer{refused: []int{400}, accept: true}})
	}
	return list
}

// ignoredExtensions: extensions nobody knows are not in the answer.
func ignoredExtensions() []testCase {
	var list []testCase
	for _, e := range []struct{ name, offer string }{
		{"unknown", "foo"},
		{"unknown-with-parameters", "foo; bar; baz=1; qux=\"2\""},
		{"several-unknown", "foo, bar; a, baz"},
		{"webkit-frame", "x-webkit-deflate-frame"},
		{"longer-name", "permessage-deflated"},
		{"bzip2", "permessage-bzip2; client_max_compress_level=3"},
	} {
		list = append(list, testCase{name: "9.1/" + e.name, why: "§9.1: a server that does not know an extension does not accept it",
			open: request{offer: e.offer}, answer: answer{ext: uncompressed},
			steps: []step{{send: send(text("Hello")), want: []event{gotText("Hello")}}}},
			testCase{name: "9.1/" + e.name + "-gives-reserved-bits-no-meaning", why: whyReserved,
				open: request{offer: e.offer}, answer: answer{ext: uncompressed},
				steps: []step{{send: send(frame{head: fin | rsv1 | opText, data: str(helloDeflated)})}}, ends: []ending{closed(1002)}})
	}
	return list
}
