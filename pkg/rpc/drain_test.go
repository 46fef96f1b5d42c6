package rpc

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/testkit"
)

// fakeDrainer counts how often it is to drain.
type fakeDrainer struct{ calls atomic.Int32 }

func (d *fakeDrainer) Drain() { d.calls.Add(1) }

func TestDrain(t *testing.T) {
	testkit.LeakCheck(t)
	ctx := context.Background()
	d := &fakeDrainer{}
	addr := serve(t, "s3cret", func(base context.Context, in *Internal) {
		HandleGateway(base, in, &fakeGateway{}, slog.New(slog.DiscardHandler))
		HandleDrain(in, d, slog.New(slog.DiscardHandler))
	})
	node := cluster.Node{ID: "gw", Internal: addr}
	c := NewGatewayClient("s3cret")
	defer c.http.CloseIdleConnections()
	for n := range int32(3) {
		if err := c.Drain(ctx, node); err != nil || d.calls.Load() != n+1 {
			t.Fatalf("call %d: %v, the gateway was told %d times", n+1, err, d.calls.Load())
		}
	}
	stranger := NewGatewayClient("guess")
	defer stranger.http.CloseIdleConnections()
	if err := stranger.Drain(ctx, node); err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "drain gw") {
		t.Errorf("a wrong secret: %v", err)
	}
	// What an operator or anybody else sends by hand.
	f := func(method, body string, header http.Header, want int) {
		t.Helper()
		before := d.calls.Load()
		req, err := http.NewRequest(method, "http://"+addr+"/drain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || (want == 200) != (string(answer) == "{\"draining\":true}\n") {
			t.Errorf("%s %q %v: %d %q, %v; want %d", method, body, header, resp.StatusCode, answer, err, want)
		}
		if told := d.calls.Load() > before; told != (want == 200) {
			t.Errorf("%s %q %v: the gateway was told: %v", method, body, header, told)
		}
		if allow := resp.Header.Get("Allow"); (want == 405) != (allow == "POST") {
			t.Errorf("%s: Allow is %q", method, allow)
		}
	}
	head := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	const secret = "Bearer s3cret"
	f("POST", "", head("Authorization", secret), 200)
	f("POST", "no JSON", head("Authorization", secret), 200)
	f("GET", "", head("Authorization", secret), 405)
	f("DELETE", "", head("Authorization", secret), 405)
	f("POST", "", head(), 401)
	f("GET", "", head(), 401)
	f("POST", "", head("Authorization", "s3cret"), 401)
	f("POST", "", head("Authorization", secret, "Origin", "https://evil.example"), 403)
}

// A page in a browser on the gateway's machine may not call it, though there is no
// secret; a role and a shell may.
func TestWebPagesMayNotCall(t *testing.T) {
	testkit.LeakCheck(t)
	d := &fakeDrainer{}
	g := &fakeGateway{}
	addr := serve(t, "", func(base context.Context, in *Internal) {
		HandleGateway(base, in, g, slog.New(slog.DiscardHandler))
		HandleDrain(in, d, slog.New(slog.DiscardHandler))
	})
	f := func(method, path, origin string, want int) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s from %q: %d, want %d", method, path, origin, resp.StatusCode, want)
		}
	}
	f("POST", PathDrain, "null", 403)
	f("POST", PathDrain, "http://127.0.0.1:8080", 403)
	f("POST", pathCloseReplaced, "https://evil.example", 403)
	f("GET", "/healthz", "https://evil.example", 200)
	if n := d.calls.Load(); n != 0 {
		t.Errorf("drained %d times", n)
	}
	f("POST", PathDrain, "", 200)
	f("POST", pathCloseReplaced, "", 200)
	f("GET", pathCloseReplaced, "", 405)
	f("PUT", pathCloseReplaced, "", 405)
}
