package job

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

const (
	// retryQueue is the wait after a read that failed though it should not.
	retryQueue = 200 * time.Millisecond
	// lastCommit bounds the commit that ends an assignment.
	lastCommit = time.Second
	// commitBytes is after how much reading of one partition a commit does not
	// wait for its time: a bounded queue (pkg/memory) frees its space by commits.
	// With 16 MiB of queue and 200 ms between commits 0.37M messages/s went
	// through at most, with this 2 to 3.5M.
	commitBytes = 4 << 20
)

// assignment is what the job works on during one generation.
type assignment struct {
	// Set by serve, then read-only.
	job        *Job
	source     push.Assignment
	partitions []*partition
	due        chan struct{} // a commit is wanted now; holds one

	// Owned by the goroutine that commits: commitEvery, then serve.
	committed map[int32]int64
}

// serve works for one assignment until it ends, or a gateway says that it has
// ended. Then it stops reading, waits a little for the gateways to answer what
// was read, and commits how far that went.
func (j *Job) serve(ctx context.Context, source push.Assignment) {
	work, giveUp := context.WithCancel(ctx)
	defer giveUp()
	a := &assignment{job: j, source: source, due: make(chan struct{}, 1), committed: map[int32]int64{}}
	for _, id := range source.Partitions() {
		a.partitions = append(a.partitions, newPartition(j, source, id, a.due, giveUp))
	}
	j.log.Info("assignment begins", "generation", source.Generation(), "partitions", source.Partitions())
	j.setPartitions(a.partitions)
	j.index.own(source.Partitions())

	var group sync.WaitGroup // all end with work
	for _, p := range a.partitions {
		group.Go(func() { p.read(work) })
	}
	group.Go(func() { a.commitEvery(work) })
	group.Go(func() { newCounts(j, source.Partitions()).run(work) })
	group.Wait()

	a.drain(context.WithoutCancel(ctx))
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
	defer cancel()
	a.commit(last)
	j.index.own(nil)
	j.setPartitions(nil)
	for _, p := range a.partitions {
		p.close()
	}
	j.m.lag.Store(0)
	j.log.Info("assignment ended", "generation", source.Generation())
	if ctx.Err() == nil {
		_ = sleep(ctx, rejoin) // given up: the group needs a moment
	}
}

func (j *Job) setPartitions(ps []*partition) {
	j.mu.Lock()
	j.partitions = ps
	j.mu.Unlock()
	j.m.partitions.Store(int64(len(ps)))
}

// drain waits until nothing can be answered any more, DrainTimeout at most. What
// then is still in lanes is read again by the next owner.
func (a *assignment) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.job.cfg.DrainTimeout)
	defer cancel()
	for _, p := range a.partitions {
		for !p.idle() {
			if p.wait(ctx) != nil {
				return
			}
		}
	}
}

// commitEvery commits, now and then and when it is due, until ctx ends.
func (a *assignment) commitEvery(ctx context.Context) {
	tick := time.NewTicker(a.job.cfg.CommitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.due:
		}
		a.commit(ctx)
	}
}

// commit commits the offsets that have moved. One that fails is tried again with
// the next.
func (a *assignment) commit(ctx context.Context) {
	next := map[int32]int64{}
	var lag int64
	for _, p := range a.partitions {
		offset, read, ok := p.cursor()
		if !ok {
			continue
		}
		lag += read - offset
		if last, had := a.committed[p.id]; !had || offset > last {
			next[p.id] = offset
		}
	}
	a.job.m.lag.Store(lag)
	if len(next) == 0 {
		return
	}
	if err := a.source.Commit(ctx, next); err != nil {
		if !errors.Is(err, context.Canceled) {
			a.job.m.commitErrors.Inc()
			a.job.throttle.warn("commit", "generation", a.source.Generation(), "err", err)
		}
		return
	}
	a.job.m.commits.Inc()
	maps.Copy(a.committed, next)
}
