package ws

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unhex reads hexadecimal digits, in which white space and comments from # to
// the end of the line are ignored.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		for _, f := range strings.Fields(line) {
			digits.WriteString(f)
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("bad test data %q: %v", s, err)
	}
	return b
}

// golden reads a vector of testdata.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	s, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	return unhex(t, string(s))
}

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d} // of the example in RFC 6455 §5.7

// RFC 6455 §5.2: every form of the header, read and written.
func TestHeader(t *testing.T) {
	f := func(src string, want Header) {
		t.Helper()
		b := unhex(t, src)
		h, ok, err := ParseHeader(append(b, 0xee), true) // something follows
		if err != nil || !ok {
			t.Fatalf("ParseHeader(%s): ok %v, %v", src, ok, err)
		}
		want.Size = len(b)
		if h != want {
			t.Fatalf("ParseHeader(%s):\n got %+v\nwant %+v", src, h, want)
		}
		if out := want.Append([]byte("x")); !bytes.Equal(out[1:], b) {
			t.Fatalf("Append(%+v): got %x, want %x", want, out[1:], b)
		}
		for n := range b {
			if _, ok, err := ParseHeader(b[:n], true); ok || err != nil {
				t.Fatalf("ParseHeader of %d of %d bytes: ok %v, %v", n, len(b), ok, err)
			}
		}
	}
	f("0100", Header{Op: OpText})
	f("0000", Header{Op: OpContinuation})
	f("8000", Header{Fin: true, Op: OpContinuation})
	f("8200", Header{Fin: true, Op: OpBinary})
	f("8800", Header{Fin: true, Op: OpClose})
	f("897d", Header{Fin: true, Op: OpPing, Length: 125})
	f("8a01", Header{Fin: true, Op: OpPong, Length: 1})
	f("827d", Header{Fin: true, Op: OpBinary, Length: 125})
	f("827e 007e", Header{Fin: true, Op: OpBinary, Length: 126})
	f("827e ffff", Header{Fin: true, Op: OpBinary, Length: 65535})
	f("827f 0000000000010000", Header{Fin: true, Op: OpBinary, Length: 65536})
	f("827f 7fffffffffffffff", Header{Fin: true, Op: OpBinary, Length: 1<<63 - 1})
	f("8185 37fa213d", Header{Fin: true, Op: OpText, Masked: true, Mask: testMask, Length: 5})
	f("82fe 0100 37fa213d", Header{Fin: true, Op: OpBinary, Masked: true, Mask: testMask, Length: 256})
	f("c100", Header{Fin: true, Compressed: true, Op: OpText})
	f("427e 007e", Header{Compressed: true, Op: OpBinary, Length: 126})
	f("82ff 0000000100000000 37fa213d", Header{Fin: true, Op: OpBinary, Masked: true, Mask: testMask, Length: 1 << 32})
}

// What ParseHeader refuses, each as soon as the byte that is wrong is there.
func TestHeaderRefused(t *testing.T) {
	g := func(src string, want error, deflate bool) {
		t.Helper()
		b := unhex(t, src)
		for n := range b {
			if _, ok, err := ParseHeader(b[:n], deflate); ok || err != nil {
				t.Fatalf("ParseHeader of %d bytes of %s: ok %v, %v", n, src, ok, err)
			}
		}
		for _, tail := range []string{"", "00", "ffffffffffffffffffffffffffff"} {
			_, ok, err := ParseHeader(append(b[:len(b):len(b)], unhex(t, tail)...), deflate)
			if ok || !errors.Is(err, want) {
				t.Fatalf("ParseHeader(%s %s): ok %v, %v; want %v", src, tail, ok, err, want)
			}
			if Code(err) != StatusProtocol {
				t.Fatalf("ParseHeader(%s): close code %d, want 1002", src, Code(err))
			}
		}
	}
	f := func(src string, want error) { t.Helper(); g(src, want, false); g(src, want, true) }

	// RFC 7692 §6: RSV1 is for the first frame of a message, once agreed on.
	for _, src := range []string{"c1", "c2", "41", "42"} {
		g(src, errReservedBits, false)
	}
	for _, src := range []string{"c0", "40", "c8", "c9", "ca", "48", "c3", "e1", "d2", "f2"} {
		f(src, errReservedBits)
	}
	// §5.2: RSV1, RSV2, RSV3.
	f("a2", errReservedBits)
	f("92", errReservedBits)
	f("f2", errReservedBits)
	// §5.2: opcodes 3-7 and b-f are reserved.
	for _, op := range []string{"83", "84", "85", "86", "87", "8b", "8c", "8d", "8e", "8f", "03", "0f"} {
		f(op, errReservedOp)
	}
	// §5.5: control frames are not fragmented and have 125 bytes at most.
	f("08", errControlFin)
	f("09", errControlFin)
	f("0a", errControlFin)
	f("887e", errControlSize)
	f("89fe", errControlSize)
	f("8a7f", errControlSize)
	// §5.2: the minimal number of bytes, and no highest bit.
	f("827e 0000", errLengthForm)
	f("827e 007d", errLengthForm)
	f("82fe 007d", errLengthForm)
	f("827f 0000000000000000", errLengthForm)
	f("827f 000000000000ffff", errLengthForm)
	f("827f 8000000000000000", errLengthSign)
	f("82ff ffffffffffffffff", errLengthSign)
}

