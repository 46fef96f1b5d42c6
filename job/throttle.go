package job

import (
	"log/slog"
	"sync"
	"time"
)

// warnEvery is how often one warning is written while it repeats.
const warnEvery = 10 * time.Second

// throttle writes each warning at most once per warnEvery and says how many it
// swallowed in between.
type throttle struct {
	log *slog.Logger // read-only

	mu sync.Mutex
	// guards below
	last map[string]*warning // by message: constants of this package, so few
}

type warning struct {
	until     time.Time
	swallowed int
}

func (t *throttle) warn(msg string, args ...any) {
	t.mu.Lock()
	w := t.last[msg]
	if w == nil {
		w = &warning{}
		t.last[msg] = w
	}
	now := time.Now()
	if now.Before(w.until) {
		w.swallowed++
		t.mu.Unlock()
		return
	}
	if w.swallowed > 0 {
		args = append(args, "swallowed", w.swallowed)
	}
	w.until, w.swallowed = now.Add(warnEvery), 0
	t.mu.Unlock()
	t.log.Warn(msg, args...)
}
