package logic

import (
	"errors"
	"slices"
	"sync"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// maxFlight bounds the entries, and the parts, that are looked up and not yet
	// acknowledged: at 5 ms a write it lets 1.6 million parts a second through.
	maxFlight = 8192
	// maxFlightBytes bounds what these parts hold beside bodies, which the log
	// holds anyway.
	maxFlightBytes = 64 << 20
	// maxGone bounds the entries remembered as given up. An entry that cannot be
	// remembered is not given up.
	maxGone = 1 << 16
)

// What Queued can end with besides nil.
var (
	// ErrNotQueued means: the push was given up before it was sent and will never
	// be.
	ErrNotQueued = errors.New("the queue did not take the push in time; it was not sent")
	// ErrUnknown means: the push may have been sent or may yet be. Repeating it
	// with its id cannot double it.
	ErrUnknown = errors.New("the queue did not acknowledge the push in time; it may still be sent")
	// ErrTooLarge means: the queue will never take the push.
	ErrTooLarge = errors.New("the push is larger than the queue takes")
)

// part is a message for one partition on its way to the queue: a push, or what of
// it goes to one gateway.
type part struct {
	msg       push.Message
	partition int32
	size      int // what it adds to flight's bytes
}

// entry is one entry of the log between the pump and the acknowledgement.
type entry struct {
	left  int32 // parts not acknowledged, and one for the pump while it adds more
	parts int32 // parts in all
	begun bool  // a part was handed to the queue: too late to give up
	fate  error // not nil: given up or refused
}

// waiter waits for entries on behalf of one Queued.
type waiter struct {
	left int           // entries that have not ended, one way or the other
	done chan struct{} // closed when left is 0
}

// flight is what became of the entries of the log, from when the pump takes them
// up in order to when all of their parts are acknowledged. The cursor is the last
// entry before which nothing is outstanding. It may be used concurrently.
type flight struct {
	// Static after construction.
	m     *counters
	moved chan struct{} // holds a token when the cursor moved or room came free; read by the pump

	mu      sync.Mutex // guards below
	first   uint64     // index of entries[head]; entries before are done
	head    int        // entries before it are free
	entries []entry
	parts   int // not acknowledged
	bytes   int // of them
	waiters map[uint64][]*waiter
	gone    map[uint64]error // entries given up or refused, also such that the pump has not met
	goneAge []uint64         // keys of gone, oldest first
}

func newFlight(m *counters) *flight {
	return &flight{m: m, moved: make(chan struct{}, 1), first: 1, waiters: map[uint64][]*waiter{}, gone: map[uint64]error{}}
}

// room says whether the pump may take up another entry or part.
func (f *flight) room() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)-f.head < maxFlight && f.parts < maxFlight && f.bytes < maxFlightBytes
}

// cursor is the last entry that is done together with all before it.
func (f *flight) cursor() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first - 1
}

// atLocked is an entry that the pump has taken up and that is not done together with
// all before it; nil for any other.
func (f *flight) atLocked(index uint64) *entry {
	if index < f.first || index >= f.first+uint64(len(f.entries)-f.head) {
		return nil
	}
	return &f.entries[f.head+int(index-f.first)]
}

// open takes up the next entry; false if it was given up meanwhile and is done.
func (f *flight) open(index uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.entries) == f.head {
		f.first = index // a log that goes on may begin anywhere
	}
	if index != f.first+uint64(len(f.entries)-f.head) {
		panic("BUG: the log's entries are not contiguous")
	}
	fate := f.gone[index]
	f.entries = append(f.entries, entry{left: 1, fate: fate})
	if fate != nil {
		f.lowerLocked(index)
	}
	return fate == nil
}

// add adds a part to an open entry; false if the entry was given up meanwhile.
func (f *flight) add(p *part) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.atLocked(p.msg.ID.Index)
	if e.fate != nil {
		return false
	}
	e.left++
	e.parts++
	f.parts++
	f.bytes += p.size
	return true
}

// seal says that the pump adds no more parts to an entry.
func (f *flight) seal(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lowerLocked(index)
}

// begin marks parts as being sent and returns those whose entries were not given
// up; it uses the array of ps.
func (f *flight) begin(ps []*part) []*part {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep := ps[:0]
	for _, p := range ps {
		e := f.atLocked(p.msg.ID.Index)
		if e.fate != nil {
			f.endLocked(p)
			continue
		}
		e.begun = true
		keep = append(keep, p)
	}
	return keep
}

// done says that the queue has acknowledged parts.
func (f *flight) done(ps []*part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range ps {
		f.endLocked(p)
	}
}

// refuse says that the queue will never take a part.
func (f *flight) refuse(p *part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	index := p.msg.ID.Index
	f.atLocked(index).fate = ErrTooLarge
	f.rememberLocked(index, ErrTooLarge)
	f.endLocked(p)
}

