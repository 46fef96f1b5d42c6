package job

import (
	"time"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// busyMin and busyMax are how long a lane waits before it sends again what a
	// gateway refused as busy; it doubles from one to the other. A gateway's
	// loops drain a full mailbox in about the first.
	busyMin = 10 * time.Millisecond
	busyMax = 100 * time.Millisecond
)

// parcel is a batch in a lane.
type parcel struct {
	batch  *push.Batch
	bytes  int
	first  int64 // offset of its first message
	sealed bool  // was sent once: the batch is shared and never changes again
}

// lane holds what one gateway is to get of one partition in one generation: in
// order, first what is in flight, then what waits. Its methods want link.mu held.
//
//	queue:  [ head … in flight … head+sent … waits … ]
//	seq:      base               base+sent
//
// The last parcel grows until it is sent, so that a backlog leaves in full
// batches; a lone message is a batch of its own at once.
type lane struct {
	// Set by newLane, then read-only.
	link *link
	part *partition

	// Guarded by link.mu.
	queue   []parcel
	head    int           // queue before head is free
	sent    int           // parcels in flight
	base    uint64        // seq of queue[head] on the current stream
	high    uint64        // highest seq sent on the current stream
	count   int           // messages held
	bytes   int           // their size
	delay   time.Duration // of the next retry
	retryAt time.Time     // refused as busy: nothing is sent before; zero otherwise
	queued  bool          // in link.ready
	stale   bool          // a newer generation owns the partition: nothing is sent
	closed  bool          // the assignment is over or the gateway gone: holds nothing
}

func newLane(l *link, p *partition) *lane { return &lane{link: l, part: p, base: 1} }

// room says whether bytes more may be added. A message bigger than the whole
// lane is let in alone.
func (ln *lane) room(bytes, limit int) bool { return ln.bytes == 0 || ln.bytes+bytes <= limit }

// add takes over items, or copies them to the last parcel if that was never sent
// and has room; then the caller keeps the slice.
func (ln *lane) add(items []push.Message, bytes int, first int64, maxBatch int) (kept bool) {
	ln.count += len(items)
	ln.bytes += bytes
	m := ln.link.job.m
	m.waiting.Add(int64(len(items)))
	m.waitingBytes.Add(int64(bytes))
	if n := len(ln.queue); n > ln.head {
		if last := &ln.queue[n-1]; !last.sealed && last.bytes+bytes <= maxBatch {
			last.batch.Items = append(last.batch.Items, items...)
			last.bytes += bytes
			return true
		}
	}
	b := &push.Batch{Partition: ln.part.id, Generation: ln.part.generation, Items: items}
	ln.queue = append(ln.queue, parcel{batch: b, bytes: bytes, first: first})
	return false
}

// sendable says whether the lane has something to send now.
func (ln *lane) sendable() bool {
	return !ln.stale && !ln.closed && ln.retryAt.IsZero() && ln.head+ln.sent < len(ln.queue)
}

// peek is the parcel to send next; the lane is sendable.
func (ln *lane) peek() *parcel { return &ln.queue[ln.head+ln.sent] }

// take seals and numbers what peek shows and counts it as in flight. A batch
// that went out on an earlier stream under another number is shared already: the
// new number goes on a copy.
func (ln *lane) take() *push.Batch {
	p := ln.peek()
	seq := ln.base + uint64(ln.sent)
	if p.sealed && p.batch.Seq != seq {
		b := *p.batch
		p.batch = &b
	}
	p.batch.Seq, p.sealed = seq, true
	ln.sent++
	ln.high = max(ln.high, seq)
	ln.link.addInflight(p.bytes)
	m := ln.link.job.m
	m.batches.Inc()
	m.batchItems.Add(len(p.batch.Items))
	m.batchBytes.Add(p.bytes)
	return p.batch
}

// done removes everything up to seq and says whether there was something.
func (ln *lane) done(seq uint64) bool {
	if seq < ln.base || seq > ln.high {
		return false
	}
	for ln.base <= seq {
		ln.link.job.m.delivered.Add(len(ln.queue[ln.head].batch.Items))
		ln.pop()
	}
	ln.delay = 0
	return true
}

