package tlsloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/testkit"
)

// everywhere runs f with both versions of TLS, and again as if Go's tls.Conn had
// another layout.
func everywhere(t *testing.T, f func(t *testing.T, version uint16)) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) { f(t, version) })
		t.Run(name+" other layout", func(t *testing.T) {
			defer func(known bool) { layout.known = known }(layout.known)
			layout.known = false
			f(t, version)
		})
	}
}

// If this fails Go has changed crypto/tls: see layout.go, then whether the fields
// still mean what it says.
func TestLayoutIsKnown(t *testing.T) {
	if !layout.known {
		t.Error("the buffers of tls.Conn were not found")
	}
	if findLayout(reflect.TypeFor[struct{ rawInput, input, hand []byte }]()).known {
		t.Error("a type with other fields passes for tls.Conn")
	}
}

func TestEcho(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		for _, text := range []string{"a", strings.Repeat("bc", 700), strings.Repeat("d", 16<<10), strings.Repeat("e", 100_000)} {
			if _, err := l.client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			plain, err := l.arrived()
			if string(plain) != text || !errors.Is(err, ErrAgain) {
				t.Fatalf("read %d bytes, %v, want %d", len(plain), err, len(text))
			}
			sealed, err := l.server.Append([]byte("before"), []byte(text))
			if err != nil || !bytes.HasPrefix(sealed, []byte("before")) {
				t.Fatalf("%.6q, %v", sealed, err)
			}
			l.takes(sealed[len("before"):], text)
		}
	})
}

// One record for what fits, of 16 KB each otherwise: not the small ones that
// crypto/tls begins with.
func TestAppendMakesFewRecords(t *testing.T) {
	testkit.LeakCheck(t)
	l := connect(t, startPool(t, Options{}), clientConfig(tls.VersionTLS13))
	f := func(plain, records int) {
		t.Helper()
		sealed, err := l.server.Append(nil, make([]byte, plain))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; len(sealed) > 0; n++ {
			sealed = sealed[recordSize(sealed):]
		}
		if n != records {
			t.Errorf("%d bytes in %d records, want %d", plain, n, records)
		}
	}
	f(0, 0)
	f(1, 1)
	f(5000, 1)
	f(16<<10, 1)
	f(16<<10+1, 2)
	f(100<<10, 7)
}

func TestFedByteByByte(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		want := strings.Repeat("x", 16<<10) + "y"
		_, _ = l.client.Write([]byte(want)) // a wireEnd takes everything
		var got []byte
		for len(l.wire.up) > 0 {
			for _, b := range <-l.wire.up {
				if err := l.server.Feed([]byte{b}); err != nil {
					t.Fatal(err)
				}
				plain, err := l.readAll()
				if !errors.Is(err, ErrAgain) {
					t.Fatal(err)
				}
				got = append(got, plain...)
			}
		}
		if string(got) != want {
			t.Fatalf("read %d bytes, want %d", len(got), len(want))
		}
	})
}

// Fed memory is the caller's again when Read has returned an error.
func TestKeepsNothingOfWhatWasFed(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		p := startPool(t, Options{})
		for cut := 0; cut < 80; cut += 7 {
			l := connect(t, p, clientConfig(version))
			var stream []byte
			for _, s := range []string{"one", "two", "three"} {
				_, _ = l.client.Write([]byte(s))
				stream = append(stream, <-l.wire.up...)
			}
			var got []byte
			scratch := make([]byte, len(stream))
			for _, piece := range [][]byte{stream[:cut], stream[cut:]} {
				in := scratch[:copy(scratch, piece)]
				if err := l.server.Feed(in); err != nil {
					t.Fatal(err)
				}
				plain, _ := l.readAll()
				got = append(got, plain...)
				clear(scratch)
			}
			if string(got) != "onetwothree" {
				t.Fatalf("cut at %d: %q", cut, got)
			}
		}
	})
}

