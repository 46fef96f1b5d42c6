package logic

import (
	"context"
	"errors"

	"github.com/halley-im/halley/pkg/push"
)

// produce publishes what comes through one lane until ctx ends. Everything that
// waits there is taken together and goes out in one call per partition and
// maxMessage bytes, in the order it came: calls grow by themselves when the queue
// is slow, while a lone part leaves at once.
func (l *Logic) produce(ctx context.Context, lane <-chan *part) {
	var byPartition [][]*part // by order of first appearance
	at := map[int32]int{}     // place of a partition in it
	for {
		var p *part
		select {
		case p = <-lane:
		case <-ctx.Done():
			return
		}
		clear(at)
		byPartition = byPartition[:0]
		for more := true; more; {
			i, ok := at[p.partition]
			if !ok {
				i = len(byPartition)
				at[p.partition] = i
				byPartition = append(byPartition, nil)
			}
			byPartition[i] = append(byPartition[i], p)
			select {
			case p = <-lane:
			default:
				more = false
			}
		}
		for _, parts := range byPartition {
			if !l.publish(ctx, parts) {
				return
			}
		}
		clear(byPartition)
	}
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
