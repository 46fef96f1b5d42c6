package push

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// golden reads a vector of testdata: hexadecimal digits, in which white space
// and comments from # to the end of the line are ignored.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

var (
	testID   = ID{Spool: 0x0123456789abcdef, Index: 300}
	testBody = []byte("hello")
)

// goldenMessages are the messages of testdata, one per kind and edge.
var goldenMessages = map[string]Message{
	"keys": {
		ID: ID{testID.Spool, testID.Index, 2}, Op: 1000, Body: testBody,
		To:       Target{Kind: Keys, Keys: []string{"k1", "k2"}, Node: "gw-1", Epoch: 1699999999000000},
		Accepted: 1700000000000000, Expire: 1700000060000000,
	},
	"room": {
		ID: testID, App: "shop", Op: 1000, Body: testBody,
		To:       Target{Kind: Room, Room: "shop\x1flive://1000"},
		Pos:      Position{Epoch: 0x60a24181e4000, Offset: 42},
		Accepted: 1700000000000000, ReceiptTo: "10.0.0.1:3119",
	},
	"all":      {ID: testID, Op: 1000, To: Target{Kind: All, Speed: 100}, Body: testBody},
	"mids":     {ID: testID, Op: 1000, To: Target{Kind: Mids, Mids: []int64{1, 1 << 40, -5}}, Body: testBody},
	"share":    {ID: testID, Op: 1000, To: Target{Kind: All, Speed: 1, Share: Share{Speed: 5, Conns: 1 << 32, All: 1 << 35}}, Body: testBody},
	"negative": {Op: -7, To: Target{Kind: All, Speed: math.MinInt32}},
}

// goim's own messages have none of our fields and no identity.
var goimMessages = map[string]Message{
	"goim-keys": {Op: 1000, To: Target{Kind: Keys, Keys: []string{"k1", "k2"}, Node: "comet-1"}, Body: testBody},
	"goim-room": {Op: 1000, To: Target{Kind: Room, Room: "live://1000"}, Body: testBody},
	"goim-all":  {Op: 1000, To: Target{Kind: All, Speed: 100}, Body: testBody},
}

func TestGolden(t *testing.T) {
	for name, want := range goldenMessages {
		src := golden(t, name)
		if out := AppendMessage([]byte("before"), &want); string(out) != "before"+string(src) {
			t.Errorf("%s: appended\n%x, want\n%x", name, out[len("before"):], src)
		}
		if got, err := ParseMessage(src); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: parsed %+v, %v; want %+v", name, got, err, want)
		}
	}
	for name, want := range goimMessages {
		src := golden(t, name)
		got, err := ParseMessage(src)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: parsed %+v, %v; want %+v", name, got, err, want)
		}
		if !got.ID.Zero() {
			t.Errorf("%s: has identity %v", name, got.ID)
		}
		// goim's fields come first and as goim writes them.
		if out := AppendMessage(nil, &got); !bytes.HasPrefix(out, src) {
			t.Errorf("%s: appended %x, want %x in front", name, out, src)
		}
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != len(goldenMessages)+len(goimMessages) {
		t.Errorf("%d vectors for %d messages, %v", len(files), len(goldenMessages)+len(goimMessages), err)
	}
}

