package ws

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// event is a message or control frame that an Assembler gave out.
type event struct {
	op      OpCode
	payload string
}

// feed shows src to a in steps of so many bytes, as a connection's buffer would
// fill: what is consumed is gone, the rest is shown again with more behind it.
func feed(a *Assembler, src []byte, r *Rules, step int) (events []event, left int, err error) {
	var buf []byte
	for len(src) > 0 {
		k := min(step, len(src))
		buf, src = append(buf, src[:k]...), src[k:]
		for len(buf) > 0 {
			n, op, payload, done, err := a.Next(buf, r)
			if err != nil {
				if n != 0 || done || payload != nil {
					return events, len(buf), fmt.Errorf("error %w with n %d, done %v, payload %x", err, n, done, payload)
				}
				return events, len(buf), err
			}
			if n == 0 {
				if done || payload != nil {
					return events, len(buf), fmt.Errorf("no bytes used, yet done %v, payload %x", done, payload)
				}
				break
			}
			if done {
				events = append(events, event{op, string(payload)})
			}
			buf = append([]byte(nil), buf[n:]...)
		}
	}
	return events, len(buf), nil
}

func frame(fin bool, op OpCode, payload string) []byte {
	b := Header{Fin: fin, Op: op, Masked: true, Mask: testMask, Length: int64(len(payload))}.Append(nil)
	b = append(b, payload...)
	Unmask(b[len(b)-len(payload):], testMask, 0)
	return b
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

const testLimit = 4112

// goimRules are a goim listener's.
var goimRules = &Rules{Limit: testLimit}

// checkFeed wants the same events from src in one piece and in every other.
func checkFeed(t *testing.T, src []byte, wantErr error, want ...event) {
	t.Helper()
	checkRules(t, goimRules, src, wantErr, want...)
}

func checkRules(t *testing.T, r *Rules, src []byte, wantErr error, want ...event) {
	t.Helper()
	for _, step := range []int{len(src), 1, 2, 3, 7, 100} {
		var a Assembler
		got, left, err := feed(&a, bytes.Clone(src), r, step)
		if !errors.Is(err, wantErr) {
			t.Fatalf("in steps of %d: %v, want %v", step, err, wantErr)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("in steps of %d:\n got %v\nwant %v", step, got, want)
		}
		if err == nil && (left != 0 || a.open != nil) {
			t.Fatalf("in steps of %d: %d bytes left, open %v", step, left, a.open)
		}
	}
}

// RFC 6455 §5.4: messages of one frame and of several.
func TestMessages(t *testing.T) {
	f := func(src []byte, want ...event) { t.Helper(); checkFeed(t, src, nil, want...) }

	f(frame(true, OpBinary, "Hello"), event{OpBinary, "Hello"})
	f(frame(true, OpText, "Hello"), event{OpText, "Hello"})
	f(frame(true, OpBinary, ""), event{OpBinary, ""})
	f(frame(true, OpBinary, strings.Repeat("x", testLimit)), event{OpBinary, strings.Repeat("x", testLimit)})
	f(join(frame(true, OpBinary, "a"), frame(true, OpText, "b"), frame(true, OpBinary, "c")),
		event{OpBinary, "a"}, event{OpText, "b"}, event{OpBinary, "c"})
	f(join(frame(false, OpText, "Hel"), frame(true, OpContinuation, "lo")), event{OpText, "Hello"})
	f(join(frame(false, OpBinary, ""), frame(false, OpContinuation, ""), frame(true, OpContinuation, "")), event{OpBinary, ""})
	f(join(frame(false, OpBinary, "a"), frame(false, OpContinuation, "b"), frame(true, OpContinuation, "c"),
		frame(true, OpText, "d"), frame(false, OpText, "e"), frame(true, OpContinuation, "f")),
		event{OpBinary, "abc"}, event{OpText, "d"}, event{OpText, "ef"})
	f(join(frame(false, OpBinary, strings.Repeat("x", testLimit)), frame(true, OpContinuation, "")),
		event{OpBinary, strings.Repeat("x", testLimit)})
}

// RFC 6455 §5.4, §5.5: control frames stand between the frames of a message and
// leave it alone, though they are unmasked in the same buffer.
func TestControlFrames(t *testing.T) {
	f := func(src []byte, want ...event) { t.Helper(); checkFeed(t, src, nil, want...) }

	f(frame(true, OpPing, "Hello"), event{OpPing, "Hello"})
	f(frame(true, OpPong, strings.Repeat("x", 125)), event{OpPong, strings.Repeat("x", 125)})
	f(frame(true, OpClose, "\x03\xe8bye"), event{OpClose, "\x03\xe8bye"})
	f(join(frame(false, OpText, "Hel"), frame(true, OpPing, "1"), frame(true, OpPong, ""), frame(true, OpContinuation, "lo")),
		event{OpPing, "1"}, event{OpPong, ""}, event{OpText, "Hello"})
	f(join(frame(false, OpBinary, strings.Repeat("x", testLimit)), frame(true, OpPing, strings.Repeat("p", 125)),
		frame(true, OpContinuation, "")),
		event{OpPing, strings.Repeat("p", 125)}, event{OpBinary, strings.Repeat("x", testLimit)})
}

// What Next refuses, and that everything before it was given out.
func TestMessagesRefused(t *testing.T) {
	f := func(src []byte, wantErr *ProtocolError, code StatusCode, want ...event) {
		t.Helper()
		checkFeed(t, src, wantErr, want...)
		if wantErr.Code != code {
			t.Fatalf("close code %d, want %d", wantErr.Code, code)
		}
	}
	ok := frame(true, OpBinary, "ok")
	// §5.1: client frames are masked; goim takes them anyway.
	f(join(ok, AppendFrame(nil, OpBinary, []byte("x"))), errUnmasked, 1002, event{OpBinary, "ok"})
	f(join(ok, AppendFrame(nil, OpPing, nil)), errUnmasked, 1002, event{OpBinary, "ok"})
	// §5.2, from ParseHeader.
	f(join(ok, []byte{0xc2, 0x80}), errReservedBits, 1002, event{OpBinary, "ok"})
	// §5.4: order of frames.
	f(join(ok, frame(true, OpContinuation, "x")), errNoMessage, 1002, event{OpBinary, "ok"})
	f(join(ok, frame(false, OpContinuation, "x")), errNoMessage, 1002, event{OpBinary, "ok"})
	f(join(frame(false, OpText, "a"), ok), errInMessage, 1002)
	f(join(frame(false, OpText, "a"), frame(false, OpBinary, "b")), errInMessage, 1002)
	f(join(frame(false, OpText, "a"), frame(true, OpContinuation, "b"), frame(true, OpContinuation, "c")),
		errNoMessage, 1002, event{OpText, "ab"})
	// Size, by the header alone: the payload never comes.
	f([]byte{0x82, 0xfe, 0x10, 0x11, 1, 2, 3, 4}, errTooBig, 1009)
	f([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, errTooBig, 1009)
	f(join(frame(false, OpBinary, strings.Repeat("x", testLimit)), []byte{0x80, 0x81, 1, 2, 3, 4}), errTooBig, 1009)
	f(join(frame(false, OpBinary, "x"), []byte{0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), errTooBig, 1009)
}

// Without a bound empty fragments could follow each other for ever.
func TestMessageOfManyFrames(t *testing.T) {
	src := frame(false, OpBinary, "a")
	for range MaxFrames - 2 {
		src = append(src, frame(false, OpContinuation, "")...)
	}
	checkFeed(t, join(src, frame(true, OpContinuation, "z")), nil, event{OpBinary, "az"})
	// Control frames do not count.
	checkFeed(t, join(src, frame(true, OpPing, ""), frame(true, OpContinuation, "z")), nil, event{OpPing, ""}, event{OpBinary, "az"})
	src = append(src, frame(false, OpContinuation, "")...)
	checkFeed(t, join(src, frame(true, OpContinuation, "z")), errTooMany)
	// Conformance suites send more, to a listener that says so.
	checkRules(t, &Rules{Limit: testLimit, MaxFrames: MaxFrames + 1}, join(src, frame(true, OpContinuation, "z")), nil, event{OpBinary, "az"})
	checkRules(t, &Rules{Limit: testLimit, MaxFrames: 2}, join(frame(false, OpText, "a"), frame(false, OpContinuation, ""), frame(true, OpContinuation, "")), errTooMany)
	if errTooMany.Code != 1008 {
		t.Fatalf("close code %d, want 1008", errTooMany.Code)
	}
}

// The client's end of a connection: RFC 6455 §5.1, server frames are not masked.
func TestNextFromServer(t *testing.T) {
	var a Assembler
	src := join(AppendFrame(nil, OpBinary, []byte("push")), AppendFrame(nil, OpPing, []byte("?")), AppendClose(nil, StatusRestart, "bye"))
	want := []event{{OpBinary, "push"}, {OpPing, "?"}, {OpClose, "\x03\xf4bye"}}
	for _, w := range want {
		n, op, payload, done, err := a.NextFromServer(src, goimRules)
		if err != nil || !done || op != w.op || string(payload) != w.payload {
			t.Fatalf("got %d bytes, op %x, %q, done %v, %v; want %v", n, op, payload, done, err, w)
		}
		src = src[n:]
	}
	if _, _, _, _, err := a.NextFromServer(frame(true, OpBinary, "x"), goimRules); !errors.Is(err, errMasked) {
		t.Fatalf("masked server frame: %v, want %v", err, errMasked)
	}
}

// Headers and control frames that are not complete are shown again and again, in
// the caller's own buffer: they must be left as they are.
func TestPartialFrameIsLeftAlone(t *testing.T) {
	f := func(src []byte, until int) {
		t.Helper()
		buf := bytes.Clone(src)
		var a Assembler
		for i := range until {
			for range 3 {
				if n, _, _, done, err := a.Next(buf[:i], goimRules); n != 0 || done || err != nil || a.open != nil {
					t.Fatalf("%d of %d bytes: n %d, done %v, %v", i, len(buf), n, done, err)
				}
			}
		}
		if !bytes.Equal(buf, src) {
			t.Fatal("an incomplete frame was changed")
		}
	}
	ping := frame(true, OpPing, strings.Repeat("?", MaxControl))
	f(ping, len(ping))
	f(frame(true, OpBinary, strings.Repeat("Hello ", 200)), 8)
	if len(ping)-1 >= MaxHeader+MaxControl {
		t.Fatal("the caller keeps more than Next says")
	}
}

// What is there of a large frame is taken, so that the caller need not keep it;
// what is announced and does not come costs nothing.
func TestPartialFrameIsTaken(t *testing.T) {
	r := &Rules{Limit: 16 << 20}
	msg := strings.Repeat("0123456789abcdef", 1<<16)
	src := frame(true, OpBinary, msg)
	head := len(src) - len(msg)
	var a Assembler
	if n, _, _, done, err := a.Next(src[:head], r); n != head || done || err != nil || cap(a.open.buf) != 0 {
		t.Fatalf("header: n %d, done %v, %v, %d bytes are held", n, done, err, cap(a.open.buf))
	}
	for at := head; at < len(src); {
		end := min(at+1777, len(src))
		n, op, payload, done, err := a.Next(src[at:end], r)
		if n != end-at || done != (end == len(src)) || err != nil {
			t.Fatalf("%d bytes at %d: n %d, done %v, %v", end-at, at, n, done, err)
		}
		if at = end; !done {
			if held, has := cap(a.open.buf), at-head; held > 2*has+64 {
				t.Fatalf("%d bytes are held for %d", held, has)
			}
			continue
		}
		if op != OpBinary || string(payload) != msg || a.open != nil {
			t.Fatalf("op %x, %d bytes, open %v", op, len(payload), a.open)
		}
	}
}

// The payload ends where the frame does: appending to it cannot reach the next
// frame in the buffer.
func TestPayloadIsBounded(t *testing.T) {
	buf := join(frame(true, OpBinary, "first"), frame(true, OpBinary, "second"))
	want := bytes.Clone(buf)
	var a Assembler
	n, _, payload, _, err := a.Next(buf, goimRules)
	if err != nil || string(payload) != "first" {
		t.Fatalf("got %q, %v", payload, err)
	}
	_ = append(payload, "overwritten"...)
	if !bytes.Equal(buf[n:], want[n:]) {
		t.Fatal("append to a payload changed the next frame")
	}
}

// A message that was fragmented is the caller's: what comes after does not
// change it, and the assembler does not hold it.
func TestFragmentedPayloadIsReleased(t *testing.T) {
	var a Assembler
	var got []byte
	src := join(frame(false, OpBinary, "one"), frame(true, OpContinuation, "two"), frame(false, OpBinary, "XXXXXX"))
	for len(src) > 0 {
		n, _, payload, done, err := a.Next(src, goimRules)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		if done {
			if a.open != nil {
				t.Fatal("the assembler holds a message that it has given out")
			}
			got = payload
		}
		src = src[n:]
	}
	if string(got) != "onetwo" {
		t.Fatalf("got %q, want onetwo", got)
	}
}

func TestAssemblerAllocs(t *testing.T) {
	var a Assembler
	src := frame(true, OpBinary, strings.Repeat("x", 200))
	ping := frame(true, OpPing, "x")
	if n := testing.AllocsPerRun(1000, func() {
		// Every second run sees its mask undone; the payload does not matter.
		if n, _, _, done, err := a.Next(src, goimRules); n != len(src) || !done || err != nil {
			t.Fatal(n, done, err)
		}
		if n, _, _, done, err := a.Next(ping, goimRules); n != len(ping) || !done || err != nil {
			t.Fatal(n, done, err)
		}
		if n, _, _, _, err := a.Next(src[:5], goimRules); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if n, _, _, _, err := a.Next(ping[:6], goimRules); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Fatalf("Next: %v allocs, want 0", n)
	}
}
