package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/halley-im/halley/pkg/push"
)

// testQueue is a Source: logs that assignments read from the committed offset on.
type testQueue struct {
	mu        sync.Mutex
	logs      [][]push.Record
	committed []int64
	served    []int64 // offset behind the last record a Read returned, ever
	changed   chan struct{}
	gen       int32
	end       context.CancelFunc // of the present assignment
	perRead   int                // records a Read returns at most
	commitErr error
	commits   int
	hold      chan struct{} // if not nil, the next assignment waits for it
}

func newTestQueue(partitions int32) *testQueue {
	return &testQueue{
		logs:      make([][]push.Record, partitions),
		committed: make([]int64, partitions),
		served:    make([]int64, partitions),
		changed:   make(chan struct{}),
		perRead:   100,
	}
}

func (q *testQueue) Partitions() int32 { return int32(len(q.logs)) }

func (q *testQueue) Consume(ctx context.Context, run func(context.Context, push.Assignment)) error {
	for ctx.Err() == nil {
		q.mu.Lock()
		hold := q.hold
		q.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				continue
			}
		}
		actx, cancel := context.WithCancel(ctx)
		q.mu.Lock()
		q.gen++
		q.end = cancel
		a := &testAssignment{q: q, gen: q.gen, next: slices.Clone(q.committed)}
		q.mu.Unlock()
		run(actx, a)
		cancel()
		q.mu.Lock()
		a.over = true
		q.mu.Unlock()
	}
	return ctx.Err()
}

// reassign ends the present assignment; the next one begins when it has returned.
func (q *testQueue) reassign() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		q.end()
	}
}

// publish appends one message and returns its offset.
func (q *testQueue) publish(p int32, m push.Message) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	off := int64(len(q.logs[p]))
	m.ID = push.ID{Spool: 1, Index: uint64(off + 1)}
	q.logs[p] = append(q.logs[p], push.Record{Message: m, Offset: off})
	close(q.changed)
	q.changed = make(chan struct{})
	return off
}

func (q *testQueue) committedOf(p int32) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.committed[p]
}

func (q *testQueue) servedOf(p int32) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.served[p]
}

func (q *testQueue) commitCount() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.commits
}

func (q *testQueue) generation() int32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gen
}

// waiting is how many records are not committed.
func (q *testQueue) waiting() (n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.logs {
		n += int64(len(q.logs[p])) - q.committed[p]
	}
	return n
}

// done says that everything published is committed.
func (q *testQueue) done() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.logs {
		if q.committed[p] != int64(len(q.logs[p])) {
			return false
		}
	}
	return true
}

type testAssignment struct {
	q    *testQueue
	gen  int32
	next []int64
	over bool
}

func (a *testAssignment) Generation() int32 { return a.gen }

func (a *testAssignment) Partitions() (out []int32) {
	for p := range a.q.logs {
		out = append(out, int32(p))
	}
	return out
}

func (a *testAssignment) Read(ctx context.Context, p int32) ([]push.Record, error) {
	for {
		a.q.mu.Lock()
		recs := a.q.logs[p][a.next[p]:]
		if len(recs) > 0 && ctx.Err() == nil {
			recs = slices.Clone(recs[:min(len(recs), a.q.perRead)])
			a.next[p] += int64(len(recs))
			a.q.served[p] = max(a.q.served[p], a.next[p])
			a.q.mu.Unlock()
			return recs, nil
		}
		changed := a.q.changed
		a.q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (a *testAssignment) Commit(ctx context.Context, next map[int32]int64) error {
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	if err := errors.Join(ctx.Err(), a.q.commitErr); err != nil {
		return err
	}
	if a.over {
		return errors.New("commit after the end of the assignment")
	}
	a.q.commits++
	for p, off := range next {
		if off < a.q.committed[p] {
			panic(fmt.Sprintf("commit of partition %d goes back from %d to %d", p, a.q.committed[p], off))
		}
		a.q.committed[p] = off
	}
	return nil
}
