package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/segmentio/kafka-go"
)

const (
	// clientID is how the brokers' logs and quotas name us.
	clientID = "halley"
	// metadataTTL is how old the knowledge of leaders may get. It is also what
	// kafka-go allows a broker for telling it.
	metadataTTL = 5 * time.Second
	// refreshEvery bounds how often errors make us ask for it in between.
	refreshEvery = 200 * time.Millisecond
	// logEvery bounds warnings that repeat.
	logEvery = 5 * time.Second
)

// Queue is a topic: a logic.Publisher, and a job.Source that is a new member of the
// group with each Consume. All methods may be called concurrently.
type Queue struct {
	// Set by Open, then read-only.
	cfg        Config
	log        *slog.Logger
	count      *counters
	warnings   *throttle
	partitions int32
	dialer     *dialer // of the connections that the transport uses
	transport  *kafka.Transport
	client     *kafka.Client

	refreshed atomic.Int64 // when the transport was last refreshed, unix ns
}

// counters are shared by all queues of a set.
type counters struct {
	published   *metrics.Counter
	retries     *metrics.Counter
	read        *metrics.Counter
	foreign     *metrics.Counter
	malformed   *metrics.Counter
	lost        *metrics.Counter
	readErrors  *metrics.Counter
	groupErrors *metrics.Counter
	assignments *metrics.Counter
}

func newCounters(set *metrics.Set) *counters {
	return &counters{
		published:   set.GetOrCreateCounter("halley_kafka_published_total"),
		retries:     set.GetOrCreateCounter("halley_kafka_publish_retries_total"),
		read:        set.GetOrCreateCounter("halley_kafka_read_total"),
		foreign:     set.GetOrCreateCounter("halley_kafka_foreign_total"),
		malformed:   set.GetOrCreateCounter("halley_kafka_malformed_total"),
		lost:        set.GetOrCreateCounter("halley_kafka_lost_total"),
		readErrors:  set.GetOrCreateCounter("halley_kafka_read_errors_total"),
		groupErrors: set.GetOrCreateCounter("halley_kafka_group_errors_total"),
		assignments: set.GetOrCreateCounter("halley_kafka_assignments_total"),
	}
}

// Open connects to the topic, and creates it if it is missing. It retries until the
// brokers answer or ctx ends; the error then says what was wrong last. cfg must be
// valid. The counters in set: published, read, malformed (records skipped), foreign
// (records without an identity), lost (records that the brokers had removed before
// they were read), retries and errors.
func Open(ctx context.Context, cfg Config, log *slog.Logger, set *metrics.Set) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	q := newQueue(cfg, log, set)
	if err := q.findTopic(ctx); err != nil {
		q.Close()
		return nil, fmt.Errorf("open topic %s at %v: %w", cfg.Topic, cfg.Brokers, err)
	}
	return q, nil
}

// newQueue connects to nothing.
func newQueue(cfg Config, log *slog.Logger, set *metrics.Set) *Queue {
	q := &Queue{
		cfg:      cfg,
		log:      log.With("topic", cfg.Topic),
		count:    newCounters(set),
		warnings: &throttle{every: logEvery, kinds: make(map[string]*repetition)},
		dialer:   newDialer(&cfg),
	}
	q.transport = &kafka.Transport{
		Dial:           q.dialer.dial,
		DialTimeout:    cfg.DialTimeout,
		MetadataTTL:    metadataTTL,
		MetadataTopics: []string{cfg.Topic}, // all topics of the cluster otherwise
		ClientID:       clientID,
	}
	q.client = &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Timeout: cfg.RequestTimeout, Transport: q.transport}
	return q
}

// Close ends all connections of the publishing end. Consume ends with its ctx.
func (q *Queue) Close() {
	q.dialer.close()
	q.transport.CloseIdleConnections()
}

// Partitions is how many the topic had when it was opened. More that are added
// later are consumed, but not published to.
func (q *Queue) Partitions() int32 { return q.partitions }

