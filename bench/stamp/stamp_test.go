package stamp

import (
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
		got, intact, ok := Parse(body)
		if got != s || !intact || !ok {
			t.Errorf("got %+v, intact %v, ok %v; want %+v", got, intact, ok, s)
		}
		for i := Size; i < len(body); i++ {
			body[i] ^= 1
			if _, intact, ok = Parse(body); intact || !ok {
				t.Errorf("byte %d of %d is wrong: intact %v, ok %v", i, size, intact, ok)
			}
			body[i] ^= 1
		}
	}
	f(Stamp{}, Size)
	f(Stamp{Run: 1<<32 - 1, Target: To(All, 1<<30-1), Lane: 1<<16 - 1, Seq: 1<<32 - 1, Due: 1<<48 - 1}, 0)
	f(Stamp{Run: 7, Target: To(Room, 3), Lane: 2, Seq: 1, Due: 90 * time.Minute}, 30)
	f(Stamp{Run: 7, Target: To(Self, 1_000_000), Seq: 1}, 1000)
	if _, _, ok := Parse(make([]byte, Size-1)); ok {
		t.Error("a body that is too short was taken")
	}
	if to := To(Room, 12345); to.Kind() != Room || to.Number() != 12345 {
		t.Errorf("kind %d, number %d", to.Kind(), to.Number())
	}
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
		s, _, _ := Parse(buf)
		tr.Come(s.Seq)
	}); n != 0 {
		t.Errorf("%v allocations for a message, want 0", n)
	}
}

func BenchmarkReceive(b *testing.B) {
	var tr Track
	body := Append(nil, Stamp{Seq: 1}, 30)
	for b.Loop() {
		s, _, _ := Parse(body)
		tr.Come(s.Seq + tr.last)
	}
}
