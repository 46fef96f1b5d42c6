package memory

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/halley-im/halley/pkg/backendtest"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

func TestQueue(t *testing.T) {
	testkit.LeakCheck(t)
	backendtest.Queue(t, func(testing.TB) (backendtest.QueuePublisher, backendtest.QueueSource) {
		q := NewQueue(backendtest.QueuePartitions, backendtest.QueueMaxBytes)
		return q, q
	})
}

// consume runs f with an assignment of all partitions and waits for it.
func consume(t *testing.T, q *Queue, f func(ctx context.Context, a push.Assignment)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
		defer cancel()
		f(ctx, a)
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Consume: %v, want context.Canceled", err)
	}
}

func bodies(n, size int) []push.Message {
	msgs := make([]push.Message, n)
	for i := range msgs {
		msgs[i] = push.Message{ID: push.ID{Spool: 1, Index: uint64(i) + 1}, Body: make([]byte, size)}
	}
	return msgs
}

// TestQueueBound: one Publish of ten times the bound waits for commits, gets
// through, and never more than the bound is on the queue.
func TestQueueBound(t *testing.T) {
	testkit.LeakCheck(t)
	const n, size, bound = 100, 1000, 12_000
	q := NewQueue(2, bound)
	published := make(chan error, 1)
	go func() { published <- q.Publish(context.Background(), 1, bodies(n, size)) }()
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		for got := uint64(0); got < n; {
			recs, err := a.Read(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				if got++; r.ID.Index != got {
					t.Fatalf("got message %d, want %d", r.ID.Index, got)
				}
			}
			if msgs, bytes := q.Depth(); bytes > bound || msgs > bound/size {
				t.Fatalf("%d messages, %d bytes on the queue, the bound is %d", msgs, bytes, bound)
			}
			if err := a.Commit(ctx, map[int32]int64{1: recs[len(recs)-1].Offset + 1}); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if msgs, bytes := q.Depth(); msgs != 0 || bytes != 0 {
		t.Fatalf("after the last commit: %d messages, %d bytes", msgs, bytes)
	}
}

// TestQueueFull: a Publish that waits ends with its ctx; what it had put on the
// queue stays, and the space it waited for is not lost.
func TestQueueFull(t *testing.T) {
	testkit.LeakCheck(t)
	q := NewQueue(1, 3000)
	ctx, cancel := context.WithCancel(context.Background())
	published := make(chan error, 1)
	go func() { published <- q.Publish(ctx, 0, bodies(5, 1000)) }()
	testkit.Eventually(t, time.Minute, func() bool { n, _ := q.Depth(); return n == 2 && waiting(q) == 1 }, "Publish waits for space")
	cancel()
	if err := <-published; !errors.Is(err, context.Canceled) {
		t.Fatalf("Publish to a full queue: %v, want context.Canceled", err)
	}
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		if err := a.Commit(ctx, map[int32]int64{0: 2}); err != nil {
			t.Fatal(err)
		}
	})
	if n, bytes := q.Depth(); n != 0 || bytes != 0 {
		t.Fatalf("after the commit: %d messages, %d bytes", n, bytes)
	}
	if err := q.Publish(context.Background(), 0, bodies(2, 1000)); err != nil {
		t.Fatal(err)
	}
}

func waiting(q *Queue) int {
	q.space.mu.Lock()
	defer q.space.mu.Unlock()
	return len(q.space.waiting)
}

// TestQueueSpaceInTurn: a large message that waits is not passed by a small one
// that would fit.
func TestQueueSpaceInTurn(t *testing.T) {
	s := &space{total: 100, free: 100}
	ctx := context.Background()
	if err := s.take(ctx, 60); err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 2)
	start := func(name string, n int64, place int) {
		go func() {
			if err := s.take(ctx, n); err == nil {
				order <- name
			}
		}()
		testkit.Eventually(t, time.Minute, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.waiting) == place
		}, name+" waits")
	}
	start("large", 90, 1)
	start("small", 10, 2)
	s.give(40)
	if got := s.used(); got != 20 {
		t.Fatalf("%d bytes in use, want 20: somebody was served out of turn", got)
	}
	s.give(20)
	got := []string{<-order, <-order}
	slices.Sort(got)
	if !slices.Equal(got, []string{"large", "small"}) || s.used() != 100 {
		t.Fatalf("served %v, %d bytes in use", got, s.used())
	}
}