// A buffer smaller than a record takes it in several reads.
func TestReadIntoSmallBuffer(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		for _, size := range []int{1, 5, 10, 11} {
			l.buf = make([]byte, size)
			_, _ = l.client.Write([]byte("0123456789"))
			_, _ = l.client.Write([]byte("abc"))
			var stream []byte
			for len(l.wire.up) > 0 {
				stream = append(stream, <-l.wire.up...)
			}
			if err := l.server.Feed(stream); err != nil {
				t.Fatal(err)
			}
			if plain, err := l.readAll(); string(plain) != "0123456789abc" || !errors.Is(err, ErrAgain) {
				t.Errorf("%d at once: %q, %v", size, plain, err)
			}
		}
		if _, err := l.server.Read(nil); !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("no buffer: %v", err)
		}
	})
}

// What was not read lies in memory that the caller has used again: it is lost, and
// that must not pass for data.
func TestFeedBeforeAllIsRead(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{})
	f := func(buf int, records ...string) {
		t.Helper()
		l := connect(t, p, clientConfig(tls.VersionTLS13))
		var stream []byte
		for _, s := range records {
			_, _ = l.client.Write([]byte(s))
			stream = append(stream, <-l.wire.up...)
		}
		if err := l.server.Feed(stream); err != nil {
			t.Fatal(err)
		}
		if _, err := l.server.Read(make([]byte, buf)); err != nil {
			t.Fatal(err)
		}
		if err := l.server.Feed([]byte("more")); !errors.Is(err, errUnread) {
			t.Errorf("%v, want %v", err, errUnread)
		}
	}
	f(100, "first", "second") // the second record is not read
	f(3, "only")              // the rest of the first is not
}

// The client's first data comes in one piece with its Finished.
func TestDataBehindFinished(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := newLink(t, startPool(t, Options{}), clientConfig(version))
		wrote := make(chan error, 1)
		go func() { // ends with the handshake
			_, err := l.client.Write([]byte("at once"))
			wrote <- err
		}()
		_ = l.server.Feed(<-l.wire.up) // ClientHello
		if version == tls.VersionTLS13 {
			(<-l.mails)() // the server's flight
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
			var rest []byte
			for len(l.wire.up) > 0 {
				rest = append(rest, <-l.wire.up...)
			}
			_ = l.server.Feed(rest)
			(<-l.mails)() // done
			if l.err != nil {
				t.Fatal(l.err)
			}
			l.server.Establish()
			if plain, err := l.readAll(); string(plain) != "at once" || !errors.Is(err, ErrAgain) {
				t.Fatalf("%q, %v", plain, err)
			}
			return
		}
		for !l.ended {
			select {
			case b := <-l.wire.up:
				_ = l.server.Feed(b)
			case mail := <-l.mails:
				mail()
			}
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		for len(l.wire.up) > 0 { // it may have come before the end
			_ = l.server.Feed(<-l.wire.up)
		}
		if n, err := l.server.Read(l.buf); n != 0 || !errors.Is(err, ErrAgain) || !l.server.Handshaking() {
			t.Fatalf("%d, %v before Establish", n, err)
		}
		l.server.Establish()
		if plain, _ := l.readAll(); string(plain) != "at once" {
			t.Fatalf("%q", plain)
		}
	})
}

// The client says goodbye: Read says EOF for ever, writing goes on.
func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		_, _ = l.client.Write([]byte("last"))
		if err := l.client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		stream := append(<-l.wire.up, <-l.wire.up...)
		if err := l.server.Feed(stream); err != nil {
			t.Fatal(err)
		}
		if plain, err := l.readAll(); string(plain) != "last" || !errors.Is(err, io.EOF) {
			t.Fatalf("%q, %v", plain, err)
		}
		if err := l.server.Feed([]byte("after the end")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.server.Read(l.buf); !errors.Is(err, io.EOF) {
			t.Fatalf("then %v", err)
		}
		sealed, err := l.server.Append(nil, []byte("still here"))
		if err != nil {
			t.Fatal(err)
		}
		l.takes(sealed, "still here")
		l.wire.give(l.server.AppendCloseNotify(nil))
		if n, err := l.client.Read(l.buf); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("the client reads %d, %v", n, err)
		}
	})
}

