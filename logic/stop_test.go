package logic

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

func TestStopDrains(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	release := r.queue.hold()
	defer release()
	r.start()
	for range 100 {
		r.push(toRoom("live://1"))
	}
	testkit.Eventually(t, 5*time.Second, func() bool { return r.queue.begun() > 0 }, "the queue was called")
	ended := make(chan struct{})
	go func() { r.stop(); close(ended) }()
	testkit.Eventually(t, 5*time.Second, func() bool { return errors.Is(r.Ready(), ErrStopping) }, "not ready any more")
	if err := r.Push([]push.Message{toAll()}); !errors.Is(err, ErrStopping) || !Busy(err) {
		t.Fatalf("got %v, want ErrStopping", err)
	}
	release()
	<-ended
	if got := len(r.queue.messages()); got != 100 {
		t.Fatalf("%d on the queue, want 100", got)
	}
	if r.m.lost.Get() != 0 {
		t.Fatalf("%d counted as lost", r.m.lost.Get())
	}
}

func TestStopCountsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		slow := push.RoomPartition("live://slow", testPartitions)
		r.queue.fail = func(_ int, partition int32, _ []push.Message) (int, error) {
			if partition == slow {
				return 0, errAway
			}
			return 0, nil
		}
		r.start()
		r.push(toRoom("live://slow"))
		r.mustQueue(r.push(toAll())) // acknowledged, though not committed: not lost
		r.push(toRoom("live://slow"))
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != r.cfg.DrainTimeout {
			t.Fatalf("stopped after %v, want %v", took, r.cfg.DrainTimeout)
		}
		if n := r.m.lost.Get(); n != 2 {
			t.Fatalf("%d counted as lost, want 2", n)
		}
	})
}