// TestQueueSpaceGivenUp: whoever waits behind one that gives up is served then, and
// one that gives up just when it is served gives the space back.
func TestQueueSpaceGivenUp(t *testing.T) {
	s := &space{total: 100, free: 100}
	if err := s.take(context.Background(), 60); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	large, small := make(chan error, 1), make(chan error, 1)
	go func() { large <- s.take(ctx, 90) }()
	testkit.Eventually(t, time.Minute, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiting) == 1 }, "large waits")
	go func() { small <- s.take(context.Background(), 30) }()
	testkit.Eventually(t, time.Minute, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiting) == 2 }, "small waits")
	cancel()
	if err := <-large; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-small; err != nil || s.used() != 90 {
		t.Fatalf("%v, %d bytes in use", err, s.used())
	}
	s.give(90)

	// The race: many takers that give up at any moment; nothing may be lost.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				go func() { runtime.Gosched(); cancel() }()
				if n := int64(i%70 + 1); s.take(ctx, n) == nil {
					s.give(n)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s.used() != 0 {
		t.Fatalf("%d bytes are lost", s.used())
	}
}

// TestQueueExclusive: a second Consume waits until the first has returned, and
// then has a later generation.
func TestQueueExclusive(t *testing.T) {
	testkit.LeakCheck(t)
	q := NewQueue(1, 1<<20)
	type call struct {
		member     int
		generation int32
	}
	calls := make(chan call, 10)
	var cancels [2]context.CancelFunc
	var done [2]chan error
	for i := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[i], done[i] = cancel, make(chan error, 1)
		defer cancel()
		go func() {
			done[i] <- q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
				calls <- call{i, a.Generation()}
				<-ctx.Done()
			})
		}()
	}
	first := <-calls
	cancels[first.member]()
	if err := <-done[first.member]; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	second := <-calls
	if second.member == first.member || second.generation <= first.generation {
		t.Fatalf("first %+v, then %+v", first, second)
	}
	if len(calls) != 0 {
		t.Fatalf("another call of run: %+v", <-calls)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Consume(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("a Consume that waits and is cancelled: %v", err)
	}
	cancels[second.member]()
	if err := <-done[second.member]; !errors.Is(err, context.Canceled) {
		t.Fatalf("the second Consume ended with %v", err)
	}
}

// TestQueueNextAssignment: when run returns by itself, the next assignment begins,
// at what is committed.
func TestQueueNextAssignment(t *testing.T) {
	testkit.LeakCheck(t)
	q := NewQueue(1, 1<<20)
	if err := q.Publish(context.Background(), 0, bodies(3, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var seen []uint64
	err := q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
		recs, err := a.Read(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, recs[0].ID.Index)
		if err := a.Commit(ctx, map[int32]int64{0: recs[0].Offset + 1}); err != nil {
			t.Fatal(err)
		}
		if len(recs) == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(seen, []uint64{1, 2, 3}) {
		t.Fatalf("Consume: %v; the assignments began at %v, want 1 2 3", err, seen)
	}
}

// TestQueueCommit: offsets beyond the end are refused, earlier ones change nothing.
func TestQueueCommit(t *testing.T) {
	q := NewQueue(1, 1<<20)
	if err := q.Publish(context.Background(), 0, bodies(3, 1)); err != nil {
		t.Fatal(err)
	}
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		f := func(offset int64, ok bool, left int) {
			t.Helper()
			if err := a.Commit(ctx, map[int32]int64{0: offset}); (err == nil) != ok {
				t.Errorf("Commit(%d): %v", offset, err)
			}
			if n, _ := q.Depth(); n != left {
				t.Errorf("Commit(%d) leaves %d messages, want %d", offset, n, left)
			}
		}
		f(2, true, 1)
		f(1, true, 1)
		f(-1, true, 1)
		f(4, false, 1)
		f(3, true, 0)
	})
}

// TestQueueFreesAtCommit: a committed body is garbage while later ones wait.
func TestQueueFreesAtCommit(t *testing.T) {
	q := NewQueue(1, 1<<20)
	msgs := bodies(2, 4096)
	ref := weak.Make(&msgs[0].Body[0])
	if err := q.Publish(context.Background(), 0, msgs); err != nil {
		t.Fatal(err)
	}
	msgs[0].Body = nil
	runtime.GC()
	if ref.Value() == nil {
		t.Fatal("the body was freed before Commit")
	}
	consume(t, q, func(ctx context.Context, a push.Assignment) {
		if err := a.Commit(ctx, map[int32]int64{0: 1}); err != nil {
			t.Fatal(err)
		}
	})
	testkit.Eventually(t, time.Minute, func() bool { runtime.GC(); return ref.Value() == nil }, "the committed body is freed")
	if n, _ := q.Depth(); n != 1 {
		t.Fatalf("%d messages wait, want 1", n)
	}
}