func TestCloseNotifyOnceAndLast(t *testing.T) {
	testkit.LeakCheck(t)
	l := connect(t, startPool(t, Options{}), clientConfig(tls.VersionTLS13))
	if b := l.server.AppendCloseNotify([]byte("x")); len(b) < 20 || b[0] != 'x' {
		t.Fatalf("%q", b)
	}
	if b := l.server.AppendCloseNotify(nil); len(b) != 0 {
		t.Errorf("a second goodbye: %q", b)
	}
	if b, err := l.server.Append([]byte("y"), []byte("late")); err == nil || string(b) != "y" {
		t.Errorf("written after the goodbye: %q, %v", b, err)
	}
	_, _ = l.client.Write([]byte("I have more"))
	if plain, err := l.arrived(); string(plain) != "I have more" || !errors.Is(err, ErrAgain) {
		t.Errorf("%q, %v", plain, err)
	}
}

// A record that was changed on its way ends the connection, and the client is told.
func TestForgedRecord(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		_, _ = l.client.Write([]byte("good"))
		_, _ = l.client.Write([]byte("forged"))
		_, _ = l.client.Write([]byte("good again"))
		stream := append(<-l.wire.up, <-l.wire.up...)
		stream[len(stream)-1] ^= 1
		stream = append(stream, <-l.wire.up...)
		if err := l.server.Feed(stream); err != nil {
			t.Fatal(err)
		}
		plain, err := l.readAll()
		if string(plain) != "good" || err == nil || errors.Is(err, ErrAgain) {
			t.Fatalf("%q, %v", plain, err)
		}
		if _, again := l.server.Read(l.buf); !errors.Is(again, err) {
			t.Errorf("then %v, first %v", again, err)
		}
		if !l.server.HasOutput() {
			t.Fatal("no alert")
		}
		sealed, err := l.server.Append(nil, nil)
		if err != nil || l.server.HasOutput() {
			t.Fatal(err)
		}
		l.wire.give(sealed)
		if _, err := l.client.Read(l.buf); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("the client was told %v", err)
		}
		if b := l.server.AppendCloseNotify(nil); len(b) != 0 {
			t.Errorf("%d bytes after a fatal alert", len(b))
		}
		if _, err := l.server.Append(nil, []byte("x")); err == nil {
			t.Error("written after a fatal alert")
		}
	})
}

// The stream ends within a record: none of it was read, and Close frees all.
func TestTruncated(t *testing.T) {
	testkit.LeakCheck(t)
	l := connect(t, startPool(t, Options{}), clientConfig(tls.VersionTLS13))
	_, _ = l.client.Write([]byte("never whole"))
	b := <-l.wire.up
	if err := l.server.Feed(b[:len(b)-1]); err != nil {
		t.Fatal(err)
	}
	if plain, err := l.readAll(); len(plain) != 0 || !errors.Is(err, ErrAgain) {
		t.Fatalf("%q, %v", plain, err)
	}
	l.server.Close()
	l.server.Close()
	if _, err := l.server.Read(l.buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if err := l.server.Feed(b); err != nil {
		t.Errorf("Feed: %v", err)
	}
	if _, err := l.server.Append(nil, b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Append: %v", err)
	}
	if b := l.server.AppendCloseNotify(nil); len(b) != 0 {
		t.Errorf("AppendCloseNotify: %q", b)
	}
	if l.server.Handshaking() || l.server.HasOutput() {
		t.Error("a closed connection wants something")
	}
}

func TestAppendBeforeEstablish(t *testing.T) {
	testkit.LeakCheck(t)
	l := newLink(t, startPool(t, Options{}), clientConfig(tls.VersionTLS13))
	if b, err := l.server.Append([]byte("x"), []byte("plain")); !errors.Is(err, errNotReady) || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	l.server.Establish()
	if b := l.server.AppendCloseNotify([]byte("x")); string(b) != "x" || !l.server.Handshaking() {
		t.Errorf("%q", b)
	}
}
