package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// hello is "Hello", compressed, of RFC 7692 §7.2.3.1.
const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"

// compressed is what another implementation makes of msg: zlib's algorithm.
func compressed(t testing.TB, msg string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, msg); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// chat is JSON of so many bytes, like what a chat sends.
func chat(size int) string {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"alice", "bob", "carol", "dave", "eve", "mallory"}
	words := strings.Fields("hello there price update live room goal score message you the and what when order filled")
	var b strings.Builder
	b.WriteString(`{"ver":1,"op":1000,"seq":0,"body":[`)
	for b.Len() < size {
		fmt.Fprintf(&b, `{"id":%d,"from":"%s","room":"live://%d","ts":%d,"text":"`, r.Int64(), names[r.IntN(len(names))],
			r.IntN(5000), 1700000000000+r.Int64N(1e9))
		for range 3 + r.IntN(12) {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		b.WriteString(`"},`)
	}
	return b.String()[:size]
}

// RFC 7692 §7.2.3, the examples of compressed messages, and what else a message
// may be made of.
func TestInflate(t *testing.T) {
	x := NewInflater()
	f := func(src, want string) {
		t.Helper()
		got, err := x.Inflate([]byte(src), 1<<20)
		if err != nil || string(got) != want {
			t.Fatalf("%x: got %.100q, %v; want %.100q", src, got, err, want)
		}
	}
	f(hello, "Hello")
	f("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello")         // §7.2.3.3, not compressed
	f("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello")                     // §7.2.3.4, a final block
	f("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello") // §7.2.3.5, two blocks
	f("\x00", "")                                                      // §7.2.3.6
	f("\x03\x00", "")                                                  // an empty final block
	f("\x03\x00\x00", "")
	// Final blocks in the middle, and at the end without the empty block that §7.2.1
	// has a sender put behind them.
	f("\xf3\x48\xcd\xc9\xc9\x07\x00"+hello, "HelloHello")
	f("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00", "HelloHello")
	f("\x01\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello")
	// Sizes around those of our buffers and of the window.
	for _, size := range []int{1, 4095, 4096, 4097, 8192, 8193, 32 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000, 1 << 20} {
		f(string(compressed(t, chat(size))), chat(size))
		f(string(compressed(t, strings.Repeat("x", size))), strings.Repeat("x", size))
	}
	f(hello, "Hello")
	if x.in.msg != nil {
		t.Fatal("the inflater holds on to a message")
	}
}

func TestInflateRefused(t *testing.T) {
	x := NewInflater()
	f := func(src string, limit int, want *ProtocolError, code StatusCode) {
		t.Helper()
		got, err := x.Inflate([]byte(src), limit)
		if got != nil || !errors.Is(err, want) || want.Code != code {
			t.Fatalf("%.40x: got %.40q, %v (%d); want %v (%d)", src, got, err, Code(err), want, code)
		}
		// The next message does not suffer.
		if got, err := x.Inflate([]byte(hello), 5); err != nil || string(got) != "Hello" {
			t.Fatalf("after %.40x: got %q, %v", src, got, err)
		}
	}
	bad := func(src string) { t.Helper(); f(src, 1000, errDeflate, 1007) }
	bad("")                                       // an empty message is one byte: §7.2.3.6
	bad("\x06")                                   // a block of type 3
	bad("\xff\xff\xff\xff")                       // the same
	bad("\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c")   // lengths that contradict each other
	bad("\x00\x40\x00\xbf\xff\x48\x65\x6c\x6c")   // cut off
	bad("\xf2\x00\x11\x00\x00")                   // §7.2.3.2: refers to the message before
	bad("\xf3\x48\xcd\xc9\xc9\x07\x00" + "\x06")  // behind a final block
	bad("\xf2\x48\xcd\xc9")                       // in the middle of a block
	bad("\xf3\x48\xcd\xc9\xc9")                   // and of a final one
	bad("\x01\x06\x00\xf9\xff\x48\x65\x6c\x6c")   // a final block that eats of the tail
	bad(string(compressed(t, chat(900))[:100]))   // dynamic tables
	bad(string(compressed(t, chat(900))[:20]))    // in the middle of the tables
	bad("not compressed, but the frame says so")  //
	bad("\xf3\x48\xcd\xc9\xc9\x07\x00" + "Hello") //

	big := func(msg string, limit int) {
		t.Helper()
		src := string(compressed(t, msg))
		f(src, limit, errInflatedBig, 1009)
		if got, err := x.Inflate([]byte(src), len(msg)); err != nil || string(got) != msg {
			t.Fatalf("%d bytes at that limit: %d bytes, %v", len(msg), len(got), err)
		}
	}
	big("Hello", 4)
	big("H", 0)
	big(chat(testLimit+1), testLimit)
	big(chat(64<<10), 64<<10-1)
	big(chat(64<<10+1), 64<<10)
	big(chat(300_000), 300_000-1)
	big(strings.Repeat("x", 1<<20), 1<<20-1)
}

