package backendtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// QueuePublisher is logic.Publisher and QueueSource job.Source. They are written
// down again because the suites stand below the roles: a backend's test imports
// neither.
type (
	QueuePublisher interface {
		Partitions() int32
		Publish(ctx context.Context, partition int32, msgs []push.Message) error
	}
	QueueSource interface {
		Partitions() int32
		Consume(ctx context.Context, run func(ctx context.Context, a push.Assignment)) error
	}
)

// QueuePartitions is how many partitions the queues under test have.
const QueuePartitions = 4

// QueueMaxBytes is more than any of these tests has on the queue, and less than
// the message that is too large.
const QueueMaxBytes = 16 << 20

// Queue checks a queue against logic.Publisher, job.Source and push.Assignment.
// open makes a new, empty queue of QueuePartitions for one test and closes it with
// t.Cleanup; both ends are of the same queue.
func Queue(t *testing.T, open func(t testing.TB) (QueuePublisher, QueueSource)) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, pub QueuePublisher, src QueueSource)
	}{
		{"Order", queueOrder},
		{"RoundTrip", queueRoundTrip},
		{"Independent", queueIndependent},
		{"CommitThenRejoin", queueCommitThenRejoin},
		{"UncommittedAgain", queueUncommittedAgain},
		{"Generations", queueGenerations},
		{"AssignmentEnds", queueAssignmentEnds},
		{"ReadHonoursContext", queueReadHonoursContext},
		{"PublishHonoursContext", queuePublishHonoursContext},
		{"Large", queueLarge},
		{"TooLarge", queueTooLarge},
		{"ConcurrentPublishers", queueConcurrentPublishers},
		{"BadPartition", queueBadPartition},
	} {
		t.Run(c.name, func(t *testing.T) {
			pub, src := open(t)
			c.run(t, pub, src)
		})
	}
}

func queueOrder(t *testing.T, pub QueuePublisher, src QueueSource) {
	if pub.Partitions() != QueuePartitions || src.Partitions() != QueuePartitions {
		t.Fatalf("partitions: %d to publish, %d to consume, want %d", pub.Partitions(), src.Partitions(), QueuePartitions)
	}
	msgs := numbered(1, 5000)
	for done, n := 0, 1; done < len(msgs); n = n*3%101 + 1 { // calls of 1 to 101 messages
		end := min(done+n, len(msgs))
		publish(t, pub, 1, msgs[done:end]...)
		done = end
	}
	expect(t, join(t, src).read(1, len(msgs)), msgs)
}

// queueRoundTrip: every field arrives as it was, of every kind that travels.
func queueRoundTrip(t *testing.T, pub QueuePublisher, src QueueSource) {
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d-ключ", i)
	}
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	full := push.Message{
		ID: push.ID{Spool: 1<<63 - 1, Index: 1<<64 - 1, Part: 1<<32 - 1}, App: "shop", Op: -1 << 31,
		To:   push.Target{Kind: push.Keys, Keys: keys, Node: "gw-1:3109", Epoch: 1<<64 - 2},
		Body: bytes, Pos: push.Position{Epoch: 1<<64 - 3, Offset: 1<<64 - 4},
		Accepted: 1<<63 - 1, Expire: 1<<63 - 2, ReceiptTo: "10.0.0.1:3119",
	}
	room, all, negative := full, full, full
	room.To = push.Target{Kind: push.Room, Room: "live://комната"}
	all.To = push.Target{Kind: push.All, Speed: -5}
	negative.Accepted, negative.Expire = -1, -1<<63
	msgs := []push.Message{
		full, room, all, negative,
		{ID: push.ID{Spool: 1, Index: 1}, To: push.Target{Kind: push.Keys, Keys: []string{"k"}, Node: "n"}},
		{ID: push.ID{Spool: 1, Index: 2}, To: push.Target{Kind: push.Room, Room: "a://1"}, Body: []byte{}},
		{ID: push.ID{Spool: 1, Index: 3}, To: push.Target{Kind: push.All}, Body: []byte{0}},
		{ID: push.ID{Spool: 1, Index: 4}, To: push.Target{Kind: push.Keys, Keys: []string{"", "b", ""}}},
	}
	publish(t, pub, 3, msgs...)
	expect(t, join(t, src).read(3, len(msgs)), msgs)
}

