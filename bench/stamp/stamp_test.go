package stamp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestStamp(t *testing.T) {
	f := func(s Stamp, size int) {
		t.Helper()
		body := Append([]byte("x"), s, size)[1:]
		if len(body) != max(size, Size) {
			t.Errorf("%d bytes, want %d", len(body), size)
		}
		if got, from := Parse(body, s.Run); got != s || from != Whole {
			t.Errorf("got %+v, origin %d; want %+v, whole", got, from, s)
		}
		if _, from := Parse(body, s.Run^1); from != Foreign {
			t.Errorf("for another run it has origin %d, want foreign", from)
		}
	}
	f(Stamp{}, Size)
	f(Stamp{Run: 1<<32 - 1, Target: To(All, 1<<30-1), Lane: MaxLanes - 1, Seq: 1<<32 - 1, Due: 1<<48 - 1}, 0)
	f(Stamp{Run: 7, Target: To(Room, 3), Lane: 2, Seq: 1, Due: 90 * time.Minute}, 30)
	f(Stamp{Run: 7, Target: To(Self, 1_000_000), Seq: 1}, 1000)
	if to := To(Room, 12345); to.Kind() != Room || to.Number() != 12345 {
		t.Errorf("kind %d, number %d", to.Kind(), to.Number())
	}
}

// Whatever byte of a body is changed, and however, and wherever it is cut off, it is
// not taken for whole. Without filling, a body that names another run is foreign.
func TestStampDamage(t *testing.T) {
	s := Stamp{Run: 0x01020304, Target: To(Room, 3), Lane: 2, Seq: 70_000, Due: 90 * time.Minute}
	f := func(body []byte, want Origin, format string, args ...any) {
		t.Helper()
		if _, from := Parse(body, s.Run); from != want {
			t.Errorf("origin %d, want %d: %s", from, want, fmt.Sprintf(format, args...))
		}
	}
	for _, size := range []int{Size, 30, 200} {
		body := Append(nil, s, size)
		for i := range body {
			want := Damaged
			if i < 4 && size == Size {
				want = Foreign
			}
			for flip := 1; flip < 256; flip++ {
				body[i] ^= byte(flip)
				f(body, want, "byte %d of %d is wrong by %#x", i, size, flip)
				body[i] ^= byte(flip)
			}
		}
		for n := range body {
			want := Damaged
			if n < Size {
				want = Foreign
			}
			f(body[:n], want, "%d bytes of %d", n, size)
		}
	}
	f([]byte("something else, of more than 20 bytes"), Foreign, "text")
	f(nil, Foreign, "nothing")
}

func TestTrack(t *testing.T) {
	var tr Track
	f := func(seq uint32, want Verdict, seen uint32) {
		t.Helper()
		if got := tr.Come(seq); got != want || tr.Seen() != seen {
			t.Errorf("message %d: verdict %d, seen %d; want %d, %d", seq, got, tr.Seen(), want, seen)
		}
	}
	f(1, Fine, 1)
	f(1, Doubled, 1)
	f(3, Fine, 2)
	f(2, Reordered, 3)
	f(2, Doubled, 3)
	f(3, Doubled, 3)
	f(66, Fine, 4)
	f(4, Reordered, 5) // 62 behind
	f(3, Doubled, 5)   // 63 behind: the last that is remembered
	f(2, Stale, 5)
	f(1000, Fine, 6)
	f(937, Reordered, 7)
	f(936, Stale, 7)
	if n := tr.Skipped(); n != 1000-7 {
		t.Errorf("%d skipped, want %d", n, 1000-7)
	}
	tr = Track{}
	f(70, Fine, 1)
	f(70, Doubled, 1)
	f(7, Reordered, 2)
	f(6, Stale, 2)
}

// A receiver with a set of all that has come says the same as a Track, as long as
// nothing is displaced by more than it remembers.
func TestTrackModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var tr Track
		came := map[uint32]bool{}
		highest := uint32(0)
		for range 2000 {
			seq := max(1, int(highest)+5-rng.IntN(40))
			want := Fine
			switch {
			case came[uint32(seq)]:
				want = Doubled
			case uint32(seq) < highest:
				want = Reordered
			}
			if got := tr.Come(uint32(seq)); got != want {
				t.Fatalf("seed %d, message %d after %d: verdict %d, want %d", seed, seq, highest, got, want)
			}
			came[uint32(seq)] = true
			highest = max(highest, uint32(seq))
		}
		if int(tr.Seen()) != len(came) {
			t.Fatalf("seed %d: seen %d, want %d", seed, tr.Seen(), len(came))
		}
	}
}

func TestAllocs(t *testing.T) {
	var tr Track
	buf := make([]byte, 0, 64)
	seq := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		seq++
		buf = Append(buf[:0], Stamp{Seq: seq}, 30)
		s, _ := Parse(buf, 0)
		tr.Come(s.Seq)
	}); n != 0 {
		t.Errorf("%v allocations for a message, want 0", n)
	}
}

func BenchmarkReceive(b *testing.B) {
	var tr Track
	body := Append(nil, Stamp{Seq: 1}, 30)
	for b.Loop() {
		s, _ := Parse(body, 0)
		tr.Come(s.Seq + tr.last)
	}
}
