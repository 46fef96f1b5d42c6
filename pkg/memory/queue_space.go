package memory

import (
	"context"
	"slices"
	"sync"
)

// space is what is left of the queue's bound. Whoever waits for some is served in
// turn, so that a large message is not passed by small ones for ever.
type space struct {
	total int64 // static

	mu      sync.Mutex // guards below
	free    int64
	waiting []*waiter // first come, first served
}

type waiter struct {
	size  int64
	ready chan struct{} // closed when size is taken for it
}

// take waits until n bytes are free and takes them. n is at most total.
func (s *space) take(ctx context.Context, n int64) error {
	s.mu.Lock()
	if len(s.waiting) == 0 && n <= s.free {
		s.free -= n
		s.mu.Unlock()
		return nil
	}
	w := &waiter{size: n, ready: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		s.leave(w)
		return ctx.Err()
	}
}

// leave takes w out of the line, or gives back what it was given meanwhile.
func (s *space) leave(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else {
		s.free += w.size
	}
	s.serveLocked()
}

// give frees n bytes.
func (s *space) give(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	s.serveLocked()
}

func (s *space) serveLocked() {
	for len(s.waiting) > 0 && s.waiting[0].size <= s.free {
		s.free -= s.waiting[0].size
		close(s.waiting[0].ready)
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
}

func (s *space) used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total - s.free
}