// queueIndependent: a partition is read while nobody reads another one, and while
// a Read of an empty one blocks.
func queueIndependent(t *testing.T, pub QueuePublisher, src QueueSource) {
	m := join(t, src)
	a := m.assignment()
	ctx, cancel := context.WithCancel(a.ctx)
	blocked := make(chan error, 1)
	go func() {
		recs, err := a.Read(ctx, 0)
		if err == nil {
			err = fmt.Errorf("got %d records of a partition that is empty", len(recs))
		}
		blocked <- err
	}()
	one, two := numbered(1, 200), numbered(2, 100)
	publish(t, pub, 1, one...)
	publish(t, pub, 2, two...)
	expect(t, m.read(2, len(two)), two)
	expect(t, m.read(1, len(one)), one)
	more := numbered(3, 1)
	publish(t, pub, 2, more...)
	expect(t, m.read(2, 1), more)
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Fatalf("Read of the empty partition: %v, want context.Canceled", err)
	}
}

func queueCommitThenRejoin(t *testing.T, pub QueuePublisher, src QueueSource) {
	msgs, other := numbered(1, 300), numbered(2, 10)
	publish(t, pub, 1, msgs...)
	publish(t, pub, 2, other...)
	m := join(t, src)
	recs := m.read(1, 250)
	m.commit(1, recs[119].Offset+1)
	m.leave()

	m = join(t, src)
	recs = m.read(1, 180)
	expect(t, recs, msgs[120:])
	expect(t, m.read(2, 10), other) // of which nothing was committed
	m.commit(1, recs[179].Offset+1)
	m.leave()

	m = join(t, src)
	last := numbered(3, 1)
	publish(t, pub, 1, last...)
	expect(t, m.read(1, 1), last)
}

func queueUncommittedAgain(t *testing.T, pub QueuePublisher, src QueueSource) {
	msgs := numbered(1, 50)
	publish(t, pub, 3, msgs...)
	for range 3 {
		m := join(t, src)
		expect(t, m.read(3, 50), msgs)
		m.leave()
	}
}

func queueGenerations(t *testing.T, _ QueuePublisher, src QueueSource) {
	var last int32
	for range 3 {
		m := join(t, src)
		a := m.assignment()
		if g := a.Generation(); g <= last {
			t.Fatalf("generation %d after %d", g, last)
		} else {
			last = g
		}
		if !reflect.DeepEqual(partitions(a), []int32{0, 1, 2, 3}) {
			t.Fatalf("partitions of the only member: %v", a.Partitions())
		}
		m.leave()
	}
}

// queueAssignmentEnds: when Consume is told to end, run's ctx ends, a Read under a
// ctx of its own returns, and what was delivered can still be committed before run
// returns, and not behind that.
func queueAssignmentEnds(t *testing.T, pub QueuePublisher, src QueueSource) {
	msgs := numbered(1, 2)
	publish(t, pub, 1, msgs...)
	m := join(t, src)
	recs := m.read(1, 2)
	a := m.assignment()
	ended := make(chan error, 1)
	go func() {
		_, err := a.Read(context.Background(), 2)
		ended <- err
	}()
	late := make(chan error, 1)
	m.leaveAfter(func() { late <- a.Commit(context.Background(), map[int32]int64{1: recs[0].Offset + 1}) })
	if err := <-late; err != nil {
		t.Fatalf("Commit after the end of ctx and before run has returned: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("Read at the end of the assignment: %v, want context.Canceled", err)
	}
	if err := a.Commit(context.Background(), map[int32]int64{1: recs[1].Offset + 1}); err == nil {
		t.Fatal("Commit after run has returned is accepted")
	}
	expect(t, join(t, src).read(1, 1), msgs[1:])
}

// queueReadHonoursContext: a Read that was given up has taken nothing with it.
func queueReadHonoursContext(t *testing.T, pub QueuePublisher, src QueueSource) {
	m := join(t, src)
	for i := range 3 {
		a := m.assignment()
		ctx, cancel := context.WithCancel(a.ctx)
		got := make(chan error, 1)
		go func() {
			_, err := a.Read(ctx, 1)
			got <- err
		}()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled Read: %v, want context.Canceled", err)
		}
		short, cancel := context.WithTimeout(a.ctx, 50*time.Millisecond)
		if _, err := a.Read(short, 1); a.ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Read beyond its deadline: %v, want context.DeadlineExceeded", err)
		}
		cancel()
		msgs := numbered(i, 2)
		publish(t, pub, 1, msgs...)
		expect(t, m.read(1, 2), msgs)
	}
}

