package gateway

import (
	"context"
	"sync"

	"github.com/panjf2000/ants/v2"
)

// maxBatch bounds what one call to logic carries.
const maxBatch = 512

// batcher collects work for calls that may block and makes them on a worker
// pool, so that loops never wait. While workers are free a piece of work leaves
// at once; while all are busy, batches grow up to maxBatch.
type batcher[T any] struct {
	// Set by newBatcher, then read-only.
	limit int
	call  func(batch []T) // on a worker
	more  chan struct{}   // holds one token while queue may have work

	mu sync.Mutex
	// guards below
	queue []T
	calls int // of batches that were taken and are not done
}

func newBatcher[T any](limit int, call func(batch []T)) *batcher[T] {
	return &batcher[T]{limit: limit, call: call, more: make(chan struct{}, 1)}
}

// add queues x. False: the bound is reached and x was not taken.
func (b *batcher[T]) add(x ...T) bool {
	b.mu.Lock()
	if len(b.queue)+len(x) > b.limit {
		b.mu.Unlock()
		return false
	}
	b.queue = append(b.queue, x...)
	b.mu.Unlock()
	b.wake()
	return true
}

func (b *batcher[T]) wake() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// take returns the next batch, empty when there is none.
func (b *batcher[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), maxBatch)
	batch := append([]T(nil), b.queue[:n]...)
	clear(b.queue[:n])
	b.queue = b.queue[n:]
	if n > 0 {
		b.calls++
	}
	return batch
}

// done is called when the call of a batch has returned.
func (b *batcher[T]) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// run makes the calls, at most workers at a time, until ctx ends; it returns
// when the last call has.
func (b *batcher[T]) run(ctx context.Context, workers int) error {
	pool, err := ants.NewPool(workers)
	if err != nil {
		return err
	}
	var calls sync.WaitGroup
	defer pool.Release()
	defer calls.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.more:
		}
		for batch := b.take(); len(batch) > 0; batch = b.take() {
			calls.Add(1)
			// Submit waits for a free worker; it fails only on a released pool.
			err := pool.Submit(func() {
				defer calls.Done()
				defer b.done()
				b.call(batch)
			})
			if err != nil {
				calls.Done()
				return err
			}
		}
	}
}

// idle says that nothing is queued or under way.
func (b *batcher[T]) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) == 0 && b.calls == 0
}