// A bomb must not make us take memory for what is in it.
func TestInflateBomb(t *testing.T) {
	bomb := compressed(t, strings.Repeat("\x00", 64<<20)) // 64 KiB
	x := NewInflater()
	f := func(limit int) {
		t.Helper()
		var err error
		bytes := allocated(func() { _, err = x.Inflate(bomb, limit) })
		if !errors.Is(err, errInflatedBig) {
			t.Fatal(err)
		}
		if bytes > 256<<10 {
			t.Fatalf("limit %d: %d bytes were allocated", limit, bytes)
		}
	}
	f(testLimit)
	f(16 << 20)
	// Up to the limit it takes what the message needs.
	var err error
	if n := allocated(func() { _, err = x.Inflate(bomb, 64<<20) }); err != nil || n > 64<<20+64<<10 {
		t.Fatalf("64 MiB took %d bytes, %v", n, err)
	}
	if len(x.out) > keptInflated {
		t.Fatalf("%d bytes are kept", len(x.out))
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// frameParts splits the only frame in b.
func frameParts(t testing.TB, b []byte) (h Header, payload []byte) {
	t.Helper()
	h, ok, err := ParseHeader(b, true)
	if err != nil || !ok || !h.Fin || len(b) != h.Size+int(h.Length) {
		t.Fatalf("%x: %+v, ok %v, %v", b, h, ok, err)
	}
	payload = bytes.Clone(b[h.Size:])
	if h.Masked {
		Unmask(payload, h.Mask, 0)
	}
	return h, payload
}

// What we compress another implementation reads, and it is never larger than
// plain.
func TestDeflate(t *testing.T) {
	d := NewDeflater()
	f := func(msg string, wantSmaller bool) {
		t.Helper()
		h, payload := frameParts(t, d.AppendDeflated(nil, OpText, []byte(msg)))
		if h.Op != OpText || h.Masked || h.Compressed != wantSmaller || len(payload) > len(msg) {
			t.Fatalf("%d bytes: header %+v", len(msg), h)
		}
		if wantSmaller && len(payload) >= len(msg) {
			t.Fatalf("%d bytes became %d", len(msg), len(payload))
		}
		// Both ends, and dst's bytes stay.
		out := d.AppendClientDeflated([]byte("before"), OpBinary, testMask, []byte(msg))
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Fatalf("got %.20q", out)
		}
		hc, masked := frameParts(t, out[len("before"):])
		if hc.Op != OpBinary || !hc.Masked || hc.Compressed != h.Compressed || !bytes.Equal(masked, payload) {
			t.Fatalf("%d bytes from a client: %+v", len(msg), hc)
		}
		if h.Compressed {
			got, err := io.ReadAll(flate.NewReader(strings.NewReader(string(payload) + deflateTail)))
			if err != nil {
				t.Fatal(err)
			}
			payload = got
		}
		if string(payload) != msg {
			t.Fatalf("%d bytes came out as %.40q", len(msg), payload)
		}
	}
	f("", false)
	f("Hello", false)
	f(strings.Repeat("x", minDeflate-1), false)
	f(strings.Repeat("x", minDeflate), true)
	// Where the header of the plain frame is longer than that of the compressed one.
	for _, size := range []int{200, 300, 3000, 1 << 15, 1<<15 + 1, 1<<16 - 1, 1 << 16, 1 << 20} {
		f(strings.Repeat("x", size), true)
		f(chat(size), true)
	}
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	f(string(random), false)
	f(string(random[:200]), false)
	// Where compressing just begins to pay: not when the size is the same.
	for text, i := chat(3000), 0; i < len(text)-minDeflate; i++ {
		msg := text[i : i+minDeflate]
		if h, payload := frameParts(t, d.AppendDeflated(nil, OpText, []byte(msg))); h.Compressed != (len(payload) < len(msg)) {
			t.Fatalf("%q became %d bytes: %+v", msg, len(payload), h)
		}
	}
	if d.to.dst != nil {
		t.Fatal("the deflater holds on to a frame")
	}
}

// deflated is frame with RSV1; payload is compressed already.
func deflated(fin bool, op OpCode, payload string) []byte {
	b := frame(fin, op, payload)
	b[0] |= bitRsv1
	return b
}

// RFC 7692 §6: compressed messages among others, in one frame and in several that
// are cut anywhere.
func TestCompressedMessages(t *testing.T) {
	r := &Rules{Limit: testLimit, Inflate: NewInflater()}
	f := func(src []byte, want ...event) { t.Helper(); checkRules(t, r, src, nil, want...) }

	f(deflated(true, OpText, hello), event{OpText, "Hello"})
	f(deflated(true, OpBinary, hello), event{OpBinary, "Hello"})
	f(frame(true, OpText, "Hello"), event{OpText, "Hello"}) // not compressed
	f(deflated(true, OpText, "\x00"), event{OpText, ""})
	f(join(deflated(true, OpText, hello), frame(true, OpBinary, "\xff"), deflated(true, OpText, hello)),
		event{OpText, "Hello"}, event{OpBinary, "\xff"}, event{OpText, "Hello"})
	for i := range len(hello) + 1 {
		f(join(deflated(false, OpText, hello[:i]), frame(true, OpPing, "?"), frame(true, OpContinuation, hello[i:])),
			event{OpPing, "?"}, event{OpText, "Hello"})
		f(join(deflated(false, OpText, hello[:i]), frame(false, OpContinuation, ""), frame(true, OpContinuation, hello[i:]), frame(true, OpText, "x")),
			event{OpText, "Hello"}, event{OpText, "x"})
	}
	msg := chat(testLimit)
	src := string(compressed(t, msg))
	f(join(deflated(false, OpText, src[:500]), frame(true, OpContinuation, src[500:])), event{OpText, msg})
	// The bytes of a compressed message are no text, and goim's packets stay exempt.
	f(deflated(true, OpText, string(compressed(t, "\x00\xff"))), event{OpText, "\x00\xff"})
	f(deflated(true, OpText, string(compressed(t, "tschüß"))), event{OpText, "tschüß"})
}

func TestCompressedMessagesRefused(t *testing.T) {
	r := &Rules{Limit: testLimit, Inflate: NewInflater()}
	f := func(src []byte, want *ProtocolError) { t.Helper(); checkRules(t, r, src, want) }

	// §6: RSV1 says it once for each message.
	f(join(deflated(false, OpText, hello[:3]), deflated(true, OpContinuation, hello[3:])), errReservedBits)
	f(deflated(true, OpPing, hello), errReservedBits)
	f(deflated(true, OpClose, hello), errReservedBits)
	f(join(frame(false, OpText, "a"), deflated(true, OpText, hello)), errInMessage)
	f(deflated(true, OpText, "Hello"), errDeflate)
	f(join(deflated(false, OpText, "He"), frame(true, OpContinuation, "llo")), errDeflate)
	f(deflated(true, OpText, string(compressed(t, "a\xff"))), errTextNoUTF8)
	f(join(deflated(false, OpText, ""), frame(true, OpContinuation, string(compressed(t, "a\xff")))), errTextNoUTF8)
	f(deflated(true, OpText, string(compressed(t, chat(testLimit+1)))), errInflatedBig)
	// What travels is bounded too.
	f(deflated(true, OpText, strings.Repeat("\x00", testLimit+1)), errTooBig)

	strict := &Rules{Limit: testLimit, Inflate: r.Inflate, StrictText: true}
	checkRules(t, strict, deflated(true, OpText, string(compressed(t, "\x00\xff"))), errTextNoUTF8)
	// Without the extension.
	checkRules(t, goimRules, deflated(true, OpText, hello), errReservedBits)
}

// Both directions in steady state.
func TestDeflateAllocs(t *testing.T) {
	d, x := NewDeflater(), NewInflater()
	for _, size := range []int{30, 300, 3000, 64 << 10} {
		msg := []byte(chat(size))
		dst := make([]byte, 0, size+MaxHeader)
		src := compressed(t, string(msg))
		f := func(name string, fn func()) {
			t.Helper()
			// The least of some single runs: with -race, sync.Pool forgets some of
			// what the compressor gives back.
			least := testing.AllocsPerRun(1, fn)
			for range 50 {
				least = min(least, testing.AllocsPerRun(1, fn))
			}
			if least != 0 {
				t.Fatalf("%s of %d bytes: %v allocs, want 0", name, size, least)
			}
		}
		f("AppendDeflated", func() { dst = d.AppendDeflated(dst[:0], OpText, msg) })
		f("Inflate", func() {
			if got, err := x.Inflate(src, size); err != nil || len(got) != size {
				t.Fatal(len(got), err)
			}
		})
	}
}
