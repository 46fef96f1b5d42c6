package kafka

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// TestRecordForm reads with a plain client what Publish wrote: goim's key, the
// message as the value, no headers, exactly the partition that was asked for.
func TestRecordForm(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	q := openQueue(t, cfg)
	msgs := []push.Message{
		{Op: 4, To: push.Target{Kind: push.Keys, Keys: []string{"key-b", "key-a"}, Node: "gw"}, Body: []byte("x")},
		{Op: 5, To: push.Target{Kind: push.Room, Room: "live://1000"}, Body: []byte("y")},
		{Op: -1009, To: push.Target{Kind: push.All, Speed: 7}, Body: []byte("z")},
		{Op: 6, To: push.Target{Kind: push.Keys}, Body: []byte("nobody")},
	}
	keys := [][]byte{[]byte("key-b"), []byte("live://1000"), []byte("-1009"), nil}
	if err := q.Publish(context.Background(), 2, msgs); err != nil {
		t.Fatal(err)
	}
	conn, err := kafka.DialLeader(context.Background(), "tcp", cfg.Brokers[0], cfg.Topic, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	for i := range msgs {
		m, err := conn.ReadMessage(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Key, keys[i]) || (m.Key == nil) != (keys[i] == nil) || len(m.Headers) != 0 {
			t.Errorf("message %d: key %q, headers %v; want key %q and no headers", i, m.Key, m.Headers, keys[i])
		}
		if want := push.AppendMessage(nil, &msgs[i]); !bytes.Equal(m.Value, want) {
			t.Errorf("message %d: value %x, want %x", i, m.Value, want)
		}
	}
	if got := q.count.published.Get(); got != uint64(len(msgs)) {
		t.Errorf("published_total = %d, want %d", got, len(msgs))
	}
}

// TestBatchFill: what is cut into requests comes out whole and in order, no request
// is larger than its bound unless a single record is, and none is empty.
func TestBatchFill(t *testing.T) {
	f := func(sizes ...int) {
		t.Helper()
		msgs := messages(len(sizes))
		for i, n := range sizes {
			msgs[i].Body = []byte(strings.Repeat("x", n))
		}
		var b batch
		done := 0
		for done < len(msgs) {
			n := b.fill(msgs[done:], 10<<20)
			if n == 0 {
				t.Fatalf("%v: message %d does not fit into any request", sizes, done)
			}
			size := 0
			r := &batchReader{batch: &b, end: n}
			for i := range n {
				m, key, bytes := nextRecord(t, r)
				if m.ID != msgs[done+i].ID || len(m.Body) != sizes[done+i] || key != "live://1" {
					t.Fatalf("%v: record %d is %v, key %q", sizes, done+i, m.ID, key)
				}
				size += bytes
			}
			if _, err := r.ReadRecord(); !errors.Is(err, io.EOF) {
				t.Fatalf("%v: behind the last record: %v", sizes, err)
			}
			if n > 1 && size > maxRequest+recordOverhead {
				t.Fatalf("%v: a request of %d messages has %d bytes", sizes, n, size)
			}
			done += n
		}
	}
	f(0)
	f(1, 2, 3)
	f(maxRequest)
	f(maxRequest, maxRequest, 1)
	f(1, maxRequest, 1)
	f(300<<10, 300<<10, 300<<10, 300<<10, 300<<10)
	f(make([]int, 20_000)...)

	var b batch
	if n := b.fill([]push.Message{{Body: make([]byte, 2000)}}, 2000); n != 0 || b.refused < 2000 {
		t.Errorf("a message that is too large: %d messages filled, refused %d bytes", n, b.refused)
	}
	if n := b.fill([]push.Message{{}, {Body: make([]byte, 2000)}, {}}, 2000); n != 1 {
		t.Errorf("in front of one that is too large: %d messages filled, want 1", n)
	}
}

// nextRecord parses what kafka-go would read, and says what it takes in a request.
func nextRecord(t *testing.T, r *batchReader) (m push.Message, key string, bytes int) {
	t.Helper()
	rec, err := r.ReadRecord()
	if err != nil {
		t.Fatal(err)
	}
	v, err := kafka.ReadAll(rec.Value)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kafka.ReadAll(rec.Key)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = push.ParseMessage(v); err != nil {
		t.Fatal(err)
	}
	return m, string(k), len(k) + len(v) + recordOverhead
}

// TestBrokerLimit: a topic whose own limit is smaller than ours. Requests that are
// refused are sent in halves, down to a single message, which is then named.
func TestBrokerLimit(t *testing.T) {
	testkit.LeakCheck(t)
	cfg := testConfig(t)
	createTopic(t, cfg, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "20000"})
	q := openQueue(t, cfg)
	all := messages(110)
	msgs, more := all[:100:100], all[100:]
	for i := range msgs {
		msgs[i].Body = bytes.Repeat([]byte{byte(i)}, 1000)
	}
	if err := q.Publish(context.Background(), 1, msgs); err != nil {
		t.Fatal(err)
	}
	more[6].Body = make([]byte, 50_000)
	err := q.Publish(context.Background(), 1, more)
	var large *push.TooLargeError
	if !errors.As(err, &large) || large.Index != 6 || large.Size < 50_000 {
		t.Fatalf("Publish: %v, want a TooLargeError of number 6", err)
	}
	r, _ := startReading(t, q)
	recs := r.wait(t, 106)
	for i, want := range append(msgs, more[:6]...) {
		if recs[i].ID != want.ID || !bytes.Equal(recs[i].Body, want.Body) {
			t.Fatalf("record %d is %v, want %v", i, recs[i].ID, want.ID)
		}
	}
}

