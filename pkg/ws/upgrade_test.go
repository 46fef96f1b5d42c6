package ws

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// goldenHTTP reads a head of testdata, whose lines end in LF there.
func goldenHTTP(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// request makes a correct request with changes: each edit is a line to be
// replaced and what replaces it; a line "" is put before the blank line.
func request(t testing.TB, edits ...string) string {
	t.Helper()
	s := string(goldenHTTP(t, "upgrade-request"))
	for i := 0; i < len(edits); i += 2 {
		from, to := edits[i]+"\r\n", edits[i+1]
		if to != "" {
			to += "\r\n"
		}
		if edits[i] == "" {
			s = strings.TrimSuffix(s, "\r\n") + to + "\r\n"
			continue
		}
		if !strings.Contains(s, from) {
			t.Fatalf("no line %q in the request", edits[i])
		}
		s = strings.Replace(s, from, to, 1)
	}
	return s
}

const (
	lineFirst      = "GET /sub HTTP/1.1"
	lineHost       = "Host: push.example.com"
	lineUpgrade    = "Upgrade: websocket"
	lineConnection = "Connection: Upgrade"
	lineVersion    = "Sec-WebSocket-Version: 13"
	lineKey        = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)

// The bytes of the answer are goim's, byte for byte; key and accept are the
// example of RFC 6455 §1.3.
func TestUpgradeGolden(t *testing.T) {
	head := goldenHTTP(t, "upgrade-request")
	if n, err := Head(head); n != len(head) || err != nil {
		t.Fatalf("Head: %d, %v; want %d", n, err, len(head))
	}
	out, req, err := NewUpgrader(Options{}).Upgrade([]byte("before"), head)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before" + string(goldenHTTP(t, "upgrade-answer")); string(out) != want {
		t.Fatalf("got %q, want %q", out, want)
	}
	if want := (Upgrade{Path: "/sub", Host: "push.example.com"}); req != want {
		t.Fatalf("got %+v, want %+v", req, want)
	}
}

// Requests of real clients. One Upgrader takes them all, one after another:
// nothing of one may show in the next.
func TestUpgradeAccepted(t *testing.T) {
	u := NewUpgrader(Options{})
	f := func(req string, want Upgrade) {
		t.Helper()
		head := []byte(req)
		out, got, err := u.Upgrade(nil, head)
		if err != nil {
			t.Fatalf("%q: %v", req, err)
		}
		if got != want {
			t.Fatalf("%q:\n got %+v\nwant %+v", req, got, want)
		}
		if !bytes.Equal(out, goldenHTTP(t, "upgrade-answer")) {
			t.Fatalf("%q: answered %q", req, out)
		}
		if string(head) != req {
			t.Fatalf("the request was changed to %q", head)
		}
	}
	plain := Upgrade{Path: "/sub", Host: "push.example.com"}
	f(request(t), plain)
	f(request(t, lineFirst, "GET /sub?token=a%20b&x=/y?z HTTP/1.1"),
		Upgrade{Path: "/sub", Query: "token=a%20b&x=/y?z", Host: "push.example.com"})
	f(request(t, lineFirst, "GET /sub? HTTP/1.1"), plain)
	f(request(t, lineHost, "Host: [::1]:3102", "", "Origin: https://app.example.com", "", "Cookie: a=1; b=2"),
		Upgrade{Path: "/sub", Host: "[::1]:3102", Origin: "https://app.example.com", Cookie: "a=1; b=2"})
	f(request(t), plain)
	// Firefox.
	f(request(t, lineConnection, "Connection: keep-alive, Upgrade", "", "Origin: null", "",
		"Sec-WebSocket-Extensions: permessage-deflate", "", "Pragma: no-cache"),
		Upgrade{Path: "/sub", Host: "push.example.com", Origin: "null"})
	// Names and tokens have no case, white space around values does not count.
	f(request(t, lineHost, "hOsT:push.example.com", lineUpgrade, "UPGRADE:\tWebSocket \t", lineConnection, "connection: upgrade"), plain)
	f(request(t, lineHost, "Host:"), Upgrade{Path: "/sub"})
	f(request(t, "", "Content-Length: 0"), plain)
	f(request(t, "", "X-Forwarded-For: 1.2.3.4\r\nX-Text: caf\xc3\xa9"), plain)
	// A header longer than gobwas's buffer of 4096 bytes.
	f(request(t, "", "Cookie: "+strings.Repeat("c", 6000)),
		Upgrade{Path: "/sub", Host: "push.example.com", Cookie: strings.Repeat("c", 6000)})
}

