package job

import (
	"context"
	"sync"

	"github.com/halley-im/halley/pkg/push"
)

// partition is one partition under one assignment: a reader that routes its
// records, and what is needed to know how far they were delivered.
type partition struct {
	// Set by assignment, then read-only.
	id         int32
	generation int32
	job        *Job
	source     push.Assignment
	giveUp     func()        // ends the assignment before its time
	due        chan struct{} // asks for a commit
	wake       chan struct{} // ends wait; holds one

	// Owned by the reader.
	stages  map[*link]*stage
	staged  []*stage     // hold something
	seen    *view        // stages are pruned for
	targets []*link      // scratch of routeRoom
	shares  []push.Share // scratch of route, of a push to all
	routed  int64        // offset behind the last routed record; negative before the first
	undue   int          // bytes read since a commit was asked for

	mu sync.Mutex
	// guards below
	lanes []*lane // of this partition, for cursor
	next  int64   // everything before is in lanes or done with; negative until something was read
}

func newPartition(j *Job, a push.Assignment, id int32, due chan struct{}, giveUp func()) *partition {
	return &partition{
		id:         id,
		generation: a.Generation(),
		job:        j,
		source:     a,
		giveUp:     giveUp,
		due:        due,
		wake:       make(chan struct{}, 1),
		stages:     map[*link]*stage{},
		routed:     -1,
		next:       -1,
	}
}

// poke makes whoever waits for this partition look again.
func (p *partition) poke() { signal(p.wake) }

// wait waits for a poke.
func (p *partition) wait(ctx context.Context) error {
	select {
	case <-p.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lost is called when a gateway says that a newer generation owns the partition.
// The assignment is given up, and the group asked for another: if the gateway is
// right nothing is lost by it, if it is not the next generation is newer.
func (p *partition) lost(node string) {
	p.job.throttle.warn("a gateway knows a newer generation: the assignment is given up",
		"node", node, "partition", p.id, "generation", p.generation)
	p.giveUp()
	p.poke()
}

// read routes records until ctx ends.
func (p *partition) read(ctx context.Context) {
	for ctx.Err() == nil {
		recs, err := p.source.Read(ctx, p.id)
		if err != nil {
			if ctx.Err() == nil {
				p.job.throttle.warn("read", "partition", p.id, "err", err)
				_ = sleep(ctx, retryQueue) // ends early only with ctx
			}
			continue
		}
		for i := range recs {
			if err := p.route(ctx, &recs[i], len(recs)-i-1); err != nil {
				return // ctx is over: what is staged is read again
			}
			p.routed = recs[i].Offset + 1
			p.undue += recs[i].Size()
		}
		if p.flush(ctx) != nil {
			return
		}
		if p.undue >= commitBytes {
			p.undue = 0
			signal(p.due)
		}
	}
}

// hand gives one stage to its lane; if the lane is full everything staged is
// handed over while it waits.
func (p *partition) hand(ctx context.Context, st *stage) error {
	if st.lane.link.take(st) {
		p.unstage(st)
		return nil
	}
	return p.flush(ctx)
}

func (p *partition) unstage(st *stage) {
	for i, x := range p.staged {
		if x == st {
			p.staged = append(p.staged[:i], p.staged[i+1:]...)
			return
		}
	}
}

// flush hands over everything staged; it waits for lanes that are full after the
// others have theirs. Then all that was routed is in lanes.
func (p *partition) flush(ctx context.Context) error {
	for {
		full := p.staged[:0]
		for _, st := range p.staged {
			if !st.lane.link.take(st) {
				full = append(full, st)
			}
		}
		p.staged = full
		if len(full) == 0 {
			break
		}
		p.job.m.laneFull.Inc()
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.next = max(p.next, p.routed)
	p.mu.Unlock()
	return nil
}

// cursor is the offset from which the partition must be read again by whoever
// owns it next, and how far it was read; ok is false until there is something.
// next is taken before the lanes are looked at: what is before it is in them.
func (p *partition) cursor() (offset, next int64, ok bool) {
	p.mu.Lock()
	next = p.next
	lanes := append([]*lane(nil), p.lanes...)
	p.mu.Unlock()
	if next < 0 {
		return 0, 0, false
	}
	offset = next
	for _, ln := range lanes {
		ln.link.mu.Lock()
		if first, held := ln.cursor(); held {
			offset = min(offset, first)
		}
		ln.link.mu.Unlock()
	}
	return offset, next, true
}

// idle says that nothing of the partition can still be answered: every lane is
// empty, or its gateway has no stream, or refuses the generation.
func (p *partition) idle() bool {
	p.mu.Lock()
	lanes := append([]*lane(nil), p.lanes...)
	p.mu.Unlock()
	for _, ln := range lanes {
		ln.link.mu.Lock()
		_, held := ln.cursor()
		waits := held && !ln.stale && ln.link.openLocked()
		ln.link.mu.Unlock()
		if waits {
			return false
		}
	}
	return true
}

// close drops what the lanes hold: the next owner reads it again.
func (p *partition) close() {
	for _, ln := range p.lanes {
		ln.link.drop(ln)
	}
}
