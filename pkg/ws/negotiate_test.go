package ws

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

// offer makes a request with a header line for each value.
func offer(t testing.TB, name string, values ...string) string {
	t.Helper()
	var edits []string
	for _, v := range values {
		edits = append(edits, "", name+": "+v)
	}
	return request(t, edits...)
}

// upgraded has u accept a request, and the headers of the answer.
func upgraded(t *testing.T, u *Upgrader, req string) (Upgrade, http.Header) {
	t.Helper()
	out, got, err := u.Upgrade([]byte("before"), []byte(req))
	if err != nil || !bytes.HasPrefix(out, []byte("before")) {
		t.Fatalf("%q: %v, answer %q", req, err, out)
	}
	r := bufio.NewReader(bytes.NewReader(out[len("before"):]))
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || r.Buffered() != 0 {
		t.Fatalf("%q: answer %q: %v", req, out, err)
	}
	return got, res.Header
}

// RFC 6455 §4.1, §11.3.4: the first subprotocol that is offered is chosen.
func TestSubprotocol(t *testing.T) {
	u := NewUpgrader(Options{})
	const name = "Sec-WebSocket-Protocol"
	f := func(want string, values ...string) {
		t.Helper()
		req := offer(t, name, values...)
		got, h := upgraded(t, u, req)
		if got.Protocol != want || h.Get(name) != want || len(h.Values(name)) != min(len(want), 1) {
			t.Fatalf("%q: %q, answered %q; want %q", req, got.Protocol, h.Values(name), want)
		}
	}
	f("goim", "goim")
	f("goim", "goim, x")
	f("goim", "goim", "x")
	f("b.a", "b.a,a.b")
	f("Goim", " Goim\t,\tx ")
	f("goim", ", ,goim,,x,")
	f("!#$%&'*+-.^_`|~1a", "!#$%&'*+-.^_`|~1a")
	f(strings.Repeat("x", 3000), strings.Repeat("x", 3000)+",y")
	f("")

	bad := func(values ...string) {
		t.Helper()
		req := offer(t, name, values...)
		out, _, err := u.Upgrade(nil, []byte(req))
		checkRefused(t, req, out, err, 400, name)
	}
	for _, v := range []string{"", ",", " , ", "a b", "a/b", "a, b c", "a,(b)", `"a"`, "a;b", "a, \xc3\xbc", "a=b", "{a}", "a@b"} {
		bad(v)
		bad("good", v)
		bad(v, "good")
	}
	f("") // nothing of them is left
}