func (f *flight) endLocked(p *part) {
	f.parts--
	f.bytes -= p.size
	f.lowerLocked(p.msg.ID.Index)
	f.nudge()
}

// lowerLocked takes one off what an entry waits for, and ends it at 0.
func (f *flight) lowerLocked(index uint64) {
	e := f.atLocked(index)
	if e.left--; e.left > 0 {
		return
	}
	switch {
	case e.fate == nil && e.parts == 0:
		f.m.offline.Inc()
	case e.fate == nil:
		f.m.enqueued.Inc()
	case errors.Is(e.fate, ErrTooLarge):
		f.m.tooLarge.Inc()
	default:
		f.m.cancelled.Inc()
	}
	f.settleLocked(index)
	if index == f.first {
		f.advanceLocked()
	}
}

// advanceLocked moves the cursor over what is done.
func (f *flight) advanceLocked() {
	for f.head < len(f.entries) && f.entries[f.head].left == 0 {
		f.head++
		f.first++
	}
	switch {
	case f.head == len(f.entries):
		f.entries, f.head = f.entries[:0], 0
	case f.head >= maxFlight:
		f.entries = f.entries[:copy(f.entries, f.entries[f.head:])]
		f.head = 0
	}
	f.nudge()
}

func (f *flight) nudge() {
	select {
	case f.moved <- struct{}{}:
	default:
	}
}

// settleLocked tells those who wait for an entry that it has ended.
func (f *flight) settleLocked(index uint64) {
	for _, w := range f.waiters[index] {
		if w.left--; w.left == 0 {
			close(w.done)
		}
	}
	delete(f.waiters, index)
}

// endedLocked says whether an entry that was appended is done or given up.
func (f *flight) endedLocked(index uint64) bool {
	e := f.atLocked(index)
	return f.gone[index] != nil || index < f.first || e != nil && e.left == 0
}

// wait returns a waiter for entries that were appended; call forget afterwards.
func (f *flight) wait(indexes []uint64) *waiter {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{done: make(chan struct{})}
	for _, i := range indexes {
		if !f.endedLocked(i) {
			w.left++
			f.waiters[i] = append(f.waiters[i], w)
		}
	}
	if w.left == 0 {
		close(w.done)
	}
	return w
}

// forget removes a waiter.
func (f *flight) forget(w *waiter, indexes []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range indexes {
		rest := slices.DeleteFunc(f.waiters[i], func(x *waiter) bool { return x == w })
		if len(rest) == 0 {
			delete(f.waiters, i)
		} else {
			f.waiters[i] = rest
		}
	}
}

// verdict says how entries ended and gives up those that did not, all or none:
// none if one is done or may have been sent, because then their caller cannot be
// told that nothing happened.
func (f *flight) verdict(indexes []uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var done, open int
	var fate error
	for _, i := range indexes {
		switch e := f.atLocked(i); {
		case f.gone[i] != nil:
			fate = f.gone[i]
		case f.endedLocked(i):
			done++
		case e != nil && e.begun:
			return ErrUnknown
		default:
			open++
		}
	}
	switch {
	case open == 0 && (fate == nil || done == 0 || errors.Is(fate, ErrTooLarge)):
		return fate
	case done > 0, !f.spaceLocked(open):
		return ErrUnknown
	}
	f.giveUpLocked(indexes)
	return ErrNotQueued
}

func (f *flight) giveUpLocked(indexes []uint64) {
	for _, i := range indexes {
		if f.gone[i] != nil {
			continue
		}
		f.rememberLocked(i, ErrNotQueued)
		if e := f.atLocked(i); e != nil {
			e.fate = ErrNotQueued
		}
		f.settleLocked(i)
	}
}

// ended is how many entries behind the cursor have ended.
func (f *flight) ended() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.entries[f.head:] {
		if e.left == 0 {
			n++
		}
	}
	for i := range f.gone {
		if i >= f.first && f.atLocked(i) == nil {
			n++
		}
	}
	return n
}

// usable says whether an entry was not given up.
func (f *flight) usable(index uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone[index] == nil
}

// spaceLocked makes room for n more in gone by forgetting the oldest that the pump
// has passed; one that it has not met must be remembered, or it would be sent.
func (f *flight) spaceLocked(n int) bool {
	for len(f.goneAge) > 0 && len(f.goneAge)+n > maxGone && f.goneAge[0] < f.first {
		delete(f.gone, f.goneAge[0])
		f.goneAge = f.goneAge[1:]
	}
	return len(f.goneAge)+n <= maxGone
}

func (f *flight) rememberLocked(index uint64, fate error) {
	if _, ok := f.gone[index]; ok || !f.spaceLocked(1) {
		return
	}
	f.gone[index] = fate
	f.goneAge = append(f.goneAge, index)
}