// pop removes the first parcel.
func (ln *lane) pop() {
	p := &ln.queue[ln.head]
	if ln.sent > 0 {
		ln.sent--
		ln.link.addInflight(-p.bytes)
	}
	ln.release(len(p.batch.Items), p.bytes)
	*p = parcel{}
	ln.head++
	ln.base++
	switch {
	case ln.head == len(ln.queue):
		ln.queue, ln.head = ln.queue[:0], 0
	case ln.head >= 32 && 2*ln.head >= len(ln.queue):
		n := copy(ln.queue, ln.queue[ln.head:])
		clear(ln.queue[n:])
		ln.queue, ln.head = ln.queue[:n], 0
	}
}

// release takes messages off the lane's sums.
func (ln *lane) release(count, bytes int) {
	ln.count -= count
	ln.bytes -= bytes
	ln.link.job.m.waiting.Add(-int64(count))
	ln.link.job.m.waitingBytes.Add(-int64(bytes))
}

// busy goes back to seq: it and what follows is sent again after a delay. Only
// what is in flight can be refused; a gateway that refuses one batch refuses
// those behind it too, and the first refusal already went back.
func (ln *lane) busy(seq uint64, now time.Time) bool {
	if seq < ln.base || seq >= ln.base+uint64(ln.sent) {
		return false
	}
	ln.back(int(seq - ln.base))
	ln.delay = min(max(2*ln.delay, busyMin), busyMax)
	ln.rest(now.Add(ln.delay))
	return true
}

// rest sets when the lane may send again; zero is now.
func (ln *lane) rest(until time.Time) {
	if !ln.retryAt.IsZero() {
		ln.link.resting--
	}
	if !until.IsZero() {
		ln.link.resting++
	}
	ln.retryAt = until
}

// back leaves only the first n parcels in flight.
func (ln *lane) back(n int) {
	for ln.sent > n {
		ln.sent--
		ln.link.addInflight(-ln.queue[ln.head+ln.sent].bytes)
	}
}

// rewind makes everything that is not answered leave again, on a new stream.
func (ln *lane) rewind() {
	ln.back(0)
	ln.base, ln.high = 1, 0
	ln.delay = 0
	ln.rest(time.Time{})
}

// cursor is the offset from which the lane still needs the queue; ok is false
// when it needs nothing.
func (ln *lane) cursor() (offset int64, ok bool) {
	if ln.head == len(ln.queue) {
		return 0, false
	}
	return ln.queue[ln.head].first, true
}

// close drops what the lane holds.
func (ln *lane) close(why dropReason) {
	if ln.closed {
		return
	}
	ln.back(0)
	ln.rest(time.Time{})
	for i := ln.head; i < len(ln.queue); i++ {
		ln.link.job.dropCopies(why, ln.queue[i].batch.Items)
	}
	ln.release(ln.count, ln.bytes)
	ln.queue, ln.head, ln.closed = nil, 0, true
}

// enter prepares the lane, after rewind, for a new life of its gateway: pushes
// to keys of an earlier one are dropped. What an earlier stream shares is left
// alone: the parcels are made anew.
func (ln *lane) enter(life uint64) {
	var queue []parcel
	for _, p := range ln.queue[ln.head:] {
		kept, bytes := keepLife(p.batch.Items, life)
		ln.link.job.dropCopies(dropNodeGone, notOfLife(p.batch.Items, life))
		ln.release(len(p.batch.Items)-len(kept), p.bytes-bytes)
		if len(kept) > 0 {
			b := &push.Batch{Partition: p.batch.Partition, Generation: p.batch.Generation, Items: kept}
			queue = append(queue, parcel{batch: b, bytes: bytes, first: p.first})
		}
	}
	ln.queue, ln.head = queue, 0
}

// dead says that m is for keys in another life of the gateway. Producers that
// know no lives (goim's logic) leave the epoch at 0.
func dead(m *push.Message, life uint64) bool {
	return m.To.Kind == push.Keys && m.To.Epoch != 0 && m.To.Epoch != life
}

func keepLife(items []push.Message, life uint64) (kept []push.Message, bytes int) {
	for i := range items {
		if m := &items[i]; !dead(m, life) {
			kept = append(kept, *m)
			bytes += m.Size()
		}
	}
	return kept, bytes
}

func notOfLife(items []push.Message, life uint64) (gone []push.Message) {
	for i := range items {
		if dead(&items[i], life) {
			gone = append(gone, items[i])
		}
	}
	return gone
}
