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
