package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// TestBrokenConnections breaks all connections again and again while messages are
// published and read. The publisher repeats what failed, as the pump does; behind
// that all messages are there, and in order but for repeats.
func TestBrokenConnections(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	var broken faults
	cfg.dial = broken.dial
	q := openQueue(t, cfg)
	r, _ := startReading(t, q)
	const calls, each = 60, 20
	msgs := messages(calls * each)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for i := range calls {
		if i%5 == 2 {
			r.wait(t, i*each/2) // readers are at work too when it happens
			go broken.set(false, false)
		}
		for q.Publish(ctx, 1, msgs[i*each:(i+1)*each]) != nil {
			if ctx.Err() != nil {
				t.Fatal("Publish never succeeds")
			}
		}
	}
	index := func() (last uint64) {
		for _, rec := range r.all() {
			if rec.ID.Index == last+1 {
				last++
			} else if rec.ID.Index > last {
				t.Fatalf("message %d comes behind message %d", rec.ID.Index, last)
			}
		}
		return last
	}
	testkit.Eventually(t, 2*time.Minute, func() bool { return index() == calls*each }, "all messages are read")
}

// TestOutage: no broker can be reached for a while. Publish fails, Consume goes on
// trying, and both work again afterwards.
func TestOutage(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	var broken faults
	cfg.dial = broken.dial
	q := openQueue(t, cfg)
	r, _ := startReading(t, q)
	if err := q.Publish(context.Background(), 1, messages(3)); err != nil {
		t.Fatal(err)
	}
	r.wait(t, 3)

	broken.set(true, false)
	if err := q.Publish(context.Background(), 1, messages(1)); err == nil {
		t.Fatal("Publish succeeds without a broker")
	}
	errors := q.count.groupErrors.Get()
	testkit.Eventually(t, time.Minute, func() bool { return q.count.groupErrors.Get() > errors+1 }, "the member tries to join again")

	broken.set(false, false)
	var more []push.Message
	for i := 3; i < 6; i++ {
		more = append(more, message(i))
	}
	testkit.Eventually(t, time.Minute, func() bool { return q.Publish(context.Background(), 1, more) == nil }, "Publish succeeds again")
	recs := r.wait(t, 6)
	if recs[3].ID != more[0].ID || recs[5].ID != more[2].ID {
		t.Fatalf("read after the outage: %v", recs[3:])
	}
}

// assigned is one call of run.
type assigned struct {
	ctx context.Context
	a   push.Assignment
}

// startMember consumes, without reading, until the test ends.
func startMember(t *testing.T, q *Queue) <-chan assigned {
	calls := make(chan assigned, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
			calls <- assigned{ctx, a}
			<-ctx.Done()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Consume: %v", err)
		}
	})
	return calls
}

// TestDeadMember: a member loses the brokers without a word. Its own assignment
// ends, and the other member gets its partitions.
func TestDeadMember(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	var broken faults
	cfg.dial = broken.dial
	first := openQueue(t, cfg)
	cfg.dial = nil
	second := openQueue(t, cfg)

	next := func(calls <-chan assigned, partitions int) assigned {
		t.Helper()
		for {
			select {
			case c := <-calls:
				if len(c.a.Partitions()) == partitions {
					return c
				}
			case <-time.After(time.Minute):
				t.Fatalf("no assignment of %d partitions", partitions)
			}
		}
	}
	one := startMember(t, first)
	next(one, 4)
	two := startMember(t, second)
	next(two, 2)
	dying := next(one, 2)
	broken.set(false, true)
	if alone := next(two, 4); alone.a.Generation() <= dying.a.Generation() {
		t.Errorf("generation %d after %d", alone.a.Generation(), dying.a.Generation())
	}
	select {
	case <-dying.ctx.Done():
	case <-time.After(time.Minute):
		t.Error("the assignment of the dead member does not end")
	}
}

// TestMoreMembersThanPartitions: who gets none has an assignment all the same, and
// takes over when the other leaves.
func TestMoreMembersThanPartitions(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	cfg.Partitions = 1
	q := openQueue(t, cfg)
	sizes := make(chan string, 100)
	var cancels [2]context.CancelFunc
	for i := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[i] = cancel
		done := make(chan error, 1)
		go func() {
			done <- q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
				sizes <- fmt.Sprintf("member %d: %d", i, len(a.Partitions()))
				<-ctx.Done()
			})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Consume: %v", err)
			}
		})
	}
	wait := func(want ...string) (got string) {
		t.Helper()
		for {
			select {
			case got = <-sizes:
				for _, w := range want {
					if got == w {
						return got
					}
				}
			case <-time.After(time.Minute):
				t.Fatalf("none of %q", want)
			}
		}
	}
	if wait("member 0: 0", "member 1: 0") == "member 0: 0" {
		cancels[1]()
		wait("member 0: 1")
	} else {
		cancels[0]()
		wait("member 1: 1")
	}
}

// TestLeaveHungBroker: Consume ends with its ctx although no broker answers any more.
func TestLeaveHungBroker(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	var broken faults
	cfg.dial = broken.dial
	q := openQueue(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	running := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
			running <- struct{}{}
			_, _ = a.Read(ctx, 0) // it shall only be under way
		})
	}()
	<-running
	broken.set(false, true)
	dials := broken.dials.Load()
	testkit.Eventually(t, time.Minute, func() bool { return broken.dials.Load() > dials }, "the member dials brokers that hang")
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Consume: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Consume does not return")
	}
}
