package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/segmentio/kafka-go"

	"github.com/halley-im/halley/pkg/backendtest"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// testConfig is a topic and a group that nobody else uses, on the real Kafka. They
// are deleted at the end of the test.
func testConfig(t testing.TB) Config {
	t.Helper()
	cfg := Default()
	cfg.Brokers = []string{testkit.Kafka(t)}
	cfg.Topic = "halley-test-" + rand.Text()
	cfg.Group = cfg.Topic
	cfg.Partitions = backendtest.QueuePartitions
	t.Cleanup(func() { deleteTopic(t, cfg) })
	return cfg
}

// admin is a plain client, for what is beside or against the package. done closes it.
func admin(cfg Config) (client *kafka.Client, done func()) {
	transport := &kafka.Transport{MetadataTopics: []string{cfg.Topic}}
	return &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Timeout: 30 * time.Second, Transport: transport}, transport.CloseIdleConnections
}

func deleteTopic(t testing.TB, cfg Config) {
	client, done := admin(cfg)
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{cfg.Group}}); err != nil {
		t.Errorf("delete group %s: %v", cfg.Group, err)
	}
	res, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{cfg.Topic}})
	if err == nil {
		err = res.Errors[cfg.Topic]
	}
	if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("delete topic %s: %v", cfg.Topic, err)
	}
}

// openQueue opens cfg's topic, and closes it at the end of the test.
func openQueue(t testing.TB, cfg Config) *Queue {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, err := Open(ctx, cfg, logger(t), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// logger shows what the queue logs beside the test's own output.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func TestQueue(t *testing.T) {
	testkit.LeakCheck(t)
	backendtest.Queue(t, func(t testing.TB) (backendtest.QueuePublisher, backendtest.QueueSource) {
		q := openQueue(t, testConfig(t))
		return q, q
	})
}

func TestQueueGroup(t *testing.T) {
	testkit.LeakCheck(t)
	backendtest.QueueGroup(t, func(t testing.TB) (backendtest.QueuePublisher, [2]backendtest.QueueSource) {
		cfg := testConfig(t)
		q := openQueue(t, cfg)
		return q, [2]backendtest.QueueSource{q, openQueue(t, cfg)}
	})
}

// reading consumes all partitions of a queue from their committed offsets into one
// list without repeats, and commits nothing.
type reading struct {
	mu   sync.Mutex // guards below
	recs []push.Record
	seen map[push.ID]bool
}

// startReading runs until the test ends or stop is called.
func startReading(t testing.TB, q *Queue) (r *reading, stop func()) {
	r = &reading{seen: make(map[push.ID]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Consume(ctx, r.run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Consume: %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func (r *reading) run(ctx context.Context, a push.Assignment) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range a.Partitions() {
		wg.Go(func() {
			for {
				recs, err := a.Read(ctx, p)
				if err != nil {
					return
				}
				r.mu.Lock()
				for _, rec := range recs {
					if !r.seen[rec.ID] {
						r.seen[rec.ID] = true
						r.recs = append(r.recs, rec)
					}
				}
				r.mu.Unlock()
			}
		})
	}
}

func (r *reading) all() []push.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.recs)
}

// wait returns what was read once that is n records.
func (r *reading) wait(t testing.TB, n int) []push.Record {
	t.Helper()
	testkit.Eventually(t, time.Minute, func() bool { return len(r.all()) >= n }, fmt.Sprintf("%d records are read", n))
	return r.all()
}

func message(i int) push.Message {
	return push.Message{
		ID: push.ID{Spool: 7, Index: uint64(i) + 1}, Op: int32(i),
		To: push.Target{Kind: push.Room, Room: "live://1"}, Body: fmt.Appendf(nil, "message %d", i),
	}
}

func messages(n int) []push.Message {
	msgs := make([]push.Message, n)
	for i := range msgs {
		msgs[i] = message(i)
	}
	return msgs
}

// faults is a dial function that can break things.
type faults struct {
	mu    sync.Mutex // guards below
	down  bool       // refuse to connect
	hung  bool       // connect, swallow what is sent, never answer
	conns []net.Conn
	dials atomic.Int64
}

func (f *faults) dial(ctx context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	down, hung := f.down, f.hung
	f.mu.Unlock()
	f.dials.Add(1)
	switch {
	case down:
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused by the test")}
	case hung:
		c, far := net.Pipe()
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := far.Read(buf); err != nil {
					far.Close()
					return
				}
			}
		}()
		return c, nil
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		f.mu.Lock()
		f.conns = append(f.conns, c)
		f.mu.Unlock()
	}
	return c, err
}

// set changes how connections are opened from now on, and breaks those there are.
func (f *faults) set(down, hung bool) {
	f.mu.Lock()
	f.down, f.hung = down, hung
	conns := f.conns
	f.conns = nil
	f.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}