// Fields may come in any order, and more than once: the last counts (protobuf).
func TestParseAnyOrder(t *testing.T) {
	f := func(want Message, fields ...string) {
		t.Helper()
		src, err := hex.DecodeString(strings.ReplaceAll(strings.Join(fields, ""), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseMessage(src); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%x: %+v, %v; want %+v", src, got, err, want)
		}
	}
	const byMid, mids, room, push, op5, op6 = "800701", "fa06020102", "0801", "0800", "1005", "1006"
	f(Message{Op: 5, To: Target{Kind: Mids, Mids: []int64{1, 2}}}, byMid, mids, op5)
	f(Message{Op: 5, To: Target{Kind: Mids, Mids: []int64{1, 2, 1, 2}}}, op5, mids, byMid, mids)
	f(Message{Op: 6, To: Target{Kind: Room}}, op5, room, op6)
	f(Message{To: Target{Kind: Keys}}, room, push)
	f(Message{}, "")
	// Mids without the mark that the message is for mids are nobody's.
	f(Message{}, mids)
	f(Message{To: Target{Kind: Room}}, room, byMid, mids)
	f(Message{}, byMid, "800700", mids)
}

// What a later version, or somebody else, has added is skipped; so is a field we
// know with another wire type.
func TestParseSkipsUnknown(t *testing.T) {
	want := goldenMessages["keys"]
	src := golden(t, "keys")
	f := func(name string, unknown []byte) {
		t.Helper()
		for _, b := range [][]byte{append(bytes.Clone(src), unknown...), append(bytes.Clone(unknown), src...)} {
			if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
		}
	}
	tag := protowire.AppendTag
	f("varint", protowire.AppendVarint(tag(nil, 999, protowire.VarintType), 1<<60))
	f("fixed32", protowire.AppendFixed32(tag(nil, 999, protowire.Fixed32Type), 7))
	f("fixed64", protowire.AppendFixed64(tag(nil, 999, protowire.Fixed64Type), 7))
	f("bytes", protowire.AppendString(tag(nil, 999, protowire.BytesType), "later"))
	f("highest", protowire.AppendString(tag(nil, protowire.MaxValidNumber, protowire.BytesType), "x"))
	f("group", protowire.AppendGroup(tag(nil, 999, protowire.StartGroupType), 999, protowire.AppendVarint(tag(nil, 2, protowire.VarintType), 5)))
	f("operation as bytes", protowire.AppendString(tag(nil, fieldOperation, protowire.BytesType), "x"))
	f("msg as varint", protowire.AppendVarint(tag(nil, fieldMsg, protowire.VarintType), 5))
	f("spool as varint", protowire.AppendVarint(tag(nil, fieldSpool, protowire.VarintType), 5))
	f("index as fixed64", protowire.AppendFixed64(tag(nil, fieldIndex, protowire.Fixed64Type), 5))
}

func TestParseRefuses(t *testing.T) {
	f := func(name string, src []byte) {
		t.Helper()
		got, err := ParseMessage(src)
		if !errors.Is(err, ErrMessage) || !reflect.DeepEqual(got, Message{}) {
			t.Fatalf("%s: %+v, %v; want %v", name, got, err, ErrMessage)
		}
	}
	op := []byte{0x10, 5}
	f("type 3", append(op, 0x08, 3))
	f("type -1", append(op, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f("field 0", append(op, 0x00, 1))
	f("wire type 6", append(op, 0x0e))
	f("wire type 7", append(op, 0x0f))
	f("end of no group", append(op, 0x0c))
	f("group without end", append(op, 0x0b))
	f("varint of 11 bytes", append(op, append([]byte{0x10}, bytes.Repeat([]byte{0x80}, 11)...)...))
	f("length beyond the end", append(op, 0x3a, 5, 'h'))
	f("length of 2^63", append(op, 0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1))
	f("half a mid", append(op, 0xfa, 0x06, 1, 0x80))
}

// Every prefix is either refused or, at the end of a field, a message without
// the fields behind it: nothing panics and nothing is read beyond the end.
func TestParsePrefixes(t *testing.T) {
	for name := range goldenMessages {
		src := golden(t, name)
		refused := 0
		for n := range src {
			if _, err := ParseMessage(src[:n:n]); err != nil {
				refused++
			}
		}
		if refused < len(src)/2 {
			t.Fatalf("%s: only %d of %d prefixes are refused", name, refused, len(src))
		}
	}
}

// The body is not copied, and cannot be extended over what follows it.
func TestBodyAliases(t *testing.T) {
	src := golden(t, "keys")
	m, err := ParseMessage(src)
	if err != nil {
		t.Fatal(err)
	}
	src[bytes.Index(src, testBody)] = 'J'
	if string(m.Body) != "Jello" || cap(m.Body) != len(m.Body) {
		t.Fatalf("body %q, room for %d", m.Body, cap(m.Body))
	}
}

// The strings are copied: the buffer of a queue's client is used again.
func TestStringsAreCopies(t *testing.T) {
	src := golden(t, "room")
	m, err := ParseMessage(src)
	if err != nil {
		t.Fatal(err)
	}
	clear(src)
	want := goldenMessages["room"]
	if m.To.Room != want.To.Room || m.App != want.App || m.ReceiptTo != want.ReceiptTo {
		t.Fatalf("got %+v", m)
	}
}

func TestAllocs(t *testing.T) {
	buf := make([]byte, 0, 512)
	for name, m := range goldenMessages {
		if n := testing.AllocsPerRun(1000, func() { buf = AppendMessage(buf[:0], &m) }); n != 0 {
			t.Errorf("AppendMessage %s: %v allocs, want 0", name, n)
		}
	}
	// Parsing copies the strings, and no more.
	f := func(name string, want float64) {
		t.Helper()
		src := golden(t, name)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := ParseMessage(src); err != nil {
				t.Fatal(err)
			}
		}); n > want {
			t.Errorf("ParseMessage %s: %v allocs, want %v at most", name, n, want)
		}
	}
	f("goim-room", 1) // room
	f("goim-all", 0)
	f("all", 0)
	f("room", 3)      // room, app, receipt to
	f("goim-keys", 5) // node, two keys, the slice of one and of two
}
