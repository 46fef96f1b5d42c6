package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// maxQueueRead bounds what one Read returns, in records: about 250 KB of
	// structs. Readers ask again at once.
	maxQueueRead = 1024
	// queueStep is how much of one Publish enters the queue at a time, in bytes, so
	// that a call larger than the bound goes through it piece by piece.
	queueStep = 256 << 10
)

// errAssignmentOver is what Commit answers to an assignment that has ended.
var errAssignmentOver = errors.New("the assignment has ended")

// Queue is the queue between logic and job in one process: a logic.Publisher and a
// job.Source. Each partition is a log that is cut off at the committed offset.
//
// It is bounded in bytes over all partitions: Publish waits while it is full, so
// that a job that does not get on is felt by the pump, and behind the spool's bound
// by the callers of the REST API. Nothing is dropped.
//
// All methods may be called concurrently. Messages are passed on as they are: what
// they refer to must not be changed after Publish.
type Queue struct {
	// Static after construction.
	logs     []*queueLog
	space    *space
	consumer chan struct{} // holds one token; whoever has it may Consume

	generation atomic.Int32 // of the assignment that stands or stood last
}

// NewQueue makes an empty queue. partitions is at least 1; maxBytes, by
// push.Message.Size, bounds what is published and not committed, and is also what
// the largest message may take.
func NewQueue(partitions int32, maxBytes int64) *Queue {
	if partitions < 1 || maxBytes < 1 {
		panic(fmt.Sprintf("BUG: NewQueue(%d, %d): both must be at least 1", partitions, maxBytes))
	}
	q := &Queue{space: &space{free: maxBytes, total: maxBytes}, consumer: make(chan struct{}, 1)}
	for range partitions {
		q.logs = append(q.logs, new(queueLog))
	}
	return q
}

// Partitions is how many the queue has.
func (q *Queue) Partitions() int32 { return int32(len(q.logs)) }

// Depth is how many messages, and how many bytes by push.Message.Size, are
// published and not committed. The two are not read at the same instant.
func (q *Queue) Depth() (messages int, bytes int64) {
	for _, l := range q.logs {
		messages += l.depth()
	}
	return messages, q.space.used()
}

// Publish appends msgs to the partition in order; see logic.Publisher. It waits
// while the queue is full. The error is ctx's, and those in front of where it
// stopped are on the queue then, or a *push.TooLargeError.
func (q *Queue) Publish(ctx context.Context, partition int32, msgs []push.Message) error {
	if partition < 0 || partition >= q.Partitions() {
		return fmt.Errorf("publish to partition %d: want 0 to %d", partition, q.Partitions()-1)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish to partition %d: %w", partition, err)
	}
	for done := 0; done < len(msgs); {
		n, size := q.step(msgs[done:])
		if n == 0 {
			return &push.TooLargeError{Index: done, Size: msgs[done].Size(), Max: int(q.space.total)}
		}
		if err := q.space.take(ctx, size); err != nil {
			return fmt.Errorf("publish to partition %d: the queue is full: %w", partition, err)
		}
		q.logs[partition].append(msgs[done : done+n])
		done += n
	}
	return nil
}

// step is how many of msgs enter the queue next, and their bytes: at least one, if
// that fits into the queue at all.
func (q *Queue) step(msgs []push.Message) (n int, size int64) {
	for i := range msgs {
		s := int64(msgs[i].Size())
		if s > q.space.total || n > 0 && size+s > min(queueStep, q.space.total) {
			break
		}
		n, size = n+1, size+s
	}
	return n, size
}

// Consume hands all partitions to run; see job.Source. One call at a time does so:
// another one waits until the first has returned, like a standby. When run returns
// before ctx ends, it is called again with the next assignment.
func (q *Queue) Consume(ctx context.Context, run func(ctx context.Context, a push.Assignment)) error {
	select {
	case q.consumer <- struct{}{}:
		defer func() { <-q.consumer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for ctx.Err() == nil {
		q.assign(ctx, run)
	}
	return ctx.Err()
}

func (q *Queue) assign(ctx context.Context, run func(ctx context.Context, a push.Assignment)) {
	ctx, cancel := context.WithCancel(ctx)
	a := &assignment{queue: q, ctx: ctx, generation: q.generation.Add(1), next: make([]int64, len(q.logs))}
	for i, l := range q.logs {
		a.next[i] = l.start()
	}
	defer func() {
		cancel()
		a.end()
	}()
	run(ctx, a)
}

// assignment is all partitions for as long as one run lasts. It is a
// push.Assignment.
type assignment struct {
	// Static after construction.
	queue      *Queue
	ctx        context.Context
	generation int32

	// Element p is owned by the goroutine that reads partition p.
	next []int64 // offset to read next

	mu    sync.Mutex // guards below, and is held while a commit is done
	ended bool
}

// Generation counts the assignments of the queue from 1.
func (a *assignment) Generation() int32 { return a.generation }

// Partitions are all of the queue's.
func (a *assignment) Partitions() []int32 {
	out := make([]int32, a.queue.Partitions())
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// Read returns what is there, at most maxQueueRead records; see push.Assignment.
// After the end of the assignment it returns context.Canceled.
func (a *assignment) Read(ctx context.Context, partition int32) ([]push.Record, error) {
	if partition < 0 || int(partition) >= len(a.next) {
		return nil, fmt.Errorf("read partition %d: want 0 to %d", partition, len(a.next)-1)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := a.ctx.Err(); err != nil {
			return nil, err
		}
		recs, arrived := a.queue.logs[partition].read(a.next[partition])
		if len(recs) > 0 {
			a.next[partition] = recs[len(recs)-1].Offset + 1
			return recs, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
		case <-a.ctx.Done():
		}
	}
}

// Commit cuts the partitions off; see push.Assignment. It does not block. After
// run has returned it is refused: the records may be another assignment's then.
func (a *assignment) Commit(_ context.Context, next map[int32]int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errAssignmentOver
	}
	var freed int64
	defer func() { a.queue.space.give(freed) }()
	for p, offset := range next {
		if p < 0 || int(p) >= len(a.next) {
			return fmt.Errorf("commit partition %d: want 0 to %d", p, len(a.next)-1)
		}
		n, err := a.queue.logs[p].trim(offset)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		freed += n
	}
	return nil
}

func (a *assignment) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}
