package protocol

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
)

// TCP delivers bytes in any pieces: what has not all arrived is not an error,
// and nothing of it is given out.
func TestParseByteAtATime(t *testing.T) {
	src := golden(t, "push-tcp")
	src = append(src, golden(t, "auth")...)
	src = append(src, golden(t, "heartbeat")...)
	want := parseAll(t, src)

	var buf []byte
	var got []Packet
	for _, b := range src {
		buf = append(buf, b)
		p, n, err := Parse(buf, MaxBody)
		if err != nil {
			t.Fatalf("after %x: %v", buf, err)
		}
		if n == 0 {
			if !equal(p, Packet{}) {
				t.Fatalf("after %x: %+v of an incomplete packet", buf, p)
			}
			continue
		}
		if n != len(buf) {
			t.Fatalf("after %x: %d bytes used", buf, n)
		}
		got, buf = append(got, p), nil
	}
	if len(buf) != 0 || !slices.EqualFunc(got, want, equal) {
		t.Fatalf("got %+v, %d bytes left; want %+v", got, len(buf), want)
	}
}

// A lie is refused as soon as its bytes are there: a client cannot make us wait,
// or hold memory, for the rest of it.
func TestParseRefusesEarly(t *testing.T) {
	f := func(src string, want error) {
		t.Helper()
		b := unhex(t, src)
		for n := range b {
			if _, used, err := Parse(b[:n], MaxBody); used != 0 || err != nil {
				t.Fatalf("%x: %d bytes, %v", b[:n], used, err)
			}
		}
		for _, tail := range []string{"", "00", "00000000000000000000000000000000000000"} {
			if _, n, err := Parse(append(b[:len(b):len(b)], unhex(t, tail)...), MaxBody); n != 0 || !errors.Is(err, want) {
				t.Fatalf("%s %s: %d bytes, %v; want %v", src, tail, n, err, want)
			}
		}
	}
	f("00000000", ErrLength)
	f("0000000f", ErrLength)
	f("80000000", ErrLength)
	f("ffffffff", ErrLength)
	f("ffffffef", ErrLength)
	f("00000010 0000", ErrHeader)
	f("00000010 000f", ErrHeader)
	f("00000010 0011", ErrHeader)
	f("00000010 1000", ErrHeader)
	f("00000010 ffff", ErrHeader)
	f("00001011 0010 0000 00000000 00000000", ErrTooLarge)
	f("7fffffff 0010 0000 00000000 00000000", ErrTooLarge)
	// An HTTP request on the TCP port, a TLS hello.
	f("47455420 2f73", ErrHeader)
	f("16030102 0001", ErrHeader)
}

func TestParseLimit(t *testing.T) {
	f := func(bodyLen, limit int, want error) {
		t.Helper()
		src := AppendPacket(nil, Packet{Ver: 1, Op: 4, Seq: 9, Body: bytes.Repeat([]byte("x"), bodyLen)})
		p, n, err := Parse(src, limit)
		if !errors.Is(err, want) || want == nil && (n != len(src) || len(p.Body) != bodyLen) || want != nil && n != 0 {
			t.Fatalf("body of %d, limit %d: %d bytes, %v; want %v", bodyLen, limit, n, err, want)
		}
	}
	f(MaxBody, MaxBody, nil)
	f(MaxBody+1, MaxBody, ErrTooLarge)
	f(0, 0, nil)
	f(1, 0, ErrTooLarge)
	f(1<<20, -1, nil)

	// What has no limit may announce anything; it is waited for, not allocated.
	if _, n, err := Parse(unhex(t, "7fffffff 0010 0001 00000009 00000000 00"), -1); n != 0 || err != nil {
		t.Fatalf("huge packet without a limit: %d bytes, %v", n, err)
	}
}

// As in goim, one packet per WebSocket message, bytes behind it are ignored.
func TestParseMessageIgnoresTheRest(t *testing.T) {
	src := append(golden(t, "sub"), golden(t, "heartbeat")...)
	p, err := ParseMessage(src, MaxBody)
	if err != nil || !equal(p, Packet{1, OpSub, 5, []byte("1002,1003")}) {
		t.Fatalf("got %+v, %v", p, err)
	}
	for n := range len(golden(t, "sub")) {
		if p, err := ParseMessage(src[:n], MaxBody); !errors.Is(err, ErrShort) || !equal(p, Packet{}) {
			t.Fatalf("message of %d bytes: %+v, %v; want %v", n, p, err, ErrShort)
		}
	}
}

