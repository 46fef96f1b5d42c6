package ws

import (
	"strings"
	"testing"
)

const testKey = "dGhlIHNhbXBsZSBub25jZQ==" // of the example in RFC 6455 §1.3

func TestAppendRequest(t *testing.T) {
	got := AppendRequest([]byte("before"), "push.example.com", Path, testKey)
	if want := "before" + string(goldenHTTP(t, "upgrade-request")); string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	// Both ends of this package understand each other, with any key.
	for _, key := range []string{testKey, "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="} {
		out, req, err := NewUpgrader(Options{}).Upgrade(nil, AppendRequest(nil, "localhost:3102", "/sub?a=b", key))
		if err != nil || req.Query != "a=b" || req.Host != "localhost:3102" {
			t.Fatalf("key %s: %+v, %v", key, req, err)
		}
		if err := CheckResponse(out, key); err != nil {
			t.Fatalf("key %s: %v", key, err)
		}
		if err := CheckResponse(out, "x"+key[1:]); err == nil {
			t.Fatalf("key %s: the answer is taken for one to another key", key)
		}
	}
}

// RFC 6455 §4.1, what a client must check.
func TestCheckResponse(t *testing.T) {
	answer := string(goldenHTTP(t, "upgrade-answer"))
	f := func(from, to, want string) {
		t.Helper()
		if !strings.Contains(answer, from) {
			t.Fatalf("no %q in the answer", from)
		}
		head := strings.Replace(answer, from, to, 1)
		err := CheckResponse([]byte(head), testKey)
		switch {
		case want == "" && err != nil:
			t.Fatalf("%q: %v", head, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Fatalf("%q: %v; want %q", head, err, want)
		}
	}
	const acceptLine = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	f("", "", "")
	f("101 Switching Protocols", "101 x", "")
	f("101 Switching Protocols", "101 ", "")
	f("Upgrade: websocket", "upgrade: WebSocket", "")
	f("Connection: Upgrade", "connection: foo , upgrade", "")
	f(acceptLine, strings.ToLower(acceptLine[:20])+acceptLine[20:]+"Server: x\r\n", "")

	f("101 Switching Protocols", "404 Not Found", `answered "HTTP/1.1 404 Not Found"`)
	f("101 Switching Protocols", "200 OK", "answered")
	f("101 Switching Protocols", "1011 x", "answered")
	f("HTTP/1.1", "HTTP/1.0", "malformed")
	f("HTTP/1.1", "ICY", "malformed")
	f("Upgrade: websocket\r\n", "", "does not upgrade")
	f("Upgrade: websocket", "Upgrade: h2c", "does not upgrade")
	f("Connection: Upgrade\r\n", "", "does not upgrade")
	f("Connection: Upgrade", "Connection: close", "does not upgrade")
	f(acceptLine, "", "wrong Sec-WebSocket-Accept")
	f("s3pPLM", "S3pPLM", "wrong Sec-WebSocket-Accept")
	f(acceptLine, acceptLine+acceptLine, "wrong Sec-WebSocket-Accept")
	f(acceptLine, acceptLine+"Sec-WebSocket-Extensions: permessage-deflate\r\n", "not offered")
	f(acceptLine, acceptLine+"Sec-WebSocket-Protocol: goim\r\n", "not offered")
	f(acceptLine, acceptLine+" folded\r\n", "malformed")
	f(acceptLine, acceptLine+"no colon\r\n", "malformed")
	f(answer, answer[:len(answer)-2], "malformed")
	f(answer, "", "malformed")
}
