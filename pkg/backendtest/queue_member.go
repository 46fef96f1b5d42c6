package backendtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// queuePatience is how long one step on a queue may take: a real Kafka on a busy
// machine forms its groups slowly.
const queuePatience = 60 * time.Second

// assigned is one call of run.
type assigned struct {
	push.Assignment
	ctx context.Context
}

// member consumes for a test. It is used by the test's goroutine only. A backend
// may end an assignment at any time (a slow machine misses heartbeats): a member
// then goes on with the next one, like job.
type member struct {
	t      testing.TB
	cancel context.CancelFunc
	calls  chan assigned // one per call of run
	done   chan error    // what Consume returned
	last   chan func()   // done by run before it returns, once

	current *assigned
	next    map[int32]int64 // offset behind the last record given out
	rest    map[int32][]push.Record
}

// join starts a member; it leaves at the end of the test at the latest.
func join(t testing.TB, src QueueSource) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{
		t: t, cancel: cancel, calls: make(chan assigned), done: make(chan error, 1), last: make(chan func(), 1),
		next: make(map[int32]int64), rest: make(map[int32][]push.Record),
	}
	go func() {
		m.done <- src.Consume(ctx, func(ctx context.Context, a push.Assignment) {
			select {
			case m.calls <- assigned{a, ctx}:
			case <-ctx.Done():
			}
			<-ctx.Done()
			select {
			case f := <-m.last:
				f()
			default:
			}
		})
	}()
	t.Cleanup(m.leave)
	return m
}

// assignment is the one that stands; it waits for the first.
func (m *member) assignment() *assigned {
	m.t.Helper()
	if m.current != nil && m.current.ctx.Err() == nil {
		return m.current
	}
	select {
	case a := <-m.calls:
		m.current, m.rest = &a, make(map[int32][]push.Record)
		return m.current
	case err := <-m.done:
		m.done <- err
		m.t.Fatalf("Consume returned: %v", err)
	case <-time.After(queuePatience):
		m.t.Fatalf("no assignment within %v", queuePatience)
	}
	return nil
}

// newer waits for an assignment behind generation.
func (m *member) newer(generation int32) *assigned {
	m.t.Helper()
	for {
		a := m.assignment()
		if a.Generation() > generation {
			return a
		}
		select {
		case <-a.ctx.Done():
		case <-time.After(queuePatience):
			m.t.Fatalf("generation %d has not ended within %v", a.Generation(), queuePatience)
		}
	}
}

// read returns the next n records of a partition.
func (m *member) read(partition int32, n int) []push.Record {
	m.t.Helper()
	var out []push.Record
	for len(out) < n {
		rest := m.rest[partition]
		if len(rest) == 0 {
			m.rest[partition] = m.readSome(partition)
			continue
		}
		k := min(len(rest), n-len(out))
		out = append(out, rest[:k]...)
		m.rest[partition] = rest[k:]
		m.next[partition] = rest[k-1].Offset + 1
	}
	return out
}

// readSome reads once, and leaves out what an earlier assignment has given.
func (m *member) readSome(partition int32) []push.Record {
	m.t.Helper()
	a := m.assignment()
	ctx, cancel := context.WithTimeout(a.ctx, queuePatience)
	defer cancel()
	recs, err := a.Read(ctx, partition)
	if err != nil && a.ctx.Err() == nil {
		m.t.Fatalf("read partition %d: %v", partition, err)
	}
	if err == nil && len(recs) == 0 {
		m.t.Fatalf("read partition %d: no records and no error", partition)
	}
	for i := 1; i < len(recs); i++ {
		if recs[i].Offset <= recs[i-1].Offset {
			m.t.Fatalf("offset %d behind offset %d", recs[i].Offset, recs[i-1].Offset)
		}
	}
	for len(recs) > 0 && recs[0].Offset < m.next[partition] {
		recs = recs[1:]
	}
	return recs
}

// commit stores next; the records in front of it were given out by read.
func (m *member) commit(partition int32, next int64) {
	m.t.Helper()
	for {
		a := m.assignment()
		err := a.Commit(a.ctx, map[int32]int64{partition: next})
		if err == nil {
			return
		}
		if a.ctx.Err() == nil {
			m.t.Fatalf("commit offset %d of partition %d: %v", next, partition, err)
		}
	}
}

// leave ends Consume and waits until it has returned.
func (m *member) leave() {
	m.t.Helper()
	m.cancel()
	select {
	case err := <-m.done:
		m.done <- err // leave may be called again
		if !errors.Is(err, context.Canceled) {
			m.t.Errorf("Consume returned %v, want context.Canceled", err)
		}
	case <-time.After(queuePatience):
		m.t.Errorf("Consume did not return within %v", queuePatience)
	}
}

// leaveAfter is leave, with f done by run when its ctx has ended.
func (m *member) leaveAfter(f func()) {
	m.t.Helper()
	m.last <- f
	m.leave()
}

// numbered makes n small messages that differ, and differ from those of another
// series.
func numbered(series, n int) []push.Message {
	msgs := make([]push.Message, n)
	for i := range msgs {
		msgs[i] = push.Message{
			ID: push.ID{Spool: uint64(series) + 1000, Index: uint64(i) + 1, Part: uint32(i % 3)},
			Op: int32(i), Accepted: int64(i) * 1000,
			Body: fmt.Appendf(nil, "message %d of series %d", i, series),
		}
		switch i % 3 {
		case 0:
			msgs[i].To = push.Target{Kind: push.Keys, Keys: []string{fmt.Sprintf("key-%d", i), "other"}, Node: "gw", Epoch: uint64(i)}
		case 1:
			msgs[i].To = push.Target{Kind: push.Room, Room: fmt.Sprintf("live://%d", i)}
		default:
			msgs[i].To = push.Target{Kind: push.All, Speed: int32(i)}
		}
	}
	return msgs
}

func publish(t testing.TB, pub QueuePublisher, partition int32, msgs ...push.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), queuePatience)
	defer cancel()
	if err := pub.Publish(ctx, partition, msgs); err != nil {
		t.Fatalf("publish %d messages to partition %d: %v", len(msgs), partition, err)
	}
}

// expect compares messages in full and in order. A body or list of length 0 is
// the same as none.
func expect(t testing.TB, got []push.Record, want []push.Message) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if g, w := plain(got[i].Message), plain(want[i]); !reflect.DeepEqual(g, w) {
			t.Fatalf("record %d of %d is\n%.500v, want\n%.500v", i, len(got), fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
		}
	}
}

func plain(m push.Message) push.Message {
	if len(m.Body) == 0 {
		m.Body = nil
	}
	if len(m.To.Keys) == 0 {
		m.To.Keys = nil
	}
	return m
}

// partitions are those of a, sorted.
func partitions(a push.Assignment) []int32 {
	ps := slices.Clone(a.Partitions())
	slices.Sort(ps)
	return ps
}