// A defect of goim: it took the body of a packet that claims to be longer
// than its message from the buffer behind it, and sent other clients' bytes
// back: 684 bytes with a planted secret among them.
func TestLyingLengthDisclosesNothing(t *testing.T) {
	pool := append(golden(t, "bad-message-short"), bytes.Repeat([]byte("SECRET"), 1000)...)
	message := pool[:20] // its capacity reaches the secret, as a pooled buffer's does
	if p, err := ParseMessage(message, MaxBody); !errors.Is(err, ErrShort) || p.Body != nil {
		t.Fatalf("got body %q, %v; want %v", p.Body, err, ErrShort)
	}
	// An honest packet's body cannot be extended over what follows it, either.
	pool = append(golden(t, "sub"), "SECRET"...)
	p, err := ParseMessage(pool[:len(pool)-len("SECRET")], MaxBody)
	if err != nil || cap(p.Body) != len(p.Body) {
		t.Fatalf("body of %d bytes has room for %d, %v", len(p.Body), cap(p.Body), err)
	}
}

// Another defect of goim: near the end of its buffer the same length made goim
// panic: slice bounds out of range [:4112] with capacity 990.
func TestLyingLengthNearTheEndOfTheBuffer(t *testing.T) {
	buf := make([]byte, 990)
	for _, size := range []int{17, 100, 990, 991, 1000, 4112} {
		header := AppendHeader(nil, 1, OpSub, 1, size-HeaderSize)
		for room := range 40 {
			message := buf[len(buf)-room : len(buf) : len(buf)]
			copy(message, header)
			if room >= size {
				continue // not a lie
			}
			if p, err := ParseMessage(message, MaxBody); !errors.Is(err, ErrShort) || p.Body != nil {
				t.Fatalf("package length %d in %d bytes: body %q, %v; want %v", size, room, p.Body, err, ErrShort)
			}
			if p, n, err := Parse(message, MaxBody); err != nil || n != 0 || p.Body != nil {
				t.Fatalf("package length %d in %d bytes: %d bytes, body %q, %v", size, room, n, p.Body, err)
			}
		}
	}
}

func TestAppendPacketLimits(t *testing.T) {
	f := func(want Packet) {
		t.Helper()
		src := AppendPacket([]byte("before"), want)
		got, n, err := Parse(src[len("before"):], -1)
		if err != nil || n != len(src)-len("before") || !equal(got, want) {
			t.Fatalf("got %+v, %d bytes, %v; want %+v", got, n, err, want)
		}
	}
	f(Packet{})
	f(Packet{math.MaxInt16, math.MaxInt32, math.MaxInt32, []byte("x")})
	f(Packet{math.MinInt16, math.MinInt32, math.MinInt32, []byte("x")})
	f(Packet{1, OpRaw, 0, make([]byte, 1<<20)})
}

func TestAllocs(t *testing.T) {
	src := golden(t, "auth")
	short := src[:20]
	p := Packet{1, 1000, 7, []byte("hello")}
	buf := make([]byte, 0, 64)
	f := func(name string, fn func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, fn); n != 0 {
			t.Fatalf("%s: %v allocs, want 0", name, n)
		}
	}
	f("Parse", func() {
		if _, n, err := Parse(src, MaxBody); n != len(src) || err != nil {
			t.Fatal(n, err)
		}
	})
	f("ParseMessage", func() {
		if p, err := ParseMessage(src, MaxBody); p.Op != OpAuth || err != nil {
			t.Fatal(p, err)
		}
	})
	f("ParseMessage, refused", func() {
		if _, err := ParseMessage(short, MaxBody); err == nil {
			t.Fatal("no error")
		}
	})
	f("AppendPacket", func() { buf = AppendPacket(buf[:0], p) })
	f("AppendHeader", func() { buf = AppendHeader(buf[:0], 1, OpHeartbeatReply, 1, 4) })
}
