package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/halley-im/halley/pkg/push"
)

// ErrFull means that the log has reached its bound and nothing was taken over: try
// again later. It is also the answer to a call that is larger than the bound, and
// that would never succeed: callers limit what one call carries.
var ErrFull = errors.New("too many pushes wait to be enqueued")

// foreignBit is never set in the id of a log; see the package comment.
const foreignBit = 1 << 63

// chunkSize is how many messages are kept in one piece: 256 are 56 KiB. Pieces
// make every operation cost the same however deep the log is; one array that is
// moved or regrown would not.
const chunkSize = 256

type chunk [chunkSize]push.Message

// Memory is a log in memory. Append and Depth may be called concurrently; Next
// and Commit by one goroutine, next to them. No method blocks.
//
// It keeps what messages refer to (Body, Keys, Mids) and does not copy it: it must
// not be changed after Append. What is committed is not referred to any more.
type Memory struct {
	// Set by NewMemory, then read-only.
	id          uint64
	maxMessages int
	maxBytes    int64

	mu sync.Mutex // guards below
	// Entry i stands in chunks[(i-first)/chunkSize] at (i-first)%chunkSize.
	chunks    []*chunk
	first     uint64 // index of the first entry of chunks[0]
	committed uint64 // entries up to it are gone
	last      uint64 // the youngest entry
	bytes     int64  // of the entries behind committed, by push.Message.Size
	spare     *chunk // the chunk dropped last, zeroed: spares an allocation each 256 messages
}

// NewMemory makes an empty log with a random id. It holds at most maxMessages and
// at most maxBytes, by push.Message.Size.
func NewMemory(maxMessages int, maxBytes int64) *Memory {
	return &Memory{id: randomID(), maxMessages: maxMessages, maxBytes: maxBytes, first: 1}
}

// randomID is new for every log, so that no two logs give the same push.ID.
func randomID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // it never fails: crypto/rand ends the process instead
		if id := binary.LittleEndian.Uint64(b[:]) &^ foreignBit; id != 0 {
			return id
		}
	}
}

// ID is the Spool of every push.ID that this log gives. It is never 0.
func (m *Memory) ID() uint64 { return m.id }

// Append takes over all of msgs or none, and sets ID.Spool and ID.Index in msgs
// itself, so that the caller can answer them. Indexes are contiguous within a
// call and between calls. The error is ErrFull; msgs is unchanged then.
func (m *Memory) Append(msgs []push.Message) error {
	var size int64
	for i := range msgs {
		size += int64(msgs[i].Size())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	depth := int(m.last - m.committed)
	if len(msgs) > m.maxMessages-depth || size > m.maxBytes-m.bytes {
		return ErrFull
	}
	for i := range msgs {
		m.last++
		msgs[i].ID.Spool, msgs[i].ID.Index = m.id, m.last
		*m.slotLocked(m.last) = msgs[i]
	}
	m.bytes += size
	return nil
}

// slotLocked is where entry index stands; a chunk is added for the one behind the
// last.
func (m *Memory) slotLocked(index uint64) *push.Message {
	at := index - m.first
	if at/chunkSize == uint64(len(m.chunks)) {
		c := m.spare
		if m.spare = nil; c == nil {
			c = new(chunk)
		}
		m.chunks = append(m.chunks, c)
	}
	return &m.chunks[at/chunkSize][at%chunkSize]
}

// Next returns at most limit messages behind index after, in order, and none when
// there are none. What is committed is not returned. The slice is the caller's.
// The error is always nil; logs on disk may have one.
func (m *Memory) Next(after uint64, limit int) ([]push.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	after = max(after, m.committed)
	if after >= m.last || limit <= 0 {
		return nil, nil
	}
	n := min(m.last-after, uint64(limit))
	msgs := make([]push.Message, 0, n)
	for uint64(len(msgs)) < n {
		at := after + 1 + uint64(len(msgs)) - m.first
		c := m.chunks[at/chunkSize][at%chunkSize:]
		msgs = append(msgs, c[:min(uint64(len(c)), n-uint64(len(msgs)))]...)
	}
	return msgs, nil
}

// Commit drops the entries up to index. One that was committed before changes
// nothing; one that was never given is refused.
func (m *Memory) Commit(index uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index > m.last {
		return fmt.Errorf("commit entry %d of a log that ends at %d", index, m.last)
	}
	for m.committed < index {
		m.committed++
		e := m.slotLocked(m.committed)
		m.bytes -= int64(e.Size())
		*e = push.Message{}
	}
	for len(m.chunks) > 0 && m.committed-m.first+1 >= chunkSize {
		m.spare = m.chunks[0]
		m.chunks[0] = nil
		m.chunks = m.chunks[1:]
		m.first += chunkSize
	}
	return nil
}

// Depth is how many messages, and how many bytes by push.Message.Size, wait for
// Commit.
func (m *Memory) Depth() (messages int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.last - m.committed), m.bytes
}
