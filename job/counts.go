package job

import (
	"context"
	"errors"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// countEvery is how often changed room counts are written and told, at most.
	countEvery = time.Second
	// wholeAfter is how long a new owner of a partition waits for the room lists
	// of all gateways before it writes what it knows.
	wholeAfter = 5 * time.Second
	// putTimeout bounds one write of counts.
	putTimeout = 5 * time.Second
)

// counts adds up the members of the rooms of an assignment's partitions and tells
// the registry and the gateways what changed, once a second.
//
// The first write of a partition replaces everything the registry has of it: the
// owner before may have left counts of rooms that have ended since. It waits
// until all gateways have announced, so that rooms do not drop to zero when a job
// takes over.
type counts struct {
	job   *Job
	begun time.Time
	whole map[int32]bool // partitions not yet written whole
	ready bool           // all gateways have announced, or were waited for
}

func newCounts(j *Job, partitions []int32) *counts {
	c := &counts{job: j, begun: time.Now(), whole: map[int32]bool{}}
	for _, p := range partitions {
		c.whole[p] = true
	}
	return c
}

// run works until ctx ends. A gateway that is gone is taken off at once, not
// with the next tick: its members are counted as long as its lease stood already.
func (c *counts) run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.job.forgot:
			tick.Reset(countEvery)
		case <-tick.C:
		}
		c.step(ctx)
	}
}

// step tells and writes what has changed. The gateways come first: they do not
// depend on the registry.
func (c *counts) step(ctx context.Context) {
	if c.ready = c.ready || c.announced() || time.Since(c.begun) >= wholeAfter; !c.ready {
		return
	}
	changed := c.job.index.collect()
	for l, rooms := range changed.tells {
		l.tell(rooms)
	}
	ok := true // after an error the rest is only noted, for the next time
	for p := range c.whole {
		delete(changed.puts, p)
		rooms := c.job.index.whole(p)
		if ok = ok && c.put(ctx, p, rooms, true); ok {
			delete(c.whole, p)
			c.job.index.written(rooms, true)
		}
	}
	for p, rooms := range changed.puts {
		ok = ok && c.put(ctx, p, rooms, false)
		c.job.index.written(rooms, ok)
	}
}

// announced says that the room lists of all gateways are complete.
func (c *counts) announced() bool {
	return len(c.job.view.Load().links) > 0 && c.job.unfiltered.Load() == 0
}

func (c *counts) put(ctx context.Context, partition int32, rooms []cluster.RoomCount, all bool) bool {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := c.job.rooms.Put(ctx, partition, rooms, all); err != nil {
		if !errors.Is(err, context.Canceled) {
			c.job.m.roomsErrors.Inc()
			c.job.throttle.warn("write room counts", "partition", partition, "err", err)
		}
		return false
	}
	c.job.m.roomsPut.Add(len(rooms))
	return true
}
