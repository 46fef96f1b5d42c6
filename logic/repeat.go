package logic

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// repeatFor is how long a push id stands for the push that came with it first.
	repeatFor = 10 * time.Minute
	// MaxPushID is the length of a push id that a caller chooses, in bytes.
	MaxPushID = 64
)

// Errors about push ids.
var (
	// ErrPushIDs means: not accepted, try again later or without an id.
	ErrPushIDs = errors.New("too many push ids within 10 minutes (logic.push_ids)")
	// ErrPushIDBusy means: not accepted, the same push is just being accepted.
	ErrPushIDBusy = errors.New("a push with this id is just being accepted")
)

// CheckPushID says what is wrong with a push id that a caller chose. "" is none
// and passes.
func CheckPushID(id string) error {
	if len(id) > MaxPushID {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(id), MaxPushID)
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] > '~' {
			return errors.New("only printable ASCII without spaces is allowed")
		}
	}
	return nil
}

// repeatKey stands for an app and a push id: half a SHA-256, so that a table of a
// million ids is 16 bytes each and nobody can make two that meet.
type repeatKey [16]byte

func newRepeatKey(app, id string) repeatKey {
	sum := sha256.Sum256([]byte(cluster.Scope(app, id)))
	return repeatKey(sum[:16])
}

// repeats remembers the ids that callers chose, each for repeatFor, at most limit
// of them. It refuses when it is full: forgetting one early could double a push
// behind its caller's back. It may be used concurrently.
type repeats struct {
	limit int // static

	mu    sync.Mutex // guards below; flight.mu may be taken under it
	known map[repeatKey]repeated
	order []repeatAge // of the settled ones, oldest first; may name what was replaced
}

type repeated struct {
	index uint64    // of the entry in our log; 0 while it is being appended
	since time.Time // when it was settled
}

type repeatAge struct {
	key   repeatKey
	since time.Time
}

func newRepeats(limit int) *repeats { return &repeats{limit: limit, known: map[repeatKey]repeated{}} }

// claim looks keys up. found[i] is the entry that key i stands for, or 0: then it
// is claimed, and the caller appends that push and calls settle, or release on
// failure. A key that stands twice in keys is claimed once and 0 at both places.
// usable says whether an entry still stands for a push that was not given up. On
// an error nothing is claimed.
func (r *repeats) claim(keys []repeatKey, usable func(index uint64) bool) (found []uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked(time.Now())
	found = make([]uint64, len(keys))
	for i, k := range keys {
		e, known := r.known[k]
		switch {
		case known && e.index != 0 && usable(e.index):
			found[i] = e.index
			continue
		case known && e.index == 0 && slices.Contains(keys[:i], k):
			continue
		case known && e.index == 0:
			err = ErrPushIDBusy
		case max(len(r.known), len(r.order)) >= r.limit:
			err = ErrPushIDs
		}
		if err != nil {
			r.releaseLocked(keys[:i], found)
			return nil, err
		}
		r.known[k] = repeated{}
	}
	return found, nil
}

// settle says that a claimed key stands for the entry index from now on.
func (r *repeats) settle(key repeatKey, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.known[key] = repeated{index, now}
	r.order = append(r.order, repeatAge{key, now})
}

// release gives up what claim claimed.
func (r *repeats) release(keys []repeatKey, found []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(keys, found)
}

func (r *repeats) releaseLocked(keys []repeatKey, found []uint64) {
	for i, k := range keys {
		if found[i] == 0 {
			delete(r.known, k)
		}
	}
}

func (r *repeats) expireLocked(now time.Time) {
	n := 0
	for n < len(r.order) && now.Sub(r.order[n].since) >= repeatFor {
		age := r.order[n]
		if e, ok := r.known[age.key]; ok && e.index != 0 && e.since.Equal(age.since) {
			delete(r.known, age.key)
		}
		n++
	}
	r.order = r.order[n:]
}
