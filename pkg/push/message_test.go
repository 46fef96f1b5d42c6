package push

import (
	"math"
	"strings"
	"testing"
)

// The form of X-Push-Id.
func TestID(t *testing.T) {
	f := func(id ID, want string) {
		t.Helper()
		if got := id.String(); got != want {
			t.Fatalf("%+v: %s, want %s", id, got, want)
		}
		got, err := ParseID(want)
		if id.Part = 0; err != nil || got != id {
			t.Fatalf("ParseID(%s): %+v, %v; want %+v", want, got, err, id)
		}
	}
	f(ID{}, "0000000000000000-0")
	f(ID{Spool: 0x0123456789abcdef, Index: 300}, "0123456789abcdef-12c")
	f(ID{Spool: math.MaxUint64, Index: math.MaxUint64}, "ffffffffffffffff-ffffffffffffffff")
	f(ID{Spool: 1, Index: 2, Part: 3}, "0000000000000001-2") // callers know the push as one

	if !(ID{}).Zero() || (ID{Spool: 1}).Zero() || (ID{Index: 1}).Zero() || (ID{Part: 1}).Zero() {
		t.Fatal("Zero is not true for the zero ID alone")
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{"", "-", "1", "1-", "-1", "0123456789abcdef", "x-1", "1-x", "1-2-3", " 1-2", "1-2 ", "+1-2", "1-+2",
		"0x1-2", "1_0-2", "1ffffffffffffffff-1", "1-1ffffffffffffffff", "1-\n", strings.Repeat("f", 1000) + "-1"} {
		if id, err := ParseID(s); err == nil || id != (ID{}) {
			t.Fatalf("ParseID(%q): %+v, %v", s, id, err)
		}
	}
}

// Size counts what grows with the message.
func TestSize(t *testing.T) {
	f := func(m Message, atLeast int) {
		t.Helper()
		if got := m.Size(); got < atLeast || got > atLeast+1000 {
			t.Fatalf("Size %d, want %d and a little", got, atLeast)
		}
	}
	f(Message{}, 0)
	f(Message{Body: make([]byte, 4000)}, 4000)
	f(Message{To: Target{Room: strings.Repeat("x", 5000)}}, 5000)
	f(Message{To: Target{Mids: make([]int64, 1000)}}, 8000)
	keys := make([]string, 500)
	for i := range keys {
		keys[i] = strings.Repeat("k", 36)
	}
	f(Message{To: Target{Keys: keys}}, 500*(36+16))
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{Keys: "keys", Mids: "mids", Room: "room", All: "all"} {
		if k.String() != want {
			t.Fatalf("Kind %d: %s, want %s", k, k, want)
		}
	}
}