// RFC 6455 §5.7, the examples of frames.
func TestFrameExamples(t *testing.T) {
	f := func(src string, fin bool, op OpCode, payload string) {
		t.Helper()
		b := unhex(t, src)
		h, ok, err := ParseHeader(b, false)
		if err != nil || !ok || h.Fin != fin || h.Op != op {
			t.Fatalf("%s: got %+v, ok %v, %v", src, h, ok, err)
		}
		body := b[h.Size:]
		if h.Masked {
			Unmask(body, h.Mask, 0)
		}
		if string(body) != payload || h.Length != int64(len(payload)) {
			t.Fatalf("%s: length %d, payload %q, want %q", src, h.Length, body, payload)
		}
	}
	f("81 05 48656c6c6f", true, OpText, "Hello")
	f("81 85 37fa213d 7f9f4d5158", true, OpText, "Hello")
	f("01 03 48656c", false, OpText, "Hel")
	f("80 02 6c6f", true, OpContinuation, "lo")
	f("89 05 48656c6c6f", true, OpPing, "Hello")
	f("8a 85 37fa213d 7f9f4d5158", true, OpPong, "Hello")
	f("82 7e 0100"+strings.Repeat("61", 256), true, OpBinary, strings.Repeat("a", 256))
	f("82 7f 0000000000010000"+strings.Repeat("61", 65536), true, OpBinary, strings.Repeat("a", 65536))

	g := func(got []byte, want string) {
		t.Helper()
		if !bytes.Equal(got, unhex(t, want)) {
			t.Fatalf("got %x, want %s", got, want)
		}
	}
	g(AppendFrame(nil, OpText, []byte("Hello")), "81 05 48656c6c6f")
	g(AppendFrame(nil, OpPing, []byte("Hello")), "89 05 48656c6c6f")
	g(AppendClientFrame(nil, OpText, testMask, []byte("Hello")), "81 85 37fa213d 7f9f4d5158")
	g(AppendClientFrame([]byte("x"), OpPong, testMask, []byte("Hello")), "78 8a 85 37fa213d 7f9f4d5158")
	g(AppendHeader(nil, OpBinary, 256), "82 7e 0100")
	g(AppendHeader(nil, OpBinary, 65536), "82 7f 0000000000010000")
}

// A client's payload may be sent to several servers: it is not masked in place.
func TestAppendClientFrameCopies(t *testing.T) {
	payload := []byte("Hello, this is longer than a block of the cipher")
	want := string(payload)
	AppendClientFrame(nil, OpText, testMask, payload)
	if string(payload) != want {
		t.Fatalf("payload became %q", payload)
	}
}

// RFC 6455 §5.3: byte i of the payload meets byte i mod 4 of the mask, whatever
// the length, the place in memory, and the pieces it is unmasked in. The cipher
// is assembly: the bytes around the payload are watched too.
func TestUnmask(t *testing.T) {
	const around = 32
	f := func(n, start, cut int) {
		t.Helper()
		buf := make([]byte, start+n+around)
		want := make([]byte, len(buf))
		for i := range buf {
			buf[i] = byte(i * 7)
			want[i] = buf[i]
			if at := i - start; at >= 0 && at < n {
				want[i] ^= testMask[at%4]
			}
		}
		payload := buf[start : start+n]
		Unmask(payload[:cut], testMask, 0)
		Unmask(payload[cut:], testMask, cut)
		if !bytes.Equal(buf, want) {
			t.Fatalf("%d bytes at %d, unmasked in pieces of %d and %d, are wrong", n, start, cut, n-cut)
		}
	}
	for n := range 300 {
		for start := range around {
			f(n, start, 0)
			f(n, start, min(1, n))
			f(n, start, n/3)
		}
	}
	for n := 4080; n < 4130; n++ {
		for cut := range 40 {
			f(n, n%around, cut)
		}
	}
}

func TestFrameAllocs(t *testing.T) {
	frame := AppendClientFrame(nil, OpBinary, testMask, make([]byte, 200))
	payload := make([]byte, 200)
	buf := make([]byte, 0, 512)
	f := func(name string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Fatalf("%s: %v allocs, want 0", name, n)
		}
	}
	f("ParseHeader", func() {
		if h, ok, err := ParseHeader(frame, false); !ok || err != nil || h.Length != 200 {
			t.Fatal(h, ok, err)
		}
	})
	f("ParseHeader, refused", func() {
		if _, _, err := ParseHeader(frame[1:], false); err == nil {
			t.Fatal("no error")
		}
	})
	f("AppendHeader", func() { buf = AppendHeader(buf[:0], OpBinary, 200) })
	f("AppendFrame", func() { buf = AppendFrame(buf[:0], OpBinary, payload) })
	f("AppendClientFrame", func() { buf = AppendClientFrame(buf[:0], OpBinary, testMask, payload) })
	f("AppendClose", func() { buf = AppendClose(buf[:0], StatusTryLater, "reading too slowly") })
	f("CheckClose", func() {
		if c, err := CheckClose(buf[2:]); c != StatusTryLater || err != nil {
			t.Fatal(c, err)
		}
	})
}