// createTopic makes cfg's topic beside the package.
func createTopic(t testing.TB, cfg Config, entries ...kafka.ConfigEntry) {
	t.Helper()
	client, done := admin(cfg)
	defer done()
	res, err := client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: cfg.Topic, NumPartitions: int(cfg.Partitions), ReplicationFactor: 1, ConfigEntries: entries,
	}}})
	if err == nil {
		err = res.Errors[cfg.Topic]
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	testkit.LeakCheck(t)

	// The number of partitions of a topic that exists counts, not ours; and two
	// that create it at the same time both get it.
	cfg := testConfig(t)
	cfg.Partitions = 7
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			q, err := Open(context.Background(), cfg, logger(t), newSet())
			if err != nil || q.Partitions() != 7 {
				t.Errorf("Open: %v; want 7 partitions", err)
				return
			}
			q.Close()
		})
	}
	wg.Wait()
	cfg.Partitions = 3
	if q := openQueue(t, cfg); q.Partitions() != 7 {
		t.Errorf("%d partitions of the topic that existed, want 7", q.Partitions())
	}

	// What cannot succeed is not tried until ctx ends.
	cfg = testConfig(t)
	cfg.Replication = 50
	_, err := Open(context.Background(), cfg, logger(t), newSet())
	if !errors.Is(err, kafka.InvalidReplicationFactor) || !strings.Contains(err.Error(), "replication 50") {
		t.Errorf("Open with replication 50: %v", err)
	}
	cfg.Brokers = nil
	if _, err := Open(context.Background(), cfg, logger(t), newSet()); err == nil || !strings.Contains(err.Error(), "kafka.brokers") {
		t.Errorf("Open without brokers: %v", err)
	}
}

// TestOpenUnreachable: Open waits for brokers until ctx ends, and then says both
// that and what was wrong.
func TestOpenUnreachable(t *testing.T) {
	testkit.LeakCheck(t)
	f := func(down, hung bool, want string) {
		t.Helper()
		cfg := Default()
		cfg.Brokers = []string{"127.0.0.1:1"}
		broken := &faults{down: down, hung: hung}
		cfg.dial = broken.dial
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		_, err := Open(ctx, cfg, logger(t), newSet())
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want it to wrap context.DeadlineExceeded and say %q", err, want)
		}
	}
	f(true, false, "connection refused by the test")
	f(false, true, "goim-push-topic")
}

// TestPublishUnreachable: brokers that refuse, and ones that never answer. Publish
// returns an error, by ctx or, without a deadline there, by RequestTimeout.
func TestPublishUnreachable(t *testing.T) {
	testkit.LeakCheck(t)
	f := func(down, hung bool, timeout time.Duration) {
		t.Helper()
		cfg := Default()
		cfg.Brokers = []string{"127.0.0.1:1"}
		cfg.DialTimeout, cfg.RequestTimeout = 200*time.Millisecond, 400*time.Millisecond
		broken := &faults{down: down, hung: hung}
		cfg.dial = broken.dial
		q := newQueue(cfg, logger(t), newSet())
		defer q.Close()
		q.partitions = 1
		ctx := context.Background()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		returned := make(chan error, 1)
		go func() { returned <- q.Publish(ctx, 0, messages(3)) }()
		select {
		case err := <-returned:
			if err == nil {
				t.Errorf("down=%v hung=%v: Publish says it succeeded", down, hung)
			}
			var large *push.TooLargeError
			if errors.As(err, &large) {
				t.Errorf("down=%v hung=%v: Publish blames the message: %v", down, hung, err)
			}
			if down && !strings.Contains(err.Error(), "connection refused by the test") {
				t.Errorf("Publish: %v; want it to say that the connection is refused", err)
			}
			if hung && timeout > 0 && timeout < cfg.DialTimeout && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Publish: %v, want context.DeadlineExceeded", err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("down=%v hung=%v timeout=%v: Publish does not return", down, hung, timeout)
		}
	}
	f(true, false, 0)
	f(true, false, 100*time.Millisecond)
	f(false, true, 0)
	f(false, true, 100*time.Millisecond)
}

func TestPermanent(t *testing.T) {
	f := func(err error, want bool) {
		t.Helper()
		if got := permanent(err); got != want {
			t.Errorf("permanent(%v) = %v", err, got)
		}
	}
	f(kafka.TopicAuthorizationFailed, true)
	f(kafka.InvalidTopic, true)
	f(kafka.NotLeaderForPartition, false)
	f(kafka.NotEnoughReplicas, false)
	f(kafka.BrokerNotAvailable, false)
	f(kafka.Unknown, false)
	f(io.ErrUnexpectedEOF, false)
	f(errors.New("topic not found"), false)
}

// TestForeignSpool pins the numbers: gateways remember identities made of them.
func TestForeignSpool(t *testing.T) {
	f := func(topic string, partition int32, want string) {
		t.Helper()
		if got := strconv.FormatUint(foreignSpool(topic, partition), 16); got != want {
			t.Errorf("foreignSpool(%q, %d) = %s, want %s", topic, partition, got, want)
		}
	}
	f("goim-push-topic", 0, "e5ac73c6dcc8ea06")
	f("goim-push-topic", 1, "e5ac74c6dcc8ebb9")
	f("goim-push-topic1", 0, "8ace1be8df9f6e6d")
}
