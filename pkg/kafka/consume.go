package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/halley-im/halley/pkg/push"
)

// leaveGrace is how long leaving the group may take before its connections are cut.
// It is worth waiting: a join that is cut is not taken back, since kafka-go forgets
// its member's name, and the others then wait for that member's session to time out.
const leaveGrace = 3 * time.Second

// Consume joins the group as a new member and calls run for each generation that it
// is part of; see job.Source. run's ctx ends with the generation, the group waits up
// to RebalanceTimeout for run to return, and then goes on without this member, whose
// assignment cannot commit any more. A member may get no partitions; run is called
// all the same. When run returns early, the member joins anew.
//
// It returns ctx's error when ctx ends, after run has returned and the group has
// been left, and everything that it started is gone then.
func (q *Queue) Consume(ctx context.Context, run func(ctx context.Context, a push.Assignment)) error {
	m := &membership{queue: q, dialer: newDialer(&q.cfg)}
	m.kafka = &kafka.Dialer{ClientID: clientID, Timeout: q.cfg.DialTimeout, DialFunc: m.dialer.dial}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                q.cfg.Group,
		Brokers:           q.cfg.Brokers,
		Dialer:            m.kafka,
		Topics:            []string{q.cfg.Topic},
		HeartbeatInterval: q.cfg.Heartbeat,
		SessionTimeout:    q.cfg.SessionTimeout,
		RebalanceTimeout:  q.cfg.RebalanceTimeout,
		Timeout:           q.cfg.GroupTimeout,
		JoinGroupBackoff:  500 * time.Millisecond, // paces the loop below
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("consume %s as %s: %w", q.cfg.Topic, q.cfg.Group, err)
	}
	defer m.leave(group)
	for {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, kafka.RebalanceInProgress): // others came or went meanwhile
			q.log.Debug("joining the consumer group again", "group", q.cfg.Group)
		case err != nil:
			q.count.groupErrors.Inc()
			q.warnings.warn(q.log, "joining the consumer group, trying again", "group", q.cfg.Group, "err", err)
		default:
			m.serve(ctx, gen, run)
		}
	}
}

// membership is one Consume.
type membership struct {
	// Static after construction.
	queue  *Queue
	dialer *dialer       // of all connections of this member
	kafka  *kafka.Dialer // the same, in kafka-go's terms
}

// serve calls run for one generation and returns when it has returned.
func (m *membership) serve(ctx context.Context, gen *kafka.Generation, run func(ctx context.Context, a push.Assignment)) {
	done := make(chan struct{})
	// The generation ends when this function returns, and it is not left behind
	// before: Start's goroutine is what the group waits for.
	gen.Start(func(ended context.Context) {
		defer close(done)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		a := newAssignment(ctx, cancel, m, gen)
		defer a.close()
		m.queue.count.assignments.Inc()
		m.queue.log.Info("partitions assigned", "group", gen.GroupID, "generation", gen.ID, "partitions", a.Partitions())
		run(ctx, a)
		m.queue.log.Info("partitions returned", "group", gen.GroupID, "generation", gen.ID)
	})
	<-done
}

// leave tells the group that this member goes, so that the others need not wait for
// its session to time out, and returns when kafka-go's goroutines are gone. A broker
// that does not answer, or a join that waits for others, holds it up for leaveGrace.
func (m *membership) leave(group *kafka.ConsumerGroup) {
	impatient := time.AfterFunc(leaveGrace, m.dialer.close)
	group.Close()
	impatient.Stop()
	m.dialer.close()
}
