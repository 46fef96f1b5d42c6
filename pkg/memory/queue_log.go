package memory

import (
	"fmt"
	"sync"

	"github.com/halley-im/halley/pkg/push"
)

// queueChunkSize is how many records are kept in one piece: 256 are 58 KiB. In one
// array a deep backlog would be copied as a whole, under the lock, each time it
// outgrows the array: with 200,000 waiting, a message cost 1.06 µs and 1.3 KB that
// way, and costs 0.3 µs and 0.5 KB in pieces (BenchmarkQueue).
const queueChunkSize = 256

type queueChunk [queueChunkSize]push.Record

// queueLog is one partition: what was published and is not committed.
type queueLog struct {
	mu sync.Mutex // guards below
	// Offset o stands in chunks[(o-first)/queueChunkSize] at (o-first)%queueChunkSize.
	chunks    []*queueChunk
	first     int64         // offset of the first record of chunks[0]
	committed int64         // records in front of it are gone
	end       int64         // offset of the next one published
	spare     *queueChunk   // the one dropped last, zeroed
	arrived   chan struct{} // closed when a record is added; nil while nobody waits
}

// append adds msgs, whose space is taken.
func (l *queueLog) append(msgs []push.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range msgs {
		r := l.slotLocked(l.end)
		r.Message, r.Offset = msgs[i], l.end
		l.end++
	}
	if l.arrived != nil {
		close(l.arrived)
		l.arrived = nil
	}
}

// slotLocked is where offset stands; a chunk is added for the end.
func (l *queueLog) slotLocked(offset int64) *push.Record {
	at := offset - l.first
	if int(at/queueChunkSize) == len(l.chunks) {
		c := l.spare
		if l.spare = nil; c == nil {
			c = new(queueChunk)
		}
		l.chunks = append(l.chunks, c)
	}
	return &l.chunks[at/queueChunkSize][at%queueChunkSize]
}

// read returns records from offset on, at most maxQueueRead, or what to wait for.
func (l *queueLog) read(offset int64) ([]push.Record, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	offset = max(offset, l.committed)
	n := min(l.end-offset, maxQueueRead)
	if n <= 0 {
		if l.arrived == nil {
			l.arrived = make(chan struct{})
		}
		return nil, l.arrived
	}
	recs := make([]push.Record, 0, n)
	for at := offset - l.first; int64(len(recs)) < n; at = offset + int64(len(recs)) - l.first {
		c := l.chunks[at/queueChunkSize][at%queueChunkSize:]
		recs = append(recs, c[:min(int64(len(c)), n-int64(len(recs)))]...)
	}
	return recs, nil
}

// trim drops the records in front of next and returns their bytes. Going back
// changes nothing.
func (l *queueLog) trim(next int64) (freed int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next > l.end {
		return 0, fmt.Errorf("commit offset %d of a partition that ends at %d", next, l.end)
	}
	for l.committed < next {
		r := l.slotLocked(l.committed)
		freed += int64(r.Size())
		*r = push.Record{}
		l.committed++
	}
	for l.committed-l.first >= queueChunkSize {
		l.spare = l.chunks[0]
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
		l.first += queueChunkSize
	}
	return freed, nil
}

// start is the offset from which an assignment reads.
func (l *queueLog) start() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}

func (l *queueLog) depth() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.end - l.committed)
}