func queuePublishHonoursContext(t *testing.T, pub QueuePublisher, src QueueSource) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := pub.Publish(ctx, 1, numbered(1, 10)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Publish with a cancelled ctx: %v, want context.Canceled", err)
	}
	publish(t, pub, 1) // nothing at all is fine
	msgs := numbered(2, 3)
	publish(t, pub, 1, msgs...)
	expect(t, join(t, src).read(1, 3), msgs)
}

func queueLarge(t *testing.T, pub QueuePublisher, src QueueSource) {
	msgs := numbered(1, 9)
	for _, i := range []int{0, 4, 5, 8} {
		msgs[i].Body = []byte(strings.Repeat(string(rune('a'+i)), 900<<10))
	}
	publish(t, pub, 2, msgs...)
	expect(t, join(t, src).read(2, len(msgs)), msgs)
}

// queueTooLarge: the error names the message; those in front of it are on the
// queue, those behind it are not, and the caller goes on there.
func queueTooLarge(t *testing.T, pub QueuePublisher, src QueueSource) {
	msgs := numbered(1, 5)
	msgs[2].Body = make([]byte, 2*QueueMaxBytes)
	err := pub.Publish(context.Background(), 1, msgs)
	var large *push.TooLargeError
	if !errors.As(err, &large) || large.Index != 2 || large.Size < 2*QueueMaxBytes {
		t.Fatalf("Publish of a message that is too large: %v, want a TooLargeError of number 2", err)
	}
	publish(t, pub, 1, msgs[3:]...)
	expect(t, join(t, src).read(1, 4), append(msgs[:2:2], msgs[3:]...))
}

func queueConcurrentPublishers(t *testing.T, pub QueuePublisher, src QueueSource) {
	const each = 1000
	m := join(t, src)
	m.assignment()
	var wg sync.WaitGroup
	for p := range int32(QueuePartitions) {
		wg.Go(func() {
			msgs := numbered(int(p), each)
			for i := 0; i < each; i += 20 {
				if err := pub.Publish(context.Background(), p, msgs[i:i+20]); err != nil {
					t.Errorf("publish to partition %d: %v", p, err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	for p := range int32(QueuePartitions) {
		expect(t, m.read(p, each), numbered(int(p), each))
	}
}

func queueBadPartition(t *testing.T, pub QueuePublisher, src QueueSource) {
	for _, p := range []int32{-1, QueuePartitions} {
		if err := pub.Publish(context.Background(), p, numbered(1, 1)); err == nil {
			t.Errorf("Publish to partition %d of %d is accepted", p, QueuePartitions)
		}
	}
	m := join(t, src)
	if _, err := m.assignment().Read(context.Background(), QueuePartitions); err == nil {
		t.Errorf("Read of partition %d of %d is accepted", QueuePartitions, QueuePartitions)
	}
	if err := m.assignment().Commit(context.Background(), map[int32]int64{QueuePartitions: 0}); err == nil {
		t.Errorf("Commit of partition %d of %d is accepted", QueuePartitions, QueuePartitions)
	}
}
