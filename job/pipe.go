package job

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// reopenMin and reopenMax bound the wait before a stream is opened again; it
	// doubles from one to the other, and up to half of it is left out at random.
	reopenMin = 50 * time.Millisecond
	reopenMax = time.Second
	// steady is how long a stream must have stood for the wait to begin anew.
	steady = time.Second
)

// pipe is one delivery stream of a link. It implements push.Receiver.
type pipe struct {
	// Set by open, then read-only.
	link   *link
	number uint32        // of this pipe on its link, from 1
	done   chan struct{} // closed by Closed

	// Guarded by link.mu.
	stream    push.Stream // nil until Open has returned
	failed    bool        // a call on it returned an error
	heard     uint64      // highest Interest that is in effect
	confirmed uint64      // highest one confirmed
	sweep     bool        // the room list is complete: forget what older pipes announced
}

var _ push.Receiver = (*pipe)(nil)

// run keeps a stream open until ctx ends, then forgets the gateway's rooms.
func (l *link) run(ctx context.Context) {
	var wait time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		if p := l.open(ctx); p != nil {
			l.serve(ctx, p)
		}
		if time.Since(began) >= steady {
			wait = 0
		}
		wait = min(max(2*wait, reopenMin), reopenMax)
		l.pause(ctx, wait-rand.N(wait/2+1))
	}
	// No pipe is left that could announce a room after this.
	l.job.index.forget(l)
	signal(l.job.forgot)
}

// pause waits before the next attempt; a new life of the gateway ends it.
func (l *link) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-l.reborn:
	case <-t.C:
	}
}

// open opens a stream to the current life of the node, or returns nil.
func (l *link) open(ctx context.Context) *pipe {
	l.mu.Lock()
	l.pipes++
	p := &pipe{link: l, number: l.pipes, done: make(chan struct{})}
	l.cur = p
	n := l.node
	l.mu.Unlock()

	h := push.Hello{Version: cluster.Version, Job: l.job.cfg.ID, Node: n.ID, Epoch: n.Epoch}
	s, err := l.job.sender.Open(ctx, n, h, p)
	if err != nil {
		l.mu.Lock()
		if l.cur == p {
			l.detach()
		}
		l.mu.Unlock()
		if ctx.Err() == nil {
			l.job.m.openErrors.Inc()
			l.job.throttle.warn("open delivery stream", "node", n.ID, "epoch", n.Epoch, "err", err)
		}
		return nil
	}
	l.mu.Lock()
	p.stream = s
	l.mu.Unlock()
	l.job.m.opened.Inc()
	l.job.m.streams.Add(1)
	l.job.log.Info("delivery stream open", "node", n.ID, "epoch", n.Epoch)
	return p
}

// serve works for an open pipe until it has closed: it sends again what was
// refused, takes over where others stopped pumping, and sweeps the room index.
func (l *link) serve(ctx context.Context, p *pipe) {
	defer l.job.m.streams.Add(-1)
	defer func() { <-p.done }()
	defer p.stream.Close()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		if l.current(p) {
			l.sweep(p)
			l.pump()
		} else {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.done:
			return
		case <-l.kick:
		case <-retry.C:
		}
		if d := l.unrest(time.Now()); d > 0 {
			retry.Reset(d)
		}
	}
}

// current says whether p is the link's stream: a new life leaves it behind.
func (l *link) current(p *pipe) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur == p
}

// sweep forgets what earlier pipes announced and p did not, once p's list is
// complete.
func (l *link) sweep(p *pipe) {
	l.mu.Lock()
	due := p.sweep
	p.sweep = false
	l.mu.Unlock()
	if due {
		l.job.index.sweep(l, p.number)
	}
}

// unrest lets lanes whose delay is over send again and returns how long the next
// one has to wait, 0 if none does.
func (l *link) unrest(now time.Time) (next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.resting == 0 {
		return 0
	}
	for _, ln := range l.lanes {
		if ln.retryAt.IsZero() {
			continue
		}
		if d := ln.retryAt.Sub(now); d > 0 {
			if next == 0 || d < next {
				next = d
			}
			continue
		}
		ln.rest(time.Time{})
		l.enqueue(ln)
	}
	return next
}

// Ack takes a verdict on batches, see push.AckStatus.
func (p *pipe) Ack(a push.Ack) {
	l := p.link
	l.mu.Lock()
	ln := l.lanes[a.Partition]
	if l.cur != p || ln == nil || ln.part.generation != a.Generation || int(a.Status) >= len(l.job.m.acks) {
		l.mu.Unlock()
		return
	}
	l.job.m.acks[a.Status].Inc()
	l.answered = time.Now()
	var freed, rests, lost bool
	switch a.Status {
	case push.AckDone:
		freed = ln.done(a.Seq)
	case push.AckBusy:
		rests = ln.busy(a.Seq, l.answered)
	case push.AckStale:
		lost = !ln.stale
		ln.stale = true
		ln.back(0)
	}
	l.mu.Unlock()
	if freed {
		ln.part.poke()
	}
	if lost {
		ln.part.lost(l.id)
	}
	if rests {
		l.wake()
	}
	l.pump()
}

// Interest takes announced rooms into the index and has them confirmed. It
// leaves the sending to run: in one process the caller is an event loop of the
// gateway, which has no time for the job's backlog.
func (p *pipe) Interest(i push.Interest) {
	l := p.link
	l.job.index.announce(l, p.number, i.Rooms)
	l.mu.Lock()
	current := l.cur == p
	if current {
		p.heard = max(p.heard, i.Seq)
		if i.Counted {
			l.told.Store(max(i.Conns, 0))
		}
		if i.Complete {
			l.setFiltered(true)
			p.sweep = true
		}
	}
	l.mu.Unlock()
	l.wake()
}

// Closed ends the pipe: what was not answered leaves on the next one.
func (p *pipe) Closed(err error) {
	l := p.link
	l.mu.Lock()
	current := l.cur == p
	if current {
		l.detach()
	}
	l.mu.Unlock()
	l.job.m.lost.Inc()
	if current {
		l.job.log.Info("delivery stream closed", "node", l.id, "err", err)
		l.job.pokeAll()
	}
	close(p.done)
}
