package logic

import (
	"context"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// pumpBatch bounds the entries that are looked up together.
	pumpBatch = 512
	// maxPartKeys and maxPartBytes bound a part: a gateway takes a part all or not
	// at all, so parts must stay small against what its loops take at once.
	maxPartKeys  = 1000
	maxPartBytes = 256 << 10
	// maxMessage bounds a message together with its keys, and what a producer
	// sends in one call: Kafka refuses a batch above 1,048,588 bytes by default.
	maxMessage = 1<<20 - 16<<10
	// minPartBytes is what the keys of a part may take however large its body is:
	// 60 of the longest keys.
	minPartBytes = 16 << 10
	// keyOverhead is what push.Message.Size adds per key.
	keyOverhead = 16
)

// pump moves what is accepted from the log to the producers, in order, until ctx
// ends, or until everything is done once the intake has ended. It is the only
// goroutine that calls Next and Commit.
func (l *Logic) pump(ctx context.Context) {
	r := newResolver(l)
	var after, committed uint64
	for wait := firstWait; ctx.Err() == nil; {
		committed = l.commit(committed)
		draining := l.refused()
		msgs, err := l.deps.Spool.Next(after, pumpBatch)
		switch {
		case err != nil:
			l.m.spoolErrors.Inc()
			l.spoolComplaint.warn(l.log, "read the log of accepted pushes", "err", err)
			pause(ctx, wait)
			wait = min(2*wait, lastWait)
			continue
		case len(msgs) > 0:
			if !l.forward(ctx, r, msgs) {
				return
			}
			after = msgs[len(msgs)-1].ID.Index
		case draining && l.flight.cursor() >= after:
			l.commit(committed)
			return
		default:
			l.idle(ctx, draining)
		}
		wait = firstWait
	}
}

func (l *Logic) refused() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}

// idle waits until there is something to do.
func (l *Logic) idle(ctx context.Context, draining bool) {
	ended := l.draining
	if draining {
		ended = nil // it is closed: not to be waited for
	}
	select {
	case <-l.wake:
	case <-l.flight.moved:
	case <-ended:
	case <-ctx.Done():
	}
}

// commit tells the log what it need not keep; it returns what it told.
func (l *Logic) commit(committed uint64) uint64 {
	cursor := l.flight.cursor()
	if cursor <= committed {
		return committed
	}
	if err := l.deps.Spool.Commit(cursor); err != nil {
		l.m.spoolErrors.Inc()
		l.spoolComplaint.warn(l.log, "commit the log of accepted pushes", "err", err)
		return committed // tried again with the next progress
	}
	return cursor
}

// forward looks msgs up and hands their parts to the producers; false when ctx
// ended before.
func (l *Logic) forward(ctx context.Context, r *resolver, msgs []push.Message) bool {
	if !r.resolve(ctx, msgs) {
		return false
	}
	for i := range msgs {
		if !l.space(ctx) {
			return false
		}
		if !l.flight.open(msgs[i].ID.Index) {
			continue
		}
		if !l.cut(ctx, r, &msgs[i]) {
			return false
		}
		l.flight.seal(msgs[i].ID.Index)
	}
	l.dropStale(r.stale)
	return true
}

// space waits until flight has room, and commits meanwhile, so that a log that is
// full because the queue was away takes pushes again as soon as it can.
func (l *Logic) space(ctx context.Context) bool {
	for !l.flight.room() {
		select {
		case <-l.flight.moved:
			l.commit(0)
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// cut makes the parts of a message and hands them to the producers.
func (l *Logic) cut(ctx context.Context, r *resolver, m *push.Message) bool {
	switch m.To.Kind {
	case push.Room:
		return l.send(ctx, &part{msg: *m, partition: push.RoomPartition(cluster.Scope(m.App, m.To.Room), l.partitions)})
	case push.All:
		return l.send(ctx, &part{msg: *m, partition: push.BroadcastPartition()})
	default:
		return l.cutKeys(ctx, r, m)
	}
}

// group is a part in the making: keys that one gateway holds.
type group struct {
	life  life
	keys  []string
	bytes int
}

// cutKeys groups the keys of a message by gateway. Parts are numbered in the order
// they are handed over, so numbers rise within every partition.
func (l *Logic) cutKeys(ctx context.Context, r *resolver, m *push.Message) bool {
	limit := max(minPartBytes, min(maxPartBytes, maxMessage-len(m.Body)-len(m.App)))
	var number uint32
	groups := r.groups[:0]
	for key, at := range r.receivers(m) {
		g := -1
		for i := range groups { // few: one per gateway
			if groups[i].life == at {
				g = i
				break
			}
		}
		if g < 0 {
			g = len(groups)
			groups = append(groups, group{life: at})
		}
		size := len(key) + keyOverhead
		if p := &groups[g]; len(p.keys) == maxPartKeys || len(p.keys) > 0 && p.bytes+size > limit {
			if !l.space(ctx) || !l.send(ctx, p.part(m, number, l.partitions)) {
				return false
			}
			number++
			p.keys, p.bytes = nil, 0
		}
		groups[g].keys = append(groups[g].keys, key)
		groups[g].bytes += size
	}
	for i := range groups {
		if !l.space(ctx) || !l.send(ctx, groups[i].part(m, number, l.partitions)) {
			return false
		}
		number++
	}
	clear(groups)
	r.groups = groups
	return true
}

// part is what of m goes to the group's gateway. Keys stand in it unscoped, next to
// App, as rooms do: consumers put the two together again.
func (g *group) part(m *push.Message, number uint32, partitions int32) *part {
	p := &part{msg: *m, partition: push.NodePartition(g.life.node, partitions), size: g.bytes}
	p.msg.ID.Part = number
	p.msg.To = push.Target{Kind: push.Keys, Keys: g.keys, Node: g.life.node, Epoch: uint64(g.life.epoch)}
	return p
}

// send hands a part to its producer. There is room: a lane holds as much as flight
// lets through. It is false only when ctx ended.
func (l *Logic) send(ctx context.Context, p *part) bool {
	if !l.flight.add(p) {
		return true // given up
	}
	select {
	case l.lanes[int(p.partition)%len(l.lanes)] <- p:
		return true
	case <-ctx.Done():
		return false
	}
}