// checkRefused holds a refusal against net/http's idea of an answer.
func checkRefused(t *testing.T, req string, out []byte, err error, status int, names string) *http.Response {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(out))
	res, perr := http.ReadResponse(r, nil)
	if perr != nil {
		t.Fatalf("%q: answer %q: %v", req, out, perr)
	}
	body, perr := io.ReadAll(res.Body)
	if perr != nil || r.Buffered() != 0 {
		t.Fatalf("%q: answer %q: %v, %d bytes left", req, out, perr, r.Buffered())
	}
	var ue *UpgradeError
	if !errors.As(err, &ue) || ue.Status != status || res.StatusCode != status {
		t.Fatalf("%q: error %v, answer %q; want status %d", req, err, out, status)
	}
	if !res.Close || res.ContentLength != int64(len(body)) || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%q: Connection: close, Content-Length or Content-Type missing in %q", req, out)
	}
	if string(body) != ue.Reason+"\n" || !strings.Contains(ue.Reason, names) || strings.Contains(ue.Reason, "\n") {
		t.Fatalf("%q: body %q, reason %q; want one line that names %q", req, body, ue.Reason, names)
	}
	return res
}

// What goim closes without a word gets an HTTP answer here.
func TestUpgradeRefused(t *testing.T) {
	u := NewUpgrader(Options{})
	f := func(status int, names, req string) *http.Response {
		t.Helper()
		head := []byte(req)
		out, got, err := u.Upgrade([]byte("before"), head)
		if got != (Upgrade{}) || !bytes.HasPrefix(out, []byte("before")) || string(head) != req {
			t.Fatalf("%q: request %+v, answer %q", req, got, out)
		}
		return checkRefused(t, req, out[len("before"):], err, status, names)
	}
	first := func(line string) string { return request(t, lineFirst, line) }

	for _, path := range []string{"/", "/sub/", "/subs", "/su", "/SUB", "//sub", "/%73ub", "/sub;x", "/sub%3fx", "*",
		"http://push.example.com/other", "ftp://push.example.com/sub", "sub", "?", "/x?/sub"} {
		f(404, "/sub", first("GET "+path+" HTTP/1.1"))
	}
	for _, method := range []string{"POST", "PUT", "HEAD", "OPTIONS", "get", "GETT", "G"} {
		if res := f(405, "GET", first(method+" /sub HTTP/1.1")); res.Header.Get("Allow") != "GET" {
			t.Fatalf("%s: Allow is %q", method, res.Header.Get("Allow"))
		}
	}
	f(405, "GET", request(t, lineFirst, "POST /x HTTP/1.1", "", "Content-Length: 5"))
	for _, version := range []string{"HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.1"} {
		f(505, "HTTP/1.1", first("GET /sub "+version))
	}
	// RFC 9112 §3: the first line.
	for _, line := range []string{"GET /sub", "GET  /sub HTTP/1.1", "GET /sub  HTTP/1.1", "GET /sub HTTP/1.1 ", " GET /sub HTTP/1.1",
		"GET\t/sub\tHTTP/1.1", "GET /sub HTTP/11", "GET /sub http/1.1", "GET /sub HTTP/1.1x", "GET /su b HTTP/1.1", "GET /sub#x HTTP/1.1",
		"GET /s\xc3\xbcb HTTP/1.1", "GET /sub\x00 HTTP/1.1", "GET /sub HTTP/1.1\r", "G@T /sub HTTP/1.1", "GET", "", "GET /sub\x7f HTTP/1.1"} {
		f(400, "GET /sub HTTP/1.1", first(line))
	}

	// RFC 9112 §5: header lines, and what is smuggled in them.
	for _, line := range []string{"X-A", ": x", "X A: x", "X-A : x", " folded", "\tfolded", "X-A: a\rb", "X-A: a\x00b", "X-A: a\x0bb",
		"X-A: \x7f", "X-(A): x", "X-\xc3\xbc: x", "X-A: a\nX-B: b", "X-A: x\n"} {
		f(400, "header line", request(t, "", line))
	}

	// RFC 6455 §4.2.1, one thing missing or wrong at a time.
	f(400, "Host", request(t, lineHost, ""))
	f(400, "Host", request(t, "", "Host: push.example.com"))
	f(400, "Host", request(t, "", "Host: other.example.com"))
	f(400, "Host", request(t, lineHost, "Host: a b"))
	f(400, "Host", request(t, lineHost, "Host: a/b"))
	f(400, "Connection", request(t, lineConnection, ""))
	f(400, "Connection", request(t, lineConnection, "Connection: keep-alive"))
	f(400, "Connection", request(t, lineConnection, "Connection: upgraded"))
	f(400, "Sec-WebSocket-Key", request(t, lineKey, ""))
	f(400, "Sec-WebSocket-Key", request(t, lineKey, "Sec-WebSocket-Key:"))
	f(400, "Sec-WebSocket-Key", request(t, lineKey, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"))
	f(400, "Sec-WebSocket-Key", request(t, lineKey, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="))
	f(400, "Sec-WebSocket-Key", request(t, lineKey, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="))
	f(400, "Sec-WebSocket-Key", request(t, "", lineKey))
	f(400, "Sec-WebSocket-Version", request(t, lineVersion, ""))
	f(400, "Sec-WebSocket-Version", request(t, "", lineVersion))
	f(400, "Origin", request(t, "", "Origin: https://a", "", "Origin: https://b"))
	f(400, "Cookie", request(t, "", "Cookie: a=1", "", "Cookie: b=1"))
	// A body would be read as frames.
	f(400, "body", request(t, "", "Content-Length: 5"))
	f(400, "body", request(t, "", "Content-Length: 0, 5"))
	f(400, "body", request(t, "", "Content-Length: -1"))
	f(400, "body", request(t, "", "Transfer-Encoding: chunked"))
	f(400, "body", request(t, "", "transfer-encoding: identity"))

	// RFC 6455 §4.4 and RFC 9110 §15.5.22.
	for _, req := range []string{request(t, lineUpgrade, ""), request(t, lineUpgrade, "Upgrade: h2c"),
		request(t, lineVersion, "Sec-WebSocket-Version: 8"), request(t, lineVersion, "Sec-WebSocket-Version: 013"),
		"GET /sub HTTP/1.1\r\nHost: x\r\n\r\n"} {
		res := f(426, "must be", req)
		if res.Header.Get("Sec-WebSocket-Version") != "13" || res.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("%q: headers %v", req, res.Header)
		}
	}

	// Heads that Head would not give out.
	f(400, "GET /sub HTTP/1.1", request(t)+"x")
	f(400, "header line", strings.TrimSuffix(request(t), "\r\n"))
	f(400, "GET /sub HTTP/1.1", "")
}

// An attacker's bytes are not sent back, not even in an error.
func TestRefusalsRepeatNothing(t *testing.T) {
	const secret = "Zq7"
	u := NewUpgrader(Options{})
	for _, req := range []string{request(t, lineFirst, "GET /"+secret+" HTTP/1.1"), request(t, lineFirst, secret+" /sub HTTP/1.1"),
		request(t, lineHost, "Host: /"+secret), request(t, "", secret), request(t, lineKey, "Sec-WebSocket-Key: "+secret)} {
		out, _, err := u.Upgrade(nil, []byte(req))
		if err == nil || bytes.Contains(out, []byte(secret)) {
			t.Fatalf("%q: %v, answered %q", req, err, out)
		}
	}
}

func TestHead(t *testing.T) {
	f := func(src string, n int, want error) {
		t.Helper()
		got, err := Head([]byte(src))
		if got != n || !errors.Is(err, want) {
			t.Fatalf("Head(%.40q, %d bytes): %d, %v; want %d, %v", src, len(src), got, err, n, want)
		}
	}
	req := request(t)
	for i := range len(req) {
		f(req[:i], 0, nil)
	}
	f(req, len(req), nil)
	f(req+"\x82\x80frames follow\r\n\r\n", len(req), nil)

	// The bound: the last byte of the blank line is the 8192nd, or one later.
	fill := func(n int) string { return "GET /" + strings.Repeat("x", n-len("GET /")) }
	f(fill(MaxHead-4)+"\r\n\r\n", MaxHead, nil)
	f(fill(MaxHead-3)+"\r\n\r\n", 0, ErrHeadTooLarge)
	f(fill(MaxHead-1), 0, nil)
	f(fill(MaxHead), 0, ErrHeadTooLarge)
	f(fill(1<<20), 0, ErrHeadTooLarge)

	out := AppendTooLarge([]byte("before"))
	checkRefused(t, "too large", out[len("before"):], ErrHeadTooLarge, 431, "8192")

	// What cannot become a request is refused now and not at the timeout.
	g := func(src string) {
		t.Helper()
		n, err := Head([]byte(src))
		if n < 1 || n > len(src) || n > MaxHead || err != nil {
			t.Fatalf("Head(%.40q): %d, %v", src, n, err)
		}
		out, _, err := NewUpgrader(Options{}).Upgrade(nil, []byte(src[:n]))
		checkRefused(t, src, out, err, 400, "")
	}
	g("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") // TLS
	g("\x00\x00\x00\x10\x00\x10\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00")
	g("\r\nGET /sub HTTP/1.1\r\n\r\n")
	g("\x82")
	g("\x00" + strings.Repeat("x", 2*MaxHead))
	g("GET /sub HTTP/1.1\nHost: x\n\n")
}

// A handshake like the last one's allocates nothing.
func TestUpgradeAllocs(t *testing.T) {
	u := NewUpgrader(Options{Origins: []string{"https://*.example.com"}, AnyPath: true, Deflate: true})
	head := []byte(request(t, "", "Origin: https://app.example.com", lineFirst, "GET /chat HTTP/1.1",
		"", "Sec-WebSocket-Protocol: goim, x", "", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15"))
	bad := []byte(request(t, lineConnection, ""))
	buf := make([]byte, 0, 1024)
	f := func(name string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Fatalf("%s: %v allocs, want 0", name, n)
		}
	}
	f("Upgrade", func() {
		if n, err := Head(head); n != len(head) || err != nil {
			t.Fatal(n, err)
		}
		out, req, err := u.Upgrade(buf, head)
		if err != nil || len(out) == 0 || req.Origin == "" || req.Host == "" || req.Path != "/chat" || req.Protocol != "goim" || !req.Deflate {
			t.Fatal(req, err)
		}
	})
	f("Upgrade, refused", func() {
		if _, _, err := u.Upgrade(buf, bad); err == nil {
			t.Fatal("no error")
		}
	})
}

// A request and the buffer of its answer belong to the caller again.
func TestUpgraderKeepsNothing(t *testing.T) {
	u := NewUpgrader(Options{})
	head := []byte(request(t, "", "Cookie: a=1", "", "Origin: https://a", lineFirst, "GET /sub?q=1 HTTP/1.1"))
	_, req, err := u.Upgrade(nil, head)
	if err != nil {
		t.Fatal(err)
	}
	for i := range head {
		head[i] = '!'
	}
	if want := (Upgrade{Path: "/sub", Query: "q=1", Host: "push.example.com", Origin: "https://a", Cookie: "a=1"}); req != want {
		t.Fatalf("got %+v, want %+v", req, want)
	}
}
