package ws

import (
	"strings"
	"testing"
)

// Which origins an allow-list lets in.
func TestOrigins(t *testing.T) {
	f := func(entries, origin string, want bool) {
		t.Helper()
		list := strings.Fields(entries)
		if err := CheckOrigins(list); err != nil {
			t.Fatal(err)
		}
		for _, o := range []string{origin, strings.ToUpper(origin)} {
			if got := newOrigins(list).allow([]byte(o)); got != want {
				t.Fatalf("%q allows %q: %v, want %v", entries, o, got, want)
			}
		}
		if want && origin != "" && origin != "null" {
			if err := CheckOrigins([]string{origin}); err != nil && entries != "" && entries != "*" {
				t.Fatal(err)
			}
		}
	}
	f("", "https://evil.net", true)
	f("", "null", true)
	f("*", "https://evil.net", true)
	f("https://a.net *", "null", true)

	f("https://app.example.com", "https://app.example.com", true)
	f("HTTPS://App.Example.com", "https://app.example.com", true)
	for _, o := range []string{"http://app.example.com", "https://app.example.com:8443", "https://app.example.com.", "https://example.com",
		"https://x.app.example.com", "https://app.example.comx", "https://app.example.com.evil.net", "null", "", "app.example.com",
		"https://app.example.com/", "https://app.example.com\x00"} {
		f("https://app.example.com", o, false)
	}
	f("http://localhost:8080 https://app.example.com", "http://localhost:8080", true)
	f("http://localhost:8080 https://app.example.com", "http://localhost", false)
	f("http://[::1]:8080", "http://[::1]:8080", true)
	f("http://[0:0::1]", "http://[::1]", true)
	f("http://10.0.0.1", "http://10.0.0.1", true)
	f("capacitor://localhost", "capacitor://localhost", true)
	f("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop", true)

	f("https://*.example.com", "https://app.example.com", true)
	f("https://*.example.com", "https://a.b-c.d_e.example.com", true)
	for _, o := range []string{"https://example.com", "http://app.example.com", "https://app.example.com:8443", "https://appexample.com",
		"https://.example.com", "https://..example.com", "https://.a.example.com", "https://evil.net/.example.com", "https://evil.net:1.example.com", "https://u@evil.net?.example.com",
		"https://app.example.com.evil.net", "https://", "https://\x00.example.com", "null", "", "https://a b.example.com"} {
		f("https://*.example.com", o, false)
	}
	f("https://*.example.com:8443", "https://app.example.com:8443", true)
	f("https://*.example.com:8443", "https://app.example.com", false)
	f("https://*.example.com:8443", "https://app.example.com:443:8443", false)
}

func TestCheckOrigins(t *testing.T) {
	f := func(bad string) {
		t.Helper()
		err := CheckOrigins([]string{"https://good.example.com", bad, "https://"})
		if err == nil {
			t.Fatalf("%q is taken", bad)
		}
		if !strings.Contains(err.Error(), `"`+bad+`": `) || !strings.Contains(err.Error(), "allowed are") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%q: %v", bad, err)
		}
		// What got past the check anyway allows nothing, rather than everything.
		for _, o := range []string{bad, "https://x", "null", ""} {
			if newOrigins([]string{bad}).allow([]byte(o)) {
				t.Fatalf("%q allows %q", bad, o)
			}
		}
	}
	for _, bad := range []string{"", "app.example.com", "example.com:443", "//example.com", "https:/example.com", "https://", "https://*", "https://*.",
		"https://*example.com", "https://a.*.com", "https://*.*.com", "*.example.com", "**", "null", "https://a.com/", "https://a.com/x", "https://a..com",
		"https://.a.com", "https://a.com.", "https://a b.com", "https://ü.example.com", "https://u@a.com", "https://a.com:", "https://a.com:0",
		"https://a.com:08443", "https://a.com:65536", "https://a.com:x", "https://a.com:-1", "https://a.com:443", "http://a.com:80", "ht tp://a.com",
		"1http://a.com", "://a.com", "https://[::1", "https://::1", "https://[::1]x", "https://[fe80::1%25eth0]", "https://[1.2.3.4]", "https://*.[::1]",
		"https://[[::1]]", "https://a.com, https://b.com", " https://a.com", "https://a.com?x", "https://a.com#x"} {
		f(bad)
	}
	if err := CheckOrigins(nil); err != nil {
		t.Fatal(err)
	}
}

// The handshake asks the list, and only of browsers.
func TestUpgradeOrigin(t *testing.T) {
	u := NewUpgrader(Options{Origins: []string{"https://app.example.com", "https://*.example.org"}})
	f := func(allowed bool, origin ...string) {
		t.Helper()
		req := request(t, origin...)
		out, got, err := u.Upgrade(nil, []byte(req))
		if !allowed {
			checkRefused(t, req, out, err, 403, "Origin")
			return
		}
		want := ""
		if len(origin) > 0 {
			want = strings.TrimPrefix(origin[1], "Origin: ")
		}
		if err != nil || got.Origin != want {
			t.Fatalf("%q: %+v, %v", req, got, err)
		}
	}
	f(true)
	f(true, "", "Origin: https://app.example.com")
	f(true, "", "Origin: https://x.y.example.org")
	f(false, "", "Origin: https://evil.net")
	f(false, "", "Origin: null")
	f(false, "", "Origin:")
	f(true)
}
