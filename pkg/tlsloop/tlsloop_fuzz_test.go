package tlsloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
	"time"
)

// fuzzPool is for all runs of a fuzz target.
func fuzzPool(f *testing.F) *Pool { return startPool(f, Options{Timeout: time.Hour}) }

// FuzzHello feeds what may be a handshake, in two pieces. Whatever it is, the
// handshake never succeeds, nothing panics, and Close ends it.
func FuzzHello(f *testing.F) {
	for _, config := range clientKinds() {
		ch := hello(f, config)
		f.Add(ch, 100)
		// And behind it what crypto/tls waits for then, or does not.
		f.Add(append(bytes.Clone(ch), "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x05junk!"...), len(ch))
		f.Add(append(bytes.Clone(ch), "\x16\x03\x03\x00\x04\x14\x00\x00\x0c\x15\x03\x03\x00\x02\x01\x00"...), len(ch)+7)
		f.Add(append(bytes.Clone(ch), ch...), len(ch))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 3)
	f.Add([]byte("\x80\x2e\x01\x00\x02"), 5)
	p := fuzzPool(f)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		l := newLink(t, p, clientConfig(tls.VersionTLS13))
		cut = min(max(0, cut), len(in))
		for _, piece := range [][]byte{in[:cut], in[cut:]} {
			if err := l.server.Feed(piece); err != nil {
				break
			}
		}
		for len(l.mails) > 0 {
			(<-l.mails)()
		}
		l.server.Close()
		for deadline := time.Now().Add(patience); p.Pending() > 0; time.Sleep(time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("Close does not end it")
			}
		}
		if l.ended && l.err == nil || p.Stats().Panics > 0 {
			t.Fatal("succeeded, or panicked")
		}
	})
}

// FuzzFeed feeds anything to a connection that is established, behind a record that
// is good, in pieces: the good one is read, nothing else is, and an error stays.
func FuzzFeed(f *testing.F) {
	f.Add([]byte("\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 7, true)
	f.Add([]byte("\x17\x03\x03\x4a\x00"), 1, false)
	f.Add([]byte("\x15\x03\x03\x00\x02\x01\x00"), 1000, false)
	f.Add([]byte("\x16\x03\x03\x00\x04\x00\x00\x00\x00\x14\x03\x03\x00\x01\x01"), 3, true)
	p := fuzzPool(f)
	f.Fuzz(func(t *testing.T, in []byte, piece int, old bool) {
		version := uint16(tls.VersionTLS13)
		if old {
			version = tls.VersionTLS12
		}
		l := connect(t, p, clientConfig(version))
		defer l.server.Close()
		_, _ = l.client.Write([]byte("good"))
		stream := append(<-l.wire.up, in...)
		var plain []byte
		var failed error
		for len(stream) > 0 {
			n := min(max(1, piece), len(stream))
			if err := l.server.Feed(bytes.Clone(stream[:n])); err != nil {
				t.Fatal(err)
			}
			stream = stream[n:]
			b, err := l.readAll()
			plain = append(plain, b...)
			if failed != nil && !errors.Is(err, failed) {
				t.Fatalf("%v, before %v", err, failed)
			}
			if !errors.Is(err, ErrAgain) {
				failed = err
			}
			if len(l.server.part) > headerLen+maxFragment {
				t.Fatalf("%d bytes of a record are kept", len(l.server.part))
			}
		}
		if string(plain) != "good" {
			t.Fatalf("read %q", plain)
		}
	})
}
