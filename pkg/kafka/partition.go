package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/halley-im/halley/pkg/push"
)

// partition is the reading of one partition in one generation.
type partition struct {
	// Static after construction.
	assignment *assignment
	id         int32
	foreign    uint64 // ID.Spool of records without an identity

	// Owned by the goroutine that calls Read for this partition; it alone changes
	// place.next and place.given, under the mutex.
	conn  *kafka.Conn // to the partition's leader; nil when there is none
	begun bool        // a record was given to the caller in this generation

	place // guarded by assignment.mu
}

// place is how far a partition has come, in offsets: committed <= given <= next.
// Everything from given up to next was skipped. All are kafka.FirstOffset while
// nothing was ever committed and nothing has been read.
type place struct {
	next      int64 // to be fetched next
	given     int64 // behind the last record that the caller has got
	committed int64 // in Kafka, by this generation or before
}

// fetch asks the leader once for what comes next and waits for it up to FetchWait.
// It may return neither records nor an error. Behind an error there is no
// connection any more: kafka-go does not read the rest of an answer that carries one.
func (p *partition) fetch(ctx context.Context) ([]push.Record, error) {
	if err := p.connect(ctx); err != nil {
		return nil, fmt.Errorf("connect to the leader of partition %d: %w", p.id, err)
	}
	conn, cfg := p.conn, &p.assignment.member.queue.cfg
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if !stop() {
			p.disconnect()
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(cfg.FetchWait + cfg.RequestTimeout))
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: cfg.FetchBytes, MaxWait: cfg.FetchWait})
	var recs []push.Record
	next := p.next
	m, err := batch.ReadMessage()
	for ; err == nil; m, err = batch.ReadMessage() {
		next = m.Offset + 1
		if r, ok := p.record(&m); ok {
			recs = append(recs, r)
		}
	}
	closeErr := batch.Close()
	switch {
	case errors.Is(err, io.EOF) && closeErr == nil: // the end of the batch
		if at, _ := conn.Offset(); at > next { // behind records that compaction removed
			next = at
		}
		err = nil
	case errors.Is(err, kafka.RequestTimedOut): // kafka-go's word for nothing there
		err = nil
	default:
		p.disconnect()
	}
	p.advance(recs, next)
	return recs, err
}

// advance notes what a fetch brought. When it brought nothing but records that were
// skipped, behind ones that are all committed, it commits those too: nobody else
// would before the next good record.
func (p *partition) advance(recs []push.Record, next int64) {
	a := p.assignment
	a.mu.Lock()
	skipped := len(recs) == 0 && next > p.next && p.committed == p.given
	p.next = next
	if len(recs) > 0 {
		p.begun = true
		p.given = recs[len(recs)-1].Offset + 1
	}
	a.mu.Unlock()
	a.member.queue.count.read.Add(len(recs))
	if skipped {
		if err := a.store(map[int]int64{int(p.id): next}); err != nil {
			a.member.queue.warnings.warn(a.member.queue.log, "committing behind skipped records", "partition", p.id, "err", err)
		}
	}
}

// record makes a push.Record of what Kafka has; not ok if it is no PushMsg.
func (p *partition) record(m *kafka.Message) (r push.Record, ok bool) {
	q := p.assignment.member.queue
	msg, err := push.ParseMessage(m.Value)
	if err != nil {
		q.count.malformed.Inc()
		q.warnings.warn(q.log, "a record is no PushMsg and is skipped", "partition", p.id, "offset", m.Offset, "err", err)
		return push.Record{}, false
	}
	if msg.ID.Zero() {
		q.count.foreign.Inc()
		msg.ID = push.ID{Spool: p.foreign, Index: uint64(m.Offset) + 1}
	}
	return push.Record{Message: msg, Offset: m.Offset}, true
}

// foreignSpool is ID.Spool for records of a partition that carry no identity. The
// highest bit tells it from every log's (see package spool). It is part of what
// gateways remember: it does not change between versions.
func foreignSpool(topic string, partition int32) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, "foreign\x00"+topic+"\x00"+strconv.Itoa(int(partition)))
	return h.Sum64() | 1<<63
}

// connect opens a connection to the leader if there is none, and goes to next.
func (p *partition) connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	conn, err := p.dialLeader(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if p.next == kafka.FirstOffset {
		_ = conn.SetDeadline(time.Now().Add(p.assignment.member.queue.cfg.RequestTimeout))
		first, err := conn.ReadFirstOffset()
		if err != nil {
			conn.Close()
			return fmt.Errorf("ask for the first offset: %w", err)
		}
		p.restart(first)
	}
	// SeekDontCheck: the fetch itself tells when there is no such offset.
	if _, err := conn.Seek(p.next, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		conn.Close()
		return err
	}
	p.conn = conn
	return nil
}

// dialLeader asks one broker after the other who leads, beginning with another one
// for each partition.
func (p *partition) dialLeader(ctx context.Context) (conn *kafka.Conn, err error) {
	q := p.assignment.member.queue
	for i := range q.cfg.Brokers {
		broker := q.cfg.Brokers[(i+int(p.id))%len(q.cfg.Brokers)]
		ctx, cancel := context.WithTimeout(ctx, 2*q.cfg.DialTimeout) // two connections
		conn, err = p.assignment.member.kafka.DialLeader(ctx, "tcp", broker, q.cfg.Topic, int(p.id))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (p *partition) disconnect() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// restart goes to offset when nothing was given to the caller yet.
func (p *partition) restart(offset int64) {
	p.assignment.mu.Lock()
	defer p.assignment.mu.Unlock()
	p.place = place{next: offset, given: offset, committed: offset}
}

// outOfRange finds out why the leader does not have the offset to be read. If the
// brokers have removed what was there (retention), reading goes on at what is left.
// If it lies behind the end, the topic was created anew or has lost its end: reading
// starts at the beginning, in a new assignment if this one has already given records
// out, since offsets do not go back within one.
func (p *partition) outOfRange(ctx context.Context) error {
	if err := p.connect(ctx); err != nil {
		return fmt.Errorf("connect to the leader of partition %d: %w", p.id, err)
	}
	conn, a, q := p.conn, p.assignment, p.assignment.member.queue
	defer p.disconnect()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(q.cfg.RequestTimeout))
	first, end, err := conn.ReadOffsets()
	if err != nil {
		return fmt.Errorf("ask for the offsets of partition %d: %w", p.id, err)
	}
	log := q.log.With("partition", p.id, "offset", p.next, "first", first, "end", end)
	switch {
	case p.next < first:
		q.count.lost.Add(int(first - p.next))
		log.Error("records were removed before they were read")
		a.mu.Lock()
		p.next = first
		a.mu.Unlock()
	case p.next > end && !p.begun:
		log.Error("the partition ends before what was committed: reading it from its beginning")
		p.restart(first)
	case p.next > end:
		log.Error("the partition has lost its end: ending the assignment")
		a.end()
	}
	return nil
}
