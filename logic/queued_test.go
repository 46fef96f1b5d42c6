package logic

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// inLog accepts pushes while the registry is away: the pump cannot take them up.
// It returns a function that lets it.
func inLog(r *rig) (back func()) {
	r.registry.setAway(true)
	r.push(toKeys("plug"))
	synctest.Wait()
	return func() { r.registry.setAway(false) }
}

func TestQueuedGivesUpWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		back := inLog(r)
		ids := []push.ID{r.push(toRoom("live://1")), r.push(toRoom("live://1"))}
		began := time.Now()
		if err := r.queued(ids...); !errors.Is(err, ErrNotQueued) {
			t.Fatalf("got %v, want ErrNotQueued", err)
		}
		if took := time.Since(began); took != r.cfg.QueuedTimeout {
			t.Fatalf("waited %v, want %v", took, r.cfg.QueuedTimeout)
		}
		after := r.push(toRoom("live://2"))
		back()
		r.mustQueue(after)
		got := r.queue.messages()
		if len(got) != 1 || got[0].ID != after {
			t.Fatalf("on the queue: %v, want only what was pushed later", briefs(got))
		}
		if n := r.m.cancelled.Get(); n != 2 {
			t.Fatalf("%d counted as cancelled, want 2", n)
		}
		if err := r.queued(ids[1]); !errors.Is(err, ErrNotQueued) {
			t.Fatalf("asked again: got %v, want ErrNotQueued", err)
		}
		r.stop()
		if n := r.m.lost.Get(); n != 0 {
			t.Fatalf("%d counted as lost", n)
		}
	})
}

// A push that waits behind one that hangs in the queue was not sent; the one that
// hangs may have been.
func TestQueuedUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		release := r.queue.hold()
		r.start()
		sent := r.push(toRoom("live://1"))
		synctest.Wait()
		behind := r.push(toRoom("live://1"))
		both := r.push(toRoom("live://1"))
		synctest.Wait()
		if err := r.queued(sent, both); !errors.Is(err, ErrUnknown) {
			t.Fatalf("got %v, want ErrUnknown", err)
		}
		if err := r.queued(behind); !errors.Is(err, ErrNotQueued) {
			t.Fatalf("got %v, want ErrNotQueued", err)
		}
		release()
		r.mustQueue(sent, both)
		if got := r.queue.messages(); len(got) != 2 || got[0].ID != sent || got[1].ID != both {
			t.Fatalf("on the queue: %v", got)
		}
		if err := r.queued(sent, behind); !errors.Is(err, ErrUnknown) {
			t.Fatalf("one done, one given up: got %v, want ErrUnknown", err)
		}
	})
}

// Two callers wait for the same push; what one of them gives up is given up for
// both.
func TestQueuedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		inLog(r)
		id := r.push(toRoom("live://1"))
		late := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			late <- r.queued(id)
		}()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			time.Sleep(2 * time.Second)
			cancel() // its caller has gone
		}()
		if err := r.Queued(ctx, id); !errors.Is(err, ErrNotQueued) {
			t.Fatalf("got %v, want ErrNotQueued", err)
		}
		began := time.Now()
		if err := <-late; !errors.Is(err, ErrNotQueued) {
			t.Fatalf("got %v, want ErrNotQueued", err)
		}
		if time.Since(began) != 0 {
			t.Fatal("the second caller waited on")
		}
	})
}

func TestQueuedForeign(t *testing.T) {
	r := newRig(t, nil)
	id := r.push(toRoom("live://1"))
	for _, bad := range []push.ID{{}, {Spool: id.Spool + 1, Index: 1}, {Spool: id.Spool, Index: 2}} {
		if err := r.queued(bad); err == nil {
			t.Fatalf("%v was taken for a push of this node", bad)
		}
	}
}

// Everything that is remembered about given-up pushes is bounded: when nothing
// more can be remembered, nothing more is given up.
func TestGiveUpIsBounded(t *testing.T) {
	f := newFlight(newTestCounters())
	all := make([]uint64, maxGone)
	for i := range all {
		all[i] = uint64(i + 1)
	}
	if err := f.verdict(all); !errors.Is(err, ErrNotQueued) {
		t.Fatalf("got %v, want ErrNotQueued", err)
	}
	one := []uint64{maxGone + 1}
	if err := f.verdict(one); !errors.Is(err, ErrUnknown) {
		t.Fatalf("full: got %v, want ErrUnknown", err)
	}
	if f.open(1) {
		t.Fatal("an entry that was given up was taken up")
	}
	if err := f.verdict(one); !errors.Is(err, ErrNotQueued) {
		t.Fatalf("the pump has passed one: got %v, want ErrNotQueued", err)
	}
	if len(f.gone) != maxGone || f.open(2) {
		t.Fatalf("%d remembered, or one forgotten too early", len(f.gone))
	}
}

func TestFlightReusesSpace(t *testing.T) {
	f := newFlight(newTestCounters())
	for i := uint64(1); i <= 10*maxFlight; i++ {
		f.open(i)
		if i > 10 {
			f.seal(i - 10) // always some open
		}
	}
	if f.cursor() != 10*maxFlight-10 || cap(f.entries) > 3*maxFlight {
		t.Fatalf("cursor %d, space for %d entries", f.cursor(), cap(f.entries))
	}
}
