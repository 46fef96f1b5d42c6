package logic

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// slowQueue is a Publisher whose calls take a while.
type slowQueue struct {
	Publisher
	takes  time.Duration
	calls  int
	waited time.Duration // longest between acceptance and call
}

func (q *slowQueue) Publish(ctx context.Context, partition int32, msgs []push.Message) error {
	q.calls++
	for _, m := range msgs {
		q.waited = max(q.waited, time.Since(time.UnixMilli(m.Accepted)))
	}
	time.Sleep(q.takes)
	return q.Publisher.Publish(ctx, partition, msgs)
}

// A lane that would otherwise write all the time makes fewer and larger calls; one
// whose pushes come further apart than a call takes delays none.
func TestProduceRests(t *testing.T) {
	for name, c := range map[string]struct {
		every     time.Duration
		mostCalls int
		mostWait  time.Duration
	}{
		"busy": {every: time.Millisecond, mostCalls: 300 / 20, mostWait: 3*time.Millisecond + maxRest},
		"idle": {every: 4 * time.Millisecond, mostCalls: 300, mostWait: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := &slowQueue{takes: 3 * time.Millisecond}
				r := newRig(t, func(_ *Config, d *Deps) {
					q.Publisher, d.Publisher = d.Publisher, q
				}).start()
				var ids []push.ID
				for range 300 {
					ids = append(ids, r.push(toRoom("live://1")))
					time.Sleep(c.every)
				}
				r.mustQueue(ids...)
				r.stop()
				if q.calls > c.mostCalls {
					t.Errorf("%d calls, want %d at most", q.calls, c.mostCalls)
				}
				if q.waited > c.mostWait {
					t.Errorf("a push waited %v, want %v at most", q.waited, c.mostWait)
				}
			})
		})
	}
}

func TestRest(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		parts      int
		took, want time.Duration
	}{
		{1, 3 * ms, 0}, // alone
		{2, 3 * ms, 3 * ms},
		{4, 3 * ms, 9 * ms},
		{100, 2 * ms, 16 * ms}, // restFactor
		{100, 4 * ms, maxRest},
		{largeRound, 4 * ms, 0},
		{100, ms - time.Nanosecond, 0}, // a queue in this process
	} {
		if got := rest(c.parts, c.took); got != c.want {
			t.Errorf("%d parts in %v: %v, want %v", c.parts, c.took, got, c.want)
		}
	}
}
