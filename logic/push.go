package logic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// ErrStopping means: not accepted, this node is on its way down.
var ErrStopping = errors.New("this node is stopping")

// Busy says whether err means that a push was not accepted now but may be later.
func Busy(err error) bool {
	return errors.Is(err, ErrSpoolFull) || errors.Is(err, ErrPushIDs) || errors.Is(err, ErrPushIDBusy) ||
		errors.Is(err, ErrStopping)
}

// Push takes over all of msgs or none: they are in this node's log when it
// returns, and have their ID and Accepted set. It does not look receivers up and
// does not wait for the queue; call Wake once the caller was answered. What msgs
// refer to must not be changed afterwards; the slice itself is the caller's again.
// It may be called concurrently. The error is one that Busy knows.
func (l *Logic) Push(msgs []push.Message) error {
	l.intake.RLock()
	defer l.intake.RUnlock()
	if l.stopping {
		l.m.stopping.Add(len(msgs))
		return ErrStopping
	}
	now := time.Now().UnixMicro()
	for i := range msgs {
		msgs[i].Accepted = now
	}
	if err := l.deps.Spool.Append(msgs); err != nil {
		l.m.full.Add(len(msgs))
		return err
	}
	for i := range msgs {
		l.m.accepted[msgs[i].To.Kind].Inc()
	}
	if n := len(msgs); n > 0 {
		l.raise(msgs[n-1].ID.Index)
	}
	return nil
}

// raise remembers the greatest index that was given.
func (l *Logic) raise(index uint64) {
	for {
		old := l.last.Load()
		if index <= old || l.last.CompareAndSwap(old, index) {
			return
		}
	}
}

// PushOnce is Push for pushes that their callers may repeat: ids[i] is the push id
// that came with msgs[i], "" for none. A push whose id this node has accepted
// within 10 minutes is not taken over again; its ID is set to that of the first.
// So is one whose id is an ID that this node gave (push.ID.String). A push that
// was given up (ErrNotQueued) or refused (ErrTooLarge) does not count as accepted.
// ids pass CheckPushID. Errors are those of Push, ErrPushIDs and ErrPushIDBusy.
func (l *Logic) PushOnce(msgs []push.Message, ids []string) error {
	keys := make([]repeatKey, 0, len(ids))
	place := make([]int, 0, len(ids)) // of each key in msgs
	for i, id := range ids {
		if id != "" {
			keys = append(keys, newRepeatKey(msgs[i].App, id))
			place = append(place, i)
		}
	}
	found, err := l.repeats.claim(keys, l.flight.usable)
	if err != nil {
		if errors.Is(err, ErrPushIDs) {
			l.m.idsFull.Add(len(msgs))
		}
		return err
	}
	fresh, first := l.fresh(msgs, ids, keys, place, found)
	if err := l.Push(fresh); err != nil {
		l.repeats.release(keys, found)
		return err
	}
	l.assign(msgs, fresh, first)
	for k, i := range place {
		if found[k] == 0 {
			l.repeats.settle(keys[k], msgs[i].ID.Index)
		}
	}
	return nil
}

// Marks in first for messages that are not appended.
const isRepeat = -1

// fresh picks the messages to append. first[i] is the place in fresh of message i,
// or of the one in the same call whose id it has; isRepeat when it was accepted
// before, and its ID is set.
func (l *Logic) fresh(msgs []push.Message, ids []string, keys []repeatKey, place []int, found []uint64) (fresh []push.Message, first []int) {
	fresh = make([]push.Message, 0, len(msgs))
	first = make([]int, len(msgs))
	seen := map[repeatKey]int{}
	k := 0
	for i := range msgs {
		if k == len(place) || place[k] != i { // without an id
			first[i] = len(fresh)
			fresh = append(fresh, msgs[i])
			continue
		}
		key, index := keys[k], found[k]
		k++
		if index == 0 {
			index = l.given(ids[i])
		}
		at, twice := seen[key]
		switch {
		case index != 0:
			l.m.repeats.Inc()
			first[i] = isRepeat
			msgs[i].ID = push.ID{Spool: l.deps.Spool.ID(), Index: index}
		case twice:
			l.m.repeats.Inc()
			first[i] = at
		default:
			first[i], seen[key] = len(fresh), len(fresh)
			fresh = append(fresh, msgs[i])
		}
	}
	return fresh, first
}

// assign gives messages the identities of those that were appended for them.
func (l *Logic) assign(msgs, fresh []push.Message, first []int) {
	for i, at := range first {
		if at != isRepeat {
			msgs[i].ID, msgs[i].Accepted = fresh[at].ID, fresh[at].Accepted
		}
	}
}

// given is the entry that id names if it is an ID of our log that we gave and that
// was not given up; 0 otherwise.
func (l *Logic) given(id string) uint64 {
	parsed, err := push.ParseID(id)
	if err != nil || parsed.Spool != l.deps.Spool.ID() || parsed.Index > l.last.Load() || !l.flight.usable(parsed.Index) {
		return 0
	}
	return parsed.Index
}

// Wake tells the pump that there is something in the log. It never blocks and may
// be called at any time, by anybody, any number of times.
func (l *Logic) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Queued waits until the queue has acknowledged all of pushes that Push accepted,
// at most for the configured time and until ctx ends. Then those that were not
// sent yet are given up, all of them or none, and the answer is
//
//   - ErrNotQueued: none was sent, and none will be;
//   - ErrUnknown: some were sent or may yet be;
//   - ErrTooLarge: the queue will never take one of them, the others are queued.
//
// A push without receivers counts as queued.
func (l *Logic) Queued(ctx context.Context, ids ...push.ID) error {
	indexes := make([]uint64, len(ids))
	for i, id := range ids {
		if id.Spool != l.deps.Spool.ID() || id.Index > l.last.Load() {
			return fmt.Errorf("push %v was not accepted by this node", id)
		}
		indexes[i] = id.Index
	}
	w := l.flight.wait(indexes)
	defer l.flight.forget(w, indexes)
	l.Wake()
	timeout := time.NewTimer(l.cfg.QueuedTimeout)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	case <-ctx.Done():
	}
	return l.flight.verdict(indexes)
}
