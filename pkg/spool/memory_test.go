package spool

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// model is what Memory does, done the plainest way.
type model struct {
	maxMessages int
	maxBytes    int64
	msgs        []push.Message // behind committed
	committed   uint64
	bytes       int64
}

func (m *model) last() uint64 { return m.committed + uint64(len(m.msgs)) }

func (m *model) append(spool uint64, msgs []push.Message) bool {
	var size int64
	for i := range msgs {
		size += int64(msgs[i].Size())
	}
	if len(m.msgs)+len(msgs) > m.maxMessages || m.bytes+size > m.maxBytes {
		return false
	}
	for i := range msgs {
		msgs[i].ID.Spool, msgs[i].ID.Index = spool, m.last()+1
		m.msgs = append(m.msgs, msgs[i])
	}
	m.bytes += size
	return true
}

func (m *model) next(after uint64, limit int) []push.Message {
	var out []push.Message
	for i := range m.msgs {
		if m.msgs[i].ID.Index > after && len(out) < limit {
			out = append(out, m.msgs[i])
		}
	}
	return out
}

func (m *model) commit(index uint64) bool {
	if index > m.last() {
		return false
	}
	for m.committed < index {
		m.bytes -= int64(m.msgs[0].Size())
		m.msgs = m.msgs[1:]
		m.committed++
	}
	return true
}

// random makes n messages that differ, of 200 to some 1,200 bytes.
func random(r *rand.Rand, n int) []push.Message {
	msgs := make([]push.Message, n)
	for i := range msgs {
		msgs[i] = push.Message{
			ID:   push.ID{Part: r.Uint32N(3)},
			Op:   r.Int32(),
			To:   push.Target{Kind: push.Keys, Keys: []string{strings.Repeat("k", r.IntN(20))}},
			Body: make([]byte, r.IntN(1000)),
		}
	}
	return msgs
}

// same compares what random varies. Bodies are the same memory, not just alike.
func same(a, b push.Message) bool {
	return a.ID == b.ID && a.Op == b.Op && slices.Equal(a.To.Keys, b.To.Keys) &&
		len(a.Body) == len(b.Body) && (len(a.Body) == 0 || &a.Body[0] == &b.Body[0])
}

// TestMemoryModel takes random steps on the log and on the model and compares all
// that can be seen. The bounds are small, so that both are reached, and chunks are
// entered and left at every position.
func TestMemoryModel(t *testing.T) {
	const steps = 120_000
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	m := NewMemory(900, 400_000)
	want := &model{maxMessages: 900, maxBytes: 400_000}
	var appended, full, refused int
	for step := range steps {
		switch op := r.IntN(10); {
		case op < 4:
			msgs := random(r, r.IntN(1+r.IntN(120)))
			expect := slices.Clone(msgs)
			ok := want.append(m.ID(), expect)
			err := m.Append(msgs)
			if (err == nil) != ok || err != nil && !errors.Is(err, ErrFull) {
				t.Fatalf("seed %d step %d: Append of %d: %v, model took it: %v", seed, step, len(msgs), err, ok)
			}
			if !slices.EqualFunc(msgs, expect, same) {
				t.Fatalf("seed %d step %d: after Append the slice is %v, want %v", seed, step, msgs, expect)
			}
			if ok {
				appended += len(msgs)
			} else {
				full++
			}
		case op < 7:
			after, limit := want.committed-min(want.committed, 5)+r.Uint64N(1100), r.IntN(300)-2
			got, err := m.Next(after, limit)
			if expect := want.next(after, limit); err != nil || !slices.EqualFunc(got, expect, same) {
				t.Fatalf("seed %d step %d: Next(%d, %d) = %v, %v, want %v", seed, step, after, limit, got, err, expect)
			}
		case op < 9:
			index := want.committed - min(want.committed, 3) + r.Uint64N(uint64(len(want.msgs))+5)
			err := m.Commit(index)
			if ok := want.commit(index); (err == nil) != ok {
				t.Fatalf("seed %d step %d: Commit(%d): %v, model did it: %v", seed, step, index, err, ok)
			} else if !ok {
				refused++
			}
		default:
			if n, b := m.Depth(); n != len(want.msgs) || b != want.bytes {
				t.Fatalf("seed %d step %d: Depth = %d, %d, want %d, %d", seed, step, n, b, len(want.msgs), want.bytes)
			}
		}
	}
	if appended < 10*chunkSize || full == 0 || refused == 0 {
		t.Fatalf("seed %d: the schedule reached too little: %d appended, %d times full, %d commits refused", seed, appended, full, refused)
	}
}

