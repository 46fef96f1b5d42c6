package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"

	"github.com/halley-im/halley/pkg/push"
)

// assignment is what a member has of the topic for one generation of its group. It
// is a push.Assignment.
type assignment struct {
	// Static after construction.
	ctx        context.Context // ends with the generation
	end        func()          // ends the generation early
	member     *membership
	generation *kafka.Generation
	ids        []int32
	partitions map[int32]*partition
	closed     chan struct{} // closed when run has returned

	mu sync.Mutex // guards places of the partitions
}

func newAssignment(ctx context.Context, end func(), m *membership, gen *kafka.Generation) *assignment {
	a := &assignment{
		ctx: ctx, end: end, member: m, generation: gen,
		partitions: make(map[int32]*partition), closed: make(chan struct{}),
	}
	topic := m.queue.cfg.Topic
	for _, p := range gen.Assignments[topic] {
		id := int32(p.ID)
		a.ids = append(a.ids, id)
		a.partitions[id] = &partition{
			assignment: a, id: id, foreign: foreignSpool(topic, id),
			place: place{next: p.Offset, given: p.Offset, committed: p.Offset},
		}
	}
	slices.Sort(a.ids)
	return a
}

// close is called when run has returned, and so no Read is under way.
func (a *assignment) close() {
	close(a.closed)
	for _, p := range a.partitions {
		p.disconnect()
	}
}

// Generation is the consumer group's. It starts anew if Kafka forgets the group,
// which it does when all members have been away for offsets.retention.minutes.
func (a *assignment) Generation() int32 { return a.generation.ID }

// Partitions are in ascending order.
func (a *assignment) Partitions() []int32 { return slices.Clone(a.ids) }

// Read returns what one fetch brings; see push.Assignment. Faults are retried, with
// a warning. After the end of the generation it returns context.Canceled.
func (a *assignment) Read(ctx context.Context, id int32) ([]push.Record, error) {
	p := a.partitions[id]
	if p == nil {
		return nil, fmt.Errorf("read partition %d of %s: it is not assigned", id, a.topic())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	for wait := backoff(0); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		recs, err := p.fetch(ctx)
		if errors.Is(err, kafka.OffsetOutOfRange) {
			err = p.outOfRange(ctx)
		}
		switch {
		case len(recs) > 0:
			return recs, nil
		case err == nil:
			wait = 0
			continue
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		a.member.queue.count.readErrors.Inc()
		a.member.queue.warnings.warn(a.member.queue.log, "reading a partition, trying again", "partition", id, "err", err)
		wait = wait.next()
		wait.sleep(ctx)
	}
}

func (a *assignment) topic() string { return a.member.queue.cfg.Topic }

// Commit stores offsets in Kafka; see push.Assignment. It is to be called by one
// goroutine. It takes up to GroupTimeout, ctx or not, and works until run has
// returned, also when the generation has ended; whether Kafka then takes it depends
// on how far the others are.
func (a *assignment) Commit(ctx context.Context, next map[int32]int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit to %s: %w", a.topic(), err)
	}
	offsets := make(map[int]int64, len(next))
	a.mu.Lock()
	for id, offset := range next {
		p := a.partitions[id]
		if p == nil {
			a.mu.Unlock()
			return fmt.Errorf("commit partition %d of %s: it is not assigned", id, a.topic())
		}
		if offset > p.given {
			a.mu.Unlock()
			return fmt.Errorf("commit offset %d of partition %d of %s: read so far is %d", offset, id, a.topic(), p.given)
		}
		if offset == p.given {
			offset = p.next // what lies between was skipped
		}
		if offset > p.committed {
			offsets[int(id)] = offset
		}
	}
	a.mu.Unlock()
	return a.store(offsets)
}

// store sends offsets to the group's coordinator.
func (a *assignment) store(offsets map[int]int64) error {
	if len(offsets) == 0 {
		return nil
	}
	select {
	case <-a.closed:
		return fmt.Errorf("commit to %s: generation %d has ended", a.topic(), a.generation.ID)
	default:
	}
	if err := a.generation.CommitOffsets(map[string]map[int]int64{a.topic(): offsets}); err != nil {
		return fmt.Errorf("commit to %s in generation %d: %w", a.topic(), a.generation.ID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, offset := range offsets {
		p := a.partitions[int32(id)]
		p.committed = max(p.committed, offset)
	}
	return nil
}
