package ws

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// RFC 6455 §7.4: which codes may be in a close frame.
func TestCloseCode(t *testing.T) {
	f := func(code uint16, want error) {
		t.Helper()
		got, err := CheckClose([]byte{byte(code >> 8), byte(code)})
		if !errors.Is(err, want) {
			t.Fatalf("code %d: %v, want %v", code, err, want)
		}
		if err == nil && got != StatusCode(code) {
			t.Fatalf("code %d: got %d", code, got)
		}
		// We send exactly what we accept, and otherwise a frame without a code.
		out := AppendClose(nil, StatusCode(code), "")
		sent := bytes.Equal(out, []byte{0x88, 2, byte(code >> 8), byte(code)})
		empty := bytes.Equal(out, []byte{0x88, 0})
		if sent != (want == nil) || empty != (want != nil) {
			t.Fatalf("AppendClose(%d): %x", code, out)
		}
	}
	for _, c := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4503, 4999} {
		f(c, nil)
	}
	// IANA's registry of close codes has these since; gobwas/ws refuses them.
	for _, c := range []uint16{1012, 1013, 1014} {
		f(c, nil)
	}
	for _, c := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		f(c, errCloseCode)
	}
}

// RFC 6455 §5.5.1: the body of a close frame.
func TestCheckClose(t *testing.T) {
	f := func(payload string, code StatusCode, want error, wantClose StatusCode) {
		t.Helper()
		got, err := CheckClose([]byte(payload))
		if got != code || !errors.Is(err, want) {
			t.Fatalf("%q: got %d, %v; want %d, %v", payload, got, err, code, want)
		}
		if Code(err) != wantClose {
			t.Fatalf("%q: to be answered with %d, want %d", payload, Code(err), wantClose)
		}
	}
	f("", StatusNoStatus, nil, 1000)
	f("\x03", 0, errCloseSize, 1002)
	f("\x03\xe8", StatusNormal, nil, 1000)
	f("\x03\xe8bye", StatusNormal, nil, 1000)
	f("\x03\xe8tschüß", StatusNormal, nil, 1000)
	f("\x03\xe8"+strings.Repeat("x", MaxReason), StatusNormal, nil, 1000)
	f("\x03\xe8\xff", 0, errCloseNoUTF8, 1007)
	f("\x03\xe8\xc3", 0, errCloseNoUTF8, 1007)         // cut within a rune
	f("\x03\xe8\xed\xa0\x80", 0, errCloseNoUTF8, 1007) // a surrogate
	f("\x03\xe7bye", 0, errCloseCode, 1002)
}

func TestAppendClose(t *testing.T) {
	f := func(code StatusCode, reason, want string) {
		t.Helper()
		out := AppendClose([]byte("x"), code, reason)
		h, ok, err := ParseHeader(out[1:], false)
		if err != nil || !ok || !h.Fin || h.Masked || h.Op != OpClose || len(out) != 1+h.Size+int(h.Length) {
			t.Fatalf("AppendClose(%d, %q) = %x: %+v, %v", code, reason, out, h, err)
		}
		payload := out[1+h.Size:]
		if got, err := CheckClose(payload); err != nil || got != code {
			t.Fatalf("AppendClose(%d, %q) = %x: reads as %d, %v", code, reason, out, got, err)
		}
		if got := string(payload[2:]); got != want {
			t.Fatalf("AppendClose(%d, %q): reason %q, want %q", code, reason, got, want)
		}
	}
	f(StatusRestart, "", "")
	f(StatusRestart, "restarting", "restarting")
	f(StatusPolicy, strings.Repeat("x", 123), strings.Repeat("x", 123))
	f(StatusPolicy, strings.Repeat("x", 124), strings.Repeat("x", 123))
	// 123 is not a multiple of 2; the half rune goes.
	f(StatusPolicy, strings.Repeat("ü", 100), strings.Repeat("ü", 61))
	f(StatusPolicy, strings.Repeat("€", 41)+"x", strings.Repeat("€", 41))
	f(StatusPolicy, "x"+strings.Repeat("€", 41), "x"+strings.Repeat("€", 40))
	f(StatusPolicy, "xx"+strings.Repeat("😀", 40), "xx"+strings.Repeat("😀", 30))
	f(StatusPolicy, "a\xffb", "a\ufffdb")

	for n := range 200 {
		out := AppendClose(nil, StatusPolicy, strings.Repeat("x", n%4)+strings.Repeat("😀", n))
		if len(out) > 2+MaxControl || !utf8.Valid(out[4:]) {
			t.Fatalf("%d emojis: %d bytes, %x", n, len(out), out)
		}
	}
}

func TestCode(t *testing.T) {
	f := func(err error, want StatusCode) {
		t.Helper()
		if got := Code(err); got != want {
			t.Fatalf("Code(%v) = %d, want %d", err, got, want)
		}
	}
	f(nil, 1000)
	f(errUnmasked, 1002)
	f(fmt.Errorf("client: %w", errTooBig), 1009)
	f(errTooMany, 1008)
	f(errTextNoUTF8, 1007)
	f(errors.New("disk on fire"), 1011)
	for _, e := range []*ProtocolError{errReservedBits, errReservedOp, errControlFin, errControlSize, errLengthForm,
		errLengthSign, errUnmasked, errMasked, errNoMessage, errInMessage, errTooBig, errTooMany, errTextNoUTF8,
		errCloseSize, errCloseCode, errCloseNoUTF8} {
		if len(e.Reason) > MaxReason || !e.Code.sendable() {
			t.Fatalf("%v does not fit a close frame", e)
		}
	}
}
