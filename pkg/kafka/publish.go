package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// maxRequest bounds the records of one request, in bytes, below the brokers'
	// default limit of 1 MiB for a batch. A single larger record goes alone.
	maxRequest = 900 << 10
	// recordOverhead is what Kafka adds to key and value at most: the header of a
	// batch (61) and the varints of a record.
	recordOverhead = 100
	// publishAttempts is how often a request is sent before its error is returned;
	// the caller repeats behind that. It spans a leader's move, not a restart.
	publishAttempts = 4
)

// Publish appends msgs to the partition in order; see logic.Publisher. It returns
// when all in-sync replicas have them, and without error only then. It ends with
// ctx; without a deadline it takes RequestTimeout per request at most. Errors:
//   - a *push.TooLargeError, see there;
//   - one that wraps ctx's, or context.DeadlineExceeded after RequestTimeout: the
//     messages may or may not be on the queue, or arrive there later;
//   - otherwise one that wraps the broker's (kafka.Error) or the network's.
func (q *Queue) Publish(ctx context.Context, partition int32, msgs []push.Message) error {
	if partition < 0 || partition >= q.partitions {
		return fmt.Errorf("publish to partition %d of %s: want 0 to %d", partition, q.cfg.Topic, q.partitions-1)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish to partition %d of %s: %w", partition, q.cfg.Topic, err)
	}
	b := getBatch()
	for done := 0; done < len(msgs); {
		n := b.fill(msgs[done:], q.cfg.MaxMessage)
		if n == 0 {
			return &push.TooLargeError{Index: done, Size: b.refused, Max: q.cfg.MaxMessage}
		}
		if err := q.produce(ctx, partition, b, 0, n); err != nil {
			var large *push.TooLargeError
			if errors.As(err, &large) {
				large.Index += done
				return large
			}
			return fmt.Errorf("publish to partition %d of %s: %w", partition, q.cfg.Topic, err)
		}
		q.count.published.Add(n)
		done += n
	}
	putBatch(b)
	return nil
}

// produce sends the records from lo up to hi. If the broker's limit is smaller than
// ours, it sends them in halves.
func (q *Queue) produce(ctx context.Context, partition int32, b *batch, lo, hi int) error {
	err := q.attempt(ctx, partition, b, lo, hi)
	if !errors.Is(err, kafka.MessageSizeTooLarge) && !errors.Is(err, kafka.RecordListTooLarge) {
		return err
	}
	if hi-lo == 1 {
		return &push.TooLargeError{Index: lo, Size: b.recs[lo].size()}
	}
	mid := (lo + hi) / 2
	if err := q.produce(ctx, partition, b, lo, mid); err != nil {
		return err
	}
	return q.produce(ctx, partition, b, mid, hi)
}

// attempt sends one request, several times if need be. A request that timed out is
// not repeated here: kafka-go may still be reading the batch.
func (q *Queue) attempt(ctx context.Context, partition int32, b *batch, lo, hi int) error {
	wait := backoff(0).next()
	for attempt := 1; ; attempt++ {
		res, err := q.client.Produce(ctx, &kafka.ProduceRequest{
			Topic:        q.cfg.Topic,
			Partition:    int(partition),
			RequiredAcks: kafka.RequireAll,
			Records:      &batchReader{batch: b, next: lo, end: hi},
		})
		if err == nil {
			err = res.Error
		}
		if errors.Is(err, protocol.ErrNoTopic) { // nothing is known of the cluster: say why
			if _, why := q.lookUp(ctx); why != nil {
				err = why
			}
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		case attempt == publishAttempts || permanent(err) || timedOut(err):
			return err
		}
		q.count.retries.Inc()
		q.refresh()
		if !wait.sleep(ctx) {
			return fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		wait = wait.next()
	}
}

// timedOut says that RequestTimeout passed on our side.
func timedOut(err error) bool {
	var e net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}

// batch is messages in the form of records. Keys and values stand in buf, one
// behind the other.
type batch struct {
	buf     []byte
	recs    []span
	refused int // bytes of the record that was too large
}

// span is one record in buf: its value from start, then its key up to end.
type span struct {
	start, key, end int
}

func (s span) size() int { return s.end - s.start + recordOverhead }

// batches are what Publish encodes into.
var batches = sync.Pool{New: func() any { return new(batch) }}

// getBatch returns one to fill.
func getBatch() *batch { return batches.Get().(*batch) }

// putBatch takes back a batch that every request has been answered for. After an
// error it must not be called: a request whose ctx ended is still being written.
func putBatch(b *batch) {
	if cap(b.buf) <= 2*maxRequest {
		batches.Put(b)
	}
}

// fill replaces what is in b by as many of msgs as fit into one request, and
// returns how many: 0 if the first is larger than maxMessage.
func (b *batch) fill(msgs []push.Message, maxMessage int) int {
	b.buf, b.recs = b.buf[:0], b.recs[:0]
	for i := range msgs {
		s := span{start: len(b.buf)}
		b.buf = push.AppendMessage(b.buf, &msgs[i])
		s.key = len(b.buf)
		b.buf = appendKey(b.buf, &msgs[i])
		s.end = len(b.buf)
		if b.refused = s.size(); b.refused > maxMessage {
			break
		}
		if i > 0 && len(b.buf)+len(b.recs)*recordOverhead > maxRequest {
			break
		}
		b.recs = append(b.recs, s)
	}
	return len(b.recs)
}

// appendKey appends a record's key as goim chooses it (internal/logic/dao/kafka.go).
func appendKey(dst []byte, m *push.Message) []byte {
	switch m.To.Kind {
	case push.Room:
		return append(dst, m.To.Room...)
	case push.All:
		return strconv.AppendInt(dst, int64(m.Op), 10)
	default:
		if len(m.To.Keys) == 0 {
			return dst
		}
		return append(dst, m.To.Keys[0]...)
	}
}

// batchReader gives records to one attempt of one request. kafka-go reads it and
// the records to their ends, so each attempt needs its own.
type batchReader struct {
	batch      *batch
	next, end  int
	rec        kafka.Record
	key, value recordBytes
}

// recordBytes is a kafka.Bytes that can be used again: kafka.NewBytes would cost two
// allocations per message.
type recordBytes struct{ bytes.Reader }

func (*recordBytes) Close() error { return nil }

// ReadRecord returns the next record, which is valid until the next call.
func (r *batchReader) ReadRecord() (*kafka.Record, error) {
	if r.next == r.end {
		return nil, io.EOF
	}
	s, buf := r.batch.recs[r.next], r.batch.buf
	r.next++
	r.value.Reset(buf[s.start:s.key])
	r.rec.Value, r.rec.Key = &r.value, nil
	if s.key < s.end {
		r.key.Reset(buf[s.key:s.end])
		r.rec.Key = &r.key
	}
	return &r.rec, nil
}
