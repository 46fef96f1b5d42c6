package logic

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// throttleEvery is how often a repeating warning is logged: often enough to be
// seen, seldom enough that an outage of a night fits on a screen.
const throttleEvery = 10 * time.Second

// throttle logs a repeating warning at most once per throttleEvery and says then
// how many it swallowed. The zero value is ready; it may be used concurrently.
type throttle struct {
	mu        sync.Mutex // guards below
	last      time.Time
	swallowed int
}

func (t *throttle) warn(log *slog.Logger, msg string, args ...any) {
	t.mu.Lock()
	now := time.Now()
	if !t.last.IsZero() && now.Sub(t.last) < throttleEvery {
		t.swallowed++
		t.mu.Unlock()
		return
	}
	swallowed := t.swallowed
	t.last, t.swallowed = now, 0
	t.mu.Unlock()
	if swallowed > 0 {
		args = append(args, "swallowed", swallowed)
	}
	log.Warn(msg, args...)
}

// Waits between attempts on a dependency that is away. The longest one bounds how
// long normal work takes to resume after its return.
const (
	firstWait = 20 * time.Millisecond
	lastWait  = time.Second
)

// pause waits for d; false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