// RFC 6455 §9.1 and RFC 7692 §7.1: which offer is taken, and the answer.
func TestDeflateNegotiation(t *testing.T) {
	const name, base = "Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	on, off := NewUpgrader(Options{Deflate: true}), NewUpgrader(Options{})
	g := func(answer string, values ...string) {
		t.Helper()
		req := offer(t, name, values...)
		got, h := upgraded(t, on, req)
		if got.Deflate != (answer != "") || h.Get(name) != answer || len(h.Values(name)) != min(len(answer), 1) {
			t.Fatalf("%q: %v, answered %q; want %q", values, got.Deflate, h.Values(name), answer)
		}
		if got, h := upgraded(t, off, req); got.Deflate || h.Get(name) != "" {
			t.Fatalf("%q: without Deflate %v, answered %q", values, got.Deflate, h.Values(name))
		}
	}
	f := func(values ...string) { t.Helper(); g(base, values...) }
	f15 := func(values ...string) { t.Helper(); g(base+"; server_max_window_bits=15", values...) }
	none := func(values ...string) { t.Helper(); g("", values...) }

	none()
	f("permessage-deflate")
	f("permessage-deflate; client_max_window_bits") // Chromium
	f("permessage-deflate;client_max_window_bits=8")
	f("permessage-deflate ; client_max_window_bits = \"10\"")
	f(`permessage-deflate; client_max_window_bits="\1\2"`)
	f("permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=15")
	f15("permessage-deflate; server_max_window_bits=15")
	f15(`permessage-deflate; server_max_window_bits="15"; client_max_window_bits`)
	// Others first, several offers, several lines, empty elements.
	f("x-webkit-deflate-frame, permessage-deflate")
	f("foo; bar=1; baz=\"a\"; bar, permessage-deflate")
	f("foo", "permessage-deflate")
	f("permessage-deflate", "foo")
	f(", ,permessage-deflate,")
	f("permessage-deflate; server_max_window_bits=10, permessage-deflate")
	f("permessage-deflate; server_max_window_bits=10", "permessage-deflate; client_max_window_bits")
	f("permessage-deflate, permessage-deflate; server_max_window_bits=15")
	f15("permessage-deflate; server_max_window_bits=15, permessage-deflate")
	f15("permessage-deflate; server_max_window_bits=16, permessage-deflate; server_max_window_bits=15")

	// RFC 7692 §7.1: declined, not refused.
	for _, params := range []string{
		"foo", "foo=bar", "foo=\"bar\"", "client_no_context_takeover=1", "server_no_context_takeover=\"true\"",
		"server_max_window_bits", "server_max_window_bits=8", "server_max_window_bits=14", "server_max_window_bits=16",
		"server_max_window_bits=7", "server_max_window_bits=015", "server_max_window_bits=150", "server_max_window_bits=15000000",
		"server_max_window_bits=x", "server_max_window_bits=1", "server_max_window_bits=-8", "server_max_window_bits=1x",
		"client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=08", "client_max_window_bits=0",
		"client_max_window_bits; client_max_window_bits", "server_no_context_takeover; server_no_context_takeover",
		"client_max_window_bits=10; client_max_window_bits", "server_max_window_bits=15; server_max_window_bits=15",
		"Client_max_window_bits", "client_max_window_bits=10; foo",
	} {
		none("permessage-deflate; " + params)
		f("permessage-deflate; "+params, "permessage-deflate")
	}
	none("Permessage-deflate")
	none("permessage-deflat")
	none("permessage-deflate-x")
	none("foo")

	// RFC 6455 §9.1: refused.
	for _, v := range []string{"", ",", ";", "permessage-deflate;", "permessage-deflate; ", "permessage-deflate;;foo", "permessage-deflate; =1",
		"permessage-deflate; foo=", "permessage-deflate; foo=\"", "permessage-deflate; foo=\"a", "permessage-deflate; foo=\"\"",
		"permessage-deflate; foo=\"a b\"", "permessage-deflate; foo=\"a\\\"", "permessage-deflate; foo=\"a\\\"\"", "permessage-deflate; foo=\"a\"b",
		"permessage-deflate foo", "permessage-deflate; foo bar", "permessage-deflate, foo bar", "permessage-deflate; foo=a=b", "=", "\"permessage-deflate\"",
		"permessage-deflate; \"foo\"", "permessage/deflate", "permessage-deflate; foo=(a)", "permessage-deflate; f\xc3\xbc"} {
		for _, u := range []*Upgrader{on, off} {
			for _, values := range [][]string{{v}, {"permessage-deflate", v}, {v, "permessage-deflate"}} {
				req := offer(t, name, values...)
				out, got, err := u.Upgrade(nil, []byte(req))
				if got != (Upgrade{}) {
					t.Fatalf("%q: %+v", req, got)
				}
				checkRefused(t, req, out, err, 400, name)
			}
		}
	}
	none() // nothing of them is left
}

func TestAnyPath(t *testing.T) {
	u := NewUpgrader(Options{AnyPath: true})
	f := func(target, path, query string) {
		t.Helper()
		got, _ := upgraded(t, u, request(t, lineFirst, "GET "+target+" HTTP/1.1"))
		if got.Path != path || got.Query != query {
			t.Fatalf("%s: path %q, query %q", target, got.Path, got.Query)
		}
	}
	f("/sub", "/sub", "")
	f("/", "/", "")
	f("/sub?a=b", "/sub", "a=b")
	f("/%2F%aF?%", "/%2F%aF", "%")
	f("/runCase?case=1&agent=x", "/runCase", "case=1&agent=x")
	f("/%73ub//x;y?", "/%73ub//x;y", "")
	for _, target := range []string{"*", "sub", "?x", "http://", "ftp://a/sub", "/%", "/%4", "/%4?4", "/%4g", "/%x4", "/a%20%"} {
		req := request(t, lineFirst, "GET "+target+" HTTP/1.1")
		out, _, err := u.Upgrade(nil, []byte(req))
		checkRefused(t, req, out, err, 400, "begins with /")
	}
}

