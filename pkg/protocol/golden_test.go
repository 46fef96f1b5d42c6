package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
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

const token = `{"mid":123,"key":"k1","room_id":"live://1000","platform":"web","accepts":[1000,1001]}`

// vectors are the packets that docs/protocol.md shows; push-ws, which has
// packets in a packet, is apart.
var vectors = []struct {
	name    string
	packets []Packet
}{
	{"auth", []Packet{{1, OpAuth, 1, []byte(token)}}},
	{"auth-reply", []Packet{{1, OpAuthReply, 1, nil}}},
	{"heartbeat", []Packet{{1, OpHeartbeat, 2, nil}}},
	{"heartbeat-reply", []Packet{{1, OpHeartbeatReply, 2, []byte{0, 0, 0, 3}}}},
	{"change-room", []Packet{{1, OpChangeRoom, 3, []byte("live://1001")}}},
	{"change-room-reply", []Packet{{1, OpChangeRoomReply, 3, []byte("live://1001")}}},
	{"leave-room", []Packet{{1, OpChangeRoom, 4, nil}}},
	{"leave-room-reply", []Packet{{1, OpChangeRoomReply, 4, nil}}},
	{"sub", []Packet{{1, OpSub, 5, []byte("1002,1003")}}},
	{"sub-reply", []Packet{{1, OpSubReply, 5, []byte("1002,1003")}}},
	{"unsub", []Packet{{1, OpUnsub, 6, []byte("1002")}}},
	{"unsub-reply", []Packet{{1, OpUnsubReply, 6, []byte("1002")}}},
	{"business", []Packet{{1, 1000, 7, []byte("hi")}}},
	{"business-reply", []Packet{{1, 1000, 7, nil}}},
	{"signed", []Packet{{-1, -2, -3, nil}}},
	{"push-tcp", pushed},
}

var pushed = []Packet{{PushVer, 1000, 0, []byte("hello")}, {PushVer, 1001, 0, []byte("world")}}

func equal(a, b Packet) bool {
	return a.Ver == b.Ver && a.Op == b.Op && a.Seq == b.Seq && bytes.Equal(a.Body, b.Body)
}

// parseAll reads packets one after another, as on TCP and in op 9.
func parseAll(t testing.TB, src []byte) []Packet {
	t.Helper()
	var packets []Packet
	for len(src) > 0 {
		p, n, err := Parse(src, MaxBody)
		if err != nil || n == 0 {
			t.Fatalf("%x: %d bytes, %v", src, n, err)
		}
		packets, src = append(packets, p), src[n:]
	}
	return packets
}

func TestGolden(t *testing.T) {
	for _, v := range vectors {
		src := golden(t, v.name)
		if got := parseAll(t, src); !slices.EqualFunc(got, v.packets, equal) {
			t.Fatalf("%s: parsed %+v, want %+v", v.name, got, v.packets)
		}
		var out []byte
		for _, p := range v.packets {
			out = AppendPacket(out, p)
		}
		if !bytes.Equal(out, src) {
			t.Fatalf("%s: appended %x, want %x", v.name, out, src)
		}
		if len(v.packets) > 1 {
			continue
		}
		if p, err := ParseMessage(src, MaxBody); err != nil || !equal(p, v.packets[0]) {
			t.Fatalf("%s: as a message %+v, %v", v.name, p, err)
		}
	}
}

// A pushed WebSocket message is an outer packet and, in its body, the bytes that
// TCP has without it (docs/protocol.md §8).
func TestGoldenPush(t *testing.T) {
	src, inner := golden(t, "push-ws"), golden(t, "push-tcp")
	outer, err := ParseMessage(src, MaxBody)
	if err != nil || !equal(outer, Packet{PushVer, OpRaw, 0, inner}) {
		t.Fatalf("got %+v, %v", outer, err)
	}
	if got := parseAll(t, outer.Body); !slices.EqualFunc(got, pushed, equal) {
		t.Fatalf("got %+v, want %+v", got, pushed)
	}
	out := AppendHeader(nil, PushVer, OpRaw, 0, len(inner))
	for _, p := range pushed {
		out = AppendPacket(out, p)
	}
	if !bytes.Equal(out, src) {
		t.Fatalf("appended %x, want %x", out, src)
	}
}

func TestGoldenBad(t *testing.T) {
	f := func(name string, want error) {
		t.Helper()
		src := golden(t, "bad-"+name)
		if p, n, err := Parse(src, MaxBody); !errors.Is(err, want) || n != 0 || !equal(p, Packet{}) {
			t.Fatalf("%s: %+v, %d bytes, %v; want %v", name, p, n, err, want)
		}
		if p, err := ParseMessage(src, MaxBody); !errors.Is(err, want) || !equal(p, Packet{}) {
			t.Fatalf("%s: as a message %+v, %v; want %v", name, p, err, want)
		}
	}
	f("length-zero", ErrLength)
	f("length-15", ErrLength)
	f("length-negative", ErrLength)
	f("length-minimum", ErrLength)
	f("length-4113", ErrTooLarge)
	f("length-huge", ErrTooLarge)
	f("header-zero", ErrHeader)
	f("header-17", ErrHeader)
	f("header-negative", ErrHeader)

	// On TCP the rest may still come.
	src := golden(t, "bad-message-short")
	if _, n, err := Parse(src, MaxBody); n != 0 || err != nil {
		t.Fatalf("message-short: %d bytes, %v", n, err)
	}
	if p, err := ParseMessage(src, MaxBody); !errors.Is(err, ErrShort) || !equal(p, Packet{}) {
		t.Fatalf("message-short: %+v, %v; want %v", p, err, ErrShort)
	}
}

// docs/protocol.md shows every vector as it is, and every vector is tested.
func TestGoldenFilesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("golden_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) < len(vectors) {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(doc, append([]byte("```\n"), text...)) && !bytes.Contains(doc, append([]byte("\n\n"), text...)) {
			t.Errorf("docs/protocol.md does not show %s", file)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		if !bytes.Contains(self, []byte(`"`+name+`"`)) && !bytes.Contains(self, []byte(`f("`+strings.TrimPrefix(name, "bad-")+`", `)) {
			t.Errorf("%s is not tested", file)
		}
	}
}
