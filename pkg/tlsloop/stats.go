package tlsloop

import "sync/atomic"

// Stats are a pool's figures, for metrics.
type Stats struct {
	// Now:
	Running int // handshakes on goroutines
	Waiting int // for a goroutine

	// Since the pool was made:
	Done    uint64 // handshakes that succeeded
	Resumed uint64 // of these, with a session ticket
	Failed  uint64 // the client's bytes were not what they should be, or it refused ours
	Expired uint64 // took longer than Options.Timeout
	Aborted uint64 // the connection was closed, or the pool ended
	Refused uint64 // found Options.Waiting before them
	Panics  uint64 // in crypto/tls
}

type counts struct {
	done, resumed, failed, expired, aborted, refused, panics atomic.Uint64
}

// Stats returns the figures of this moment.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	running, waiting := p.running, p.waiting.Len()
	p.mu.Unlock()
	return Stats{
		Running: running, Waiting: waiting,
		Done: p.counts.done.Load(), Resumed: p.counts.resumed.Load(), Failed: p.counts.failed.Load(),
		Expired: p.counts.expired.Load(), Aborted: p.counts.aborted.Load(),
		Refused: p.counts.refused.Load(), Panics: p.counts.panics.Load(),
	}
}

// Pending is how many handshakes have begun and not ended: those that run, those
// that wait, and those of which the first record is not whole.
func (p *Pool) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