func TestAppendBusy(t *testing.T) {
	f := func(retry time.Duration, want, body string) {
		t.Helper()
		out := AppendBusy([]byte("before"), retry, []byte(body))
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatalf("got %q", out)
		}
		r := bufio.NewReader(bytes.NewReader(out[len("before"):]))
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := got.ReadFrom(res.Body); err != nil || got.String() != body || r.Buffered() != 0 {
			t.Fatalf("%v: body %q, %v", retry, got.String(), err)
		}
		if res.StatusCode != 503 || res.Header.Get("Retry-After") != want || res.Header.Get("Content-Type") != "application/json" ||
			!res.Close || res.ContentLength != int64(len(body)) {
			t.Fatalf("%v: answered %q", retry, out)
		}
	}
	f(5*time.Second, "5", `{"nodes":[]}`)
	f(1500*time.Millisecond, "2", "{}\n")
	f(time.Millisecond, "1", "")
	f(0, "1", "{}")
	f(-time.Hour, "1", "{}")
	f(time.Hour, "3600", "{}")
}

// What a client offers, this package's server answers; what a client did not
// offer it does not take.
func TestRequestCheck(t *testing.T) {
	f := func(r Request, o Options, want Agreed) {
		t.Helper()
		r.Host, r.Path, r.Key = "localhost:3102", "/sub?a=b", testKey
		out, got, err := NewUpgrader(o).Upgrade(nil, r.Append(nil))
		if err != nil || got.Origin != r.Origin || got.Protocol != want.Protocol || got.Deflate != want.Deflate {
			t.Fatalf("%+v: %+v, %v", r, got, err)
		}
		if agreed, err := r.Check(out); err != nil || agreed != want {
			t.Fatalf("%+v: agreed %+v, %v; want %+v", r, agreed, err, want)
		}
	}
	f(Request{}, Options{Deflate: true}, Agreed{})
	f(Request{Deflate: true, Origin: "https://a"}, Options{Deflate: true}, Agreed{Deflate: true})
	f(Request{Deflate: true}, Options{}, Agreed{})
	f(Request{Protocol: "goim"}, Options{}, Agreed{Protocol: "goim"})
	f(Request{Protocol: "a, b", Deflate: true}, Options{Deflate: true}, Agreed{"a", true})

	answer := strings.TrimSuffix(string(goldenHTTP(t, "upgrade-answer")), "\r\n")
	g := func(r Request, want Agreed, ok bool, lines ...string) {
		t.Helper()
		r.Key = testKey
		agreed, err := r.Check([]byte(answer + strings.Join(append(lines, "\r\n"), "\r\n")))
		if len(lines) == 0 || agreed != want || (err == nil) != ok {
			t.Fatalf("%+v, answered %q: %+v, %v", r, lines, agreed, err)
		}
	}
	const proto = "Sec-WebSocket-Protocol: "
	g(Request{Protocol: "a, b"}, Agreed{Protocol: "b"}, true, proto+"b")
	for _, p := range []string{"c", "A", "a, b", "", "a b"} {
		g(Request{Protocol: "a, b"}, Agreed{}, false, proto+p)
	}
	g(Request{Protocol: "a, b"}, Agreed{}, false, proto+"a", proto+"a")
	g(Request{}, Agreed{}, false, proto+"a")

	const ext = "Sec-WebSocket-Extensions: permessage-deflate"
	d := Request{Deflate: true}
	for _, p := range []string{"", "; client_no_context_takeover", "; server_max_window_bits=15", "; server_max_window_bits=8; client_no_context_takeover"} {
		g(d, Agreed{Deflate: true}, true, ext+"; server_no_context_takeover"+p)
		g(d, Agreed{}, false, ext+p) // §7.1.1.1: must promise what was demanded
		g(Request{}, Agreed{}, false, ext+"; server_no_context_takeover"+p)
	}
	for _, p := range []string{"; client_max_window_bits=10", "; client_max_window_bits", "; foo", "; server_no_context_takeover", "; server_max_window_bits=7",
		";", ", foo", ", permessage-deflate; server_no_context_takeover", "\r\n" + ext + "; server_no_context_takeover",
		", foo, permessage-deflate; server_no_context_takeover"} {
		g(d, Agreed{}, false, ext+"; server_no_context_takeover"+p)
	}
	g(d, Agreed{}, false, "Sec-WebSocket-Extensions: foo")
	g(d, Agreed{}, false, "Sec-WebSocket-Extensions:")
}