// findTopic learns the number of partitions.
func (q *Queue) findTopic(ctx context.Context) error {
	created := false
	for wait := backoff(0); ; wait = wait.next() {
		n, err := q.lookUp(ctx)
		unknown := errors.Is(err, kafka.UnknownTopicOrPartition)
		if unknown && !created {
			if err = q.create(ctx); err == nil {
				created = true
				q.transport.CloseIdleConnections() // it knows that the topic is unknown
				continue
			}
		}
		switch {
		case err == nil:
			q.partitions = n
			return nil
		case permanent(err):
			return err
		case ctx.Err() == nil && !(unknown && created): // a new topic takes a moment
			q.warnings.warn(q.log, "kafka does not answer, trying again", "brokers", q.cfg.Brokers, "err", err)
		}
		q.transport.CloseIdleConnections()
		if !wait.sleep(ctx) {
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}
}

// lookUp returns the number of partitions, from the transport's cache.
func (q *Queue) lookUp(ctx context.Context) (int32, error) {
	meta, err := q.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{q.cfg.Topic}})
	if err != nil {
		return 0, err
	}
	if len(meta.Topics) != 1 {
		return 0, fmt.Errorf("asked for 1 topic, told of %d", len(meta.Topics))
	}
	topic := meta.Topics[0]
	if topic.Error != nil {
		return 0, topic.Error
	}
	if len(topic.Partitions) == 0 {
		return 0, errors.New("the topic has no partitions yet")
	}
	return int32(len(topic.Partitions)), nil
}

// create makes the topic; that another process was first is fine.
func (q *Queue) create(ctx context.Context) error {
	replication := q.cfg.Replication
	if replication == 0 {
		replication = -1 // the brokers' default, KIP-464
	}
	res, err := q.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: q.cfg.Topic, NumPartitions: int(q.cfg.Partitions), ReplicationFactor: replication,
	}}})
	if err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	switch err := res.Errors[q.cfg.Topic]; {
	case errors.Is(err, kafka.TopicAlreadyExists):
		return nil
	case err != nil:
		return fmt.Errorf("create the topic with %d partitions and replication %d: %w", q.cfg.Partitions, replication, err)
	}
	q.log.Info("topic created", "partitions", q.cfg.Partitions, "replication", replication)
	return nil
}

// refresh drops the transport's idle connections and what it knows of leaders, so
// that the next request asks anew: it would go on with both for seconds.
func (q *Queue) refresh() {
	last, now := q.refreshed.Load(), time.Now().UnixNano()
	if now-last < int64(refreshEvery) || !q.refreshed.CompareAndSwap(last, now) {
		return
	}
	q.transport.CloseIdleConnections()
}

// permanent says that repeating cannot help: a right that is missing, a name or a
// setting that is refused. Everything else (a broker that is away, a leader that
// moves, a connection that broke) may be over at the next attempt.
func permanent(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case kafka.Unknown, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable:
		return false // passing, although kafka-go does not say so
	}
	return !code.Temporary()
}

// backoff is how long to wait before the next attempt: 0, 50 ms, doubling to 2 s.
type backoff time.Duration

func (b backoff) next() backoff {
	if b == 0 {
		return backoff(50 * time.Millisecond)
	}
	return min(2*b, backoff(2*time.Second))
}

// sleep waits, and reports whether ctx still stands.
func (b backoff) sleep(ctx context.Context) bool {
	if b <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(time.Duration(b))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// throttle logs each kind of warning once per interval and says how many of it were
// swallowed since.
type throttle struct {
	every time.Duration // static

	mu    sync.Mutex             // guards below
	kinds map[string]*repetition // by message; as many as there are in this package
}

type repetition struct {
	last      time.Time
	swallowed int
}

func (t *throttle) warn(log *slog.Logger, msg string, args ...any) {
	now := time.Now()
	t.mu.Lock()
	r := t.kinds[msg]
	if r == nil {
		r = new(repetition)
		t.kinds[msg] = r
	}
	if now.Sub(r.last) < t.every {
		r.swallowed++
		t.mu.Unlock()
		return
	}
	swallowed := r.swallowed
	r.last, r.swallowed = now, 0
	t.mu.Unlock()
	log.Warn(msg, append(args, "swallowed", swallowed)...)
}
