package ws

import (
	"errors"
	"testing"
	"unicode/utf8"
)

// RFC 6455 §5.6, §8.1: text is UTF-8. goim's packets in text messages are not:
// their first byte is 0x00.
func TestText(t *testing.T) {
	f := func(msg string, valid bool) {
		t.Helper()
		var err error
		want := []event{{OpText, msg}}
		if !valid {
			err, want = errTextNoUTF8, nil
		}
		checkFeed(t, frame(true, OpText, msg), err, want...)
		strict := &Rules{Limit: testLimit, StrictText: true}
		if !utf8.ValidString(msg) {
			checkRules(t, strict, frame(true, OpText, msg), errTextNoUTF8)
		} else {
			checkRules(t, strict, frame(true, OpText, msg), nil, event{OpText, msg})
		}
		for i := range len(msg) + 1 { // runes may be cut by frames
			checkFeed(t, join(frame(false, OpText, msg[:i]), frame(true, OpContinuation, msg[i:])), err, want...)
			checkFeed(t, join(frame(false, OpText, ""), frame(false, OpContinuation, msg[:i]), frame(false, OpContinuation, ""),
				frame(false, OpContinuation, msg[i:]), frame(true, OpContinuation, "")), err, want...)
		}
		// Binary messages may be anything.
		checkFeed(t, frame(true, OpBinary, msg), nil, event{OpBinary, msg})
	}
	f("", true)
	f("Hello-µ@ßöäüàá-UTF-8!! 😀", true)
	f("\xff", false)
	f("{\xc3", false)
	f("a\xed\xa0\x80", false) // a surrogate
	f("a\xf4\x90\x80\x80", false)
	f("a\xc0\x80", false) // not the shortest form
	f("\x00\x00\x00\x10\x00\x10\xff\xff", true)
	f("\x00\xff", true)
	f("\xff\x00", false)
	if errTextNoUTF8.Code != 1007 {
		t.Fatalf("close code %d, want 1007", errTextNoUTF8.Code)
	}
}

// RFC 6455 §8.1 and RFC 3629: text is refused by the very byte that makes it
// invalid, wherever frames and reads are cut. first is the place of that byte.
func TestTextFailsFast(t *testing.T) {
	f := func(msg string, first int) {
		t.Helper()
		msg = "κόσμε-" + msg
		first += len("κόσμε-")
		// In one frame that arrives byte by byte, and in a frame for each byte.
		src := frame(true, OpText, msg+"and more")
		head := len(src) - len(msg+"and more")
		checkFails(t, src, head+first)
		src = frame(false, OpText, "")
		size := len(src)
		for i := range len(msg) {
			src = append(src, frame(false, OpContinuation, msg[i:i+1])...)
		}
		checkFails(t, src, size+(first+1)*(size+1)-1)
	}
	f("\xff", 0)
	f("\x80", 0)
	f("\xc0\x80", 0)         // longer than it need be
	f("\xc1\xbf", 0)         //
	f("\xe0\x80\x80", 1)     //
	f("\xe0\x9f\xbf", 1)     //
	f("\xf0\x8f\xbf\xbf", 1) //
	f("\xed\xa0\x80", 1)     // surrogates
	f("\xed\xbf\xbf", 1)     //
	f("\xf4\x90\x80\x80", 1) // above U+10FFFF
	f("\xf5", 0)             //
	f("\xe2\x82x", 2)
	f("\xf0\x9f\x98x", 3)
	f("\xf0\x9f\x98\xff", 3)
	f("\xc3\xc3", 1)
	f("a\xc3(", 2)
}

// checkFails wants an error from the byte at place, and none before.
func checkFails(t *testing.T, src []byte, place int) {
	t.Helper()
	var a Assembler
	var buf []byte
	for i, c := range src {
		buf = append(buf, c)
		n, _, _, done, err := a.Next(buf, goimRules)
		if i == place {
			if !errors.Is(err, errTextNoUTF8) {
				t.Fatalf("%x: byte %d: %v, want %v", src, i, err, errTextNoUTF8)
			}
			return
		}
		if done || err != nil {
			t.Fatalf("%x: byte %d: done %v, %v; want an error at %d", src, i, done, err, place)
		}
		buf = buf[n:]
	}
	t.Fatalf("%x: no error", src)
}

// Every rune, cut everywhere, and everything that is nearly one: the check by
// pieces says what utf8.Valid says of the whole.
func TestTextInPieces(t *testing.T) {
	f := func(msg string) {
		t.Helper()
		for i := range len(msg) + 1 {
			fr := &fragments{op: OpText}
			ok := true
			for _, part := range []string{msg[:i], msg[i:]} {
				fr.buf = append(fr.buf, part...)
				ok = ok && fr.checkText(goimRules)
			}
			if len(fr.buf)-fr.valid >= utf8.UTFMax {
				t.Fatalf("%x: %d bytes are left", msg, len(fr.buf)-fr.valid)
			}
			if ok = ok && utf8.Valid(fr.buf[fr.valid:]); ok != utf8.ValidString(msg) {
				t.Fatalf("%x, cut at %d: %v, want %v", msg, i, ok, !ok)
			}
		}
	}
	for r := rune(1); r <= utf8.MaxRune; r += 1 + r/50 {
		f(string(r))
		f("ä" + string(r) + "ä")
	}
	for c := range 256 {
		for d := range 256 {
			f(string([]byte{'a', byte(c), byte(d)}))
			f(string([]byte{'a', 0xe0 | byte(c)&0x1f, byte(d), 0x80}))
			f(string([]byte{'a', 0xf0 | byte(c)&0x0f, byte(d), 0x80, 0x80}))
		}
	}
}