// TestMemoryConcurrent appends from many goroutines while one reads and commits:
// every call's indexes are contiguous, and what is read is complete and in order.
func TestMemoryConcurrent(t *testing.T) {
	const writers, calls, batch = 8, 400, 7
	m := NewMemory(1000, 1<<40)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for c := range calls {
				msgs := make([]push.Message, batch)
				for i := range msgs {
					msgs[i] = push.Message{Op: int32(w), Accepted: int64(c*batch + i)}
				}
				for m.Append(msgs) != nil {
					runtime.Gosched()
				}
				for i := range msgs {
					if msgs[i].ID.Spool != m.ID() || msgs[i].ID.Index != msgs[0].ID.Index+uint64(i) {
						t.Errorf("indexes of one call are not contiguous: %v after %v", msgs[i].ID, msgs[0].ID)
						return
					}
				}
			}
		})
	}
	var seen [writers]int64
	for after := uint64(0); after < writers*calls*batch; {
		msgs, err := m.Next(after, 64)
		if err != nil {
			t.Fatal(err)
		}
		for i := range msgs {
			after++
			if w := msgs[i].Op; msgs[i].ID.Index != after || msgs[i].Accepted != seen[w] {
				t.Fatalf("entry %d: got %v of writer %d, number %d; want number %d", after, msgs[i].ID, w, msgs[i].Accepted, seen[w])
			}
			seen[msgs[i].Op]++
		}
		if err := m.Commit(after); err != nil {
			t.Fatal(err)
		}
		if len(msgs) == 0 {
			runtime.Gosched()
		}
	}
	wg.Wait()
	if n, b := m.Depth(); n != 0 || b != 0 {
		t.Fatalf("Depth after the last commit = %d, %d", n, b)
	}
}

// TestMemoryFreesAtCommit: a committed body is garbage, although its chunk is
// still in use.
func TestMemoryFreesAtCommit(t *testing.T) {
	m := NewMemory(10, 1<<20)
	body := make([]byte, 4096)
	ref := weak.Make(&body[0])
	if err := m.Append([]push.Message{{Body: body}, {Body: []byte("stays")}}); err != nil {
		t.Fatal(err)
	}
	body = nil
	runtime.GC()
	if ref.Value() == nil {
		t.Fatal("the body was freed before Commit")
	}
	if err := m.Commit(1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, func() bool { runtime.GC(); return ref.Value() == nil }, "the committed body is freed")
	if msgs, _ := m.Next(0, 5); len(msgs) != 1 || string(msgs[0].Body) != "stays" {
		t.Fatalf("Next = %v", msgs)
	}
}

func TestMemoryID(t *testing.T) {
	seen := make(map[uint64]bool)
	for range 1000 {
		id := NewMemory(1, 1).ID()
		if id == 0 || id&foreignBit != 0 || seen[id] {
			t.Fatalf("id %x: zero, foreign or seen before", id)
		}
		seen[id] = true
	}
}

// TestMemoryAllocs pins that a log in steady state allocates nothing but the slice
// that Next returns, 1 per 256 messages here; an Append allocates nothing.
func TestMemoryAllocs(t *testing.T) {
	m := NewMemory(10_000, 1<<30)
	msgs := make([]push.Message, chunkSize)
	var index uint64
	step := func() {
		if err := m.Append(msgs); err != nil {
			t.Fatal(err)
		}
		index += chunkSize
		if err := m.Commit(index); err != nil {
			t.Fatal(err)
		}
	}
	step()
	// 1: the list of chunks, whose front is cut off.
	if n := testing.AllocsPerRun(1000, step); n > 1 {
		t.Fatalf("Append and Commit of %d messages: %v allocs, want at most 1", chunkSize, n)
	}
}
