package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"
)

// Config is what a Queue needs to know. Default fills in all but Brokers.
type Config struct {
	Brokers []string `help:"host:port of some brokers, comma-separated; the others are found through them"`
	Topic   string   `help:"topic of the pushes; goim's"`
	Group   string   `help:"consumer group of the jobs; goim's"`

	// When Open creates the topic. One that exists keeps its own.
	Partitions  int32 `help:"partitions of the topic when it is created; an existing one keeps its own"`
	Replication int   `help:"copies of each partition when the topic is created; 0 is the brokers' default"`

	// MaxMessage is the largest record in bytes, key included; larger ones are
	// refused without asking. The brokers' message.max.bytes (1,048,588 unless
	// changed) must be above it, or they refuse instead, which comes to the same.
	MaxMessage int `help:"largest record in bytes, key included; below the brokers' message.max.bytes"`
	// FetchBytes is how much one fetch of one partition brings, in bytes; a larger
	// record comes alone.
	FetchBytes int `help:"what one fetch of one partition brings, bytes"`

	// DialTimeout bounds connecting to one broker.
	DialTimeout time.Duration `help:"for connecting to one broker"`
	// RequestTimeout bounds one produce request and the answer to one fetch. Half
	// of it is what the brokers allow their replicas.
	RequestTimeout time.Duration `help:"for one produce request, and for the answer to one fetch"`
	// FetchWait is how long a broker holds a fetch open while there is nothing.
	// It costs no latency: a record that arrives ends it.
	FetchWait time.Duration `help:"how long a broker holds a fetch open while there is nothing; a record that arrives ends it"`

	// A member that is not heard of for SessionTimeout loses its partitions. It
	// says something every Heartbeat and gives up when the group's coordinator
	// does not answer within GroupTimeout; so that it has stopped before another
	// begins, Heartbeat + GroupTimeout may not exceed SessionTimeout.
	SessionTimeout time.Duration `help:"a job that is not heard of for so long loses its partitions"`
	Heartbeat      time.Duration `help:"how often a job says that it lives; with group_timeout at most session_timeout"`
	GroupTimeout   time.Duration `help:"how long a job waits for the group's coordinator before it stops"`
	// RebalanceTimeout is how long the others wait for a member to return its
	// partitions before they go on without it.
	RebalanceTimeout time.Duration `help:"how long the others wait for a job to return its partitions"`

	// dial replaces net.Dialer in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Default is goim's topic and group, and settings for machines that fail over
// within seconds.
func Default() Config {
	return Config{
		Topic:            "goim-push-topic",
		Group:            "goim-push-group-job",
		Partitions:       16,
		MaxMessage:       1_041_000, // a body of logic.max_body and its keys; brokers take 1,048,588 in a batch
		FetchBytes:       1 << 20,
		DialTimeout:      3 * time.Second,
		RequestTimeout:   10 * time.Second,
		FetchWait:        time.Second,
		SessionTimeout:   6 * time.Second, // the least a broker allows by default
		Heartbeat:        time.Second,
		GroupTimeout:     4 * time.Second,
		RebalanceTimeout: 10 * time.Second,
	}
}

// topicName is what Kafka allows (org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate says which fields are wrong and what is allowed, all at once.
func (c *Config) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("kafka."+format, args...))
		}
	}
	want(len(c.Brokers) > 0, "brokers: want at least one host:port")
	for _, b := range c.Brokers {
		want(isAddr(b), "brokers: %q is not host:port", b)
	}
	want(topicName.MatchString(c.Topic) && c.Topic != "." && c.Topic != "..",
		"topic: %q: want 1 to 249 letters, digits, dots, underscores and hyphens", c.Topic)
	want(c.Group != "", "group: want a name")
	want(c.Partitions >= 1 && c.Partitions <= 10_000, "partitions: %d: want 1 to 10000", c.Partitions)
	want(c.Replication >= 0 && c.Replication <= 100, "replication: %d: want 1 to 100, or 0 for the brokers' default", c.Replication)
	want(c.MaxMessage >= 1<<10 && c.MaxMessage <= 64<<20, "max_message: %d: want 1 KiB to 64 MiB", c.MaxMessage)
	want(c.FetchBytes >= 1<<10 && c.FetchBytes <= 64<<20, "fetch_bytes: %d: want 1 KiB to 64 MiB", c.FetchBytes)
	for _, d := range []struct {
		name string
		is   time.Duration
	}{
		{"dial_timeout", c.DialTimeout}, {"request_timeout", c.RequestTimeout}, {"fetch_wait", c.FetchWait},
		{"session_timeout", c.SessionTimeout}, {"heartbeat", c.Heartbeat},
		{"group_timeout", c.GroupTimeout}, {"rebalance_timeout", c.RebalanceTimeout},
	} {
		want(d.is >= 10*time.Millisecond && d.is <= 10*time.Minute, "%s: %v: want 10ms to 10m", d.name, d.is)
	}
	want(c.Heartbeat+c.GroupTimeout <= c.SessionTimeout,
		"heartbeat (%v) + group_timeout (%v): want at most session_timeout (%v)", c.Heartbeat, c.GroupTimeout, c.SessionTimeout)
	return errors.Join(errs...)
}

func isAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, err2 := strconv.Atoi(port)
	return err == nil && err2 == nil && host != "" && n > 0 && n < 1<<16
}
