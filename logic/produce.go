package logic

import (
	"context"
	"errors"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// restFactor and maxRest bound how long a lane rests after a round of less than
	// largeRound parts, see rest.
	//
	// Pushes to 100 rooms of 10 from 100 connections, everything on 2 cores (halley bench
	// push --total 100000, 5 pairs in turn with the job's gcPercent and without both):
	// 18,200 a second (14,800 to 22,200) instead of 11,700 (11,300 to 12,900), and 22 µs of
	// Kafka's CPU for a push instead of 54.
	restFactor = 8
	maxRest    = 25 * time.Millisecond
	largeRound = 256
)

// produce publishes what comes through one lane until ctx ends. Everything that
// waits there is taken together and goes out in one call per partition and
// maxMessage bytes, in the order it came: calls grow by themselves when the queue
// is slow, while a lone part leaves at once.
func (l *Logic) produce(ctx context.Context, lane <-chan *part) {
	x := round{at: map[int32]int{}}
	var openFrom time.Time
	for {
		select {
		case p := <-lane:
			if wait := time.Until(openFrom); wait > 0 && !pause(ctx, wait) {
				return
			}
			x.take(p, lane)
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		for _, parts := range x.parts {
			if !l.publish(ctx, parts) {
				return
			}
		}
		openFrom = time.Now().Add(rest(x.size, time.Since(begun)))
		x.forget()
	}
}

// rest is how long a lane waits for more after a round of so many parts that took so
// long: as many times as long as there were parts beside the first. So a lane whose
// parts come further apart than a round takes does not rest, and one that would
// otherwise always be writing sends fewer and larger calls. A large round has nothing
// to gain, nor has a queue that answers within a millisecond.
func rest(parts int, took time.Duration) time.Duration {
	if parts >= largeRound || took < time.Millisecond {
		return 0
	}
	return min(time.Duration(min(parts-1, restFactor))*took, maxRest)
}

// round is what a lane publishes together.
type round struct {
	parts [][]*part     // by partition, in order of first appearance
	at    map[int32]int // place of a partition in parts
	size  int           // parts in all
}

// take adds p and what waits behind it.
func (x *round) take(p *part, lane <-chan *part) {
	for {
		x.add(p)
		select {
		case p = <-lane:
		default:
			return
		}
	}
}

// forget empties x; a lane may wait for long and shall not hold what it has sent.
func (x *round) forget() {
	clear(x.parts)
	clear(x.at)
	x.parts, x.size = x.parts[:0], 0
}

func (x *round) add(p *part) {
	i, ok := x.at[p.partition]
	if !ok {
		i = len(x.parts)
		x.at[p.partition] = i
		x.parts = append(x.parts, nil)
	}
	x.parts[i] = append(x.parts[i], p)
	x.size++
}

// publish sends parts of one partition in order; false when ctx ended before all
// were acknowledged.
func (l *Logic) publish(ctx context.Context, parts []*part) bool {
	for len(parts) > 0 {
		n, size := 1, parts[0].msg.Size()
		for n < len(parts) && size+parts[n].msg.Size() <= maxMessage {
			size += parts[n].msg.Size()
			n++
		}
		if !l.publishCall(ctx, parts[:n:n]) {
			return false
		}
		parts = parts[n:]
	}
	return true
}

// publishCall sends parts in one call and repeats the call until it succeeds, so
// that nothing overtakes it. Parts whose pushes were given up meanwhile are left
// out before the first attempt; after it, it is too late to give them up.
func (l *Logic) publishCall(ctx context.Context, parts []*part) bool {
	parts = l.flight.begin(parts)
	for wait := firstWait; len(parts) > 0; {
		msgs := make([]push.Message, len(parts)) // the queue may keep it
		for i, p := range parts {
			msgs[i] = p.msg
		}
		err := l.deps.Publisher.Publish(ctx, parts[0].partition, msgs)
		if err == nil {
			l.m.parts.Add(len(parts))
			l.flight.done(parts)
			return true
		}
		var large *push.TooLargeError
		if errors.As(err, &large) && large.Index >= 0 && large.Index < len(parts) {
			l.skip(parts, large)
			parts = parts[large.Index+1:]
			continue
		}
		if ctx.Err() != nil {
			return false
		}
		l.m.publishErrors.Inc()
		l.publishComplaint.warn(l.log, "write to the queue; pushes wait in the log", "partition", parts[0].partition, "err", err)
		if !pause(ctx, wait) {
			return false
		}
		wait = min(2*wait, lastWait)
	}
	return true
}

// skip ends the part that the queue will never take, and those in front of it,
// which are on the queue.
func (l *Logic) skip(parts []*part, large *push.TooLargeError) {
	l.log.Error("push refused by the queue", "id", parts[large.Index].msg.ID, "size", large.Size, "max", large.Max)
	l.m.parts.Add(large.Index)
	l.flight.done(parts[:large.Index])
	l.flight.refuse(parts[large.Index])
}
