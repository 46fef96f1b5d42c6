package job

import (
	"context"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// route stages one record for every gateway it is for.
func (p *partition) route(ctx context.Context, r *push.Record, more int) error {
	j, m := p.job, &r.Message
	kind := m.To.Kind
	if kind > push.All {
		kind = push.Mids // no codec makes one; it counts with what nobody resolved
	}
	j.m.read[kind].Inc()
	if m.Expire != 0 && time.Now().UnixMicro() > m.Expire {
		j.dropMessage(dropExpired, m)
		return nil
	}
	v, err := p.gateways(ctx)
	if err != nil {
		return err
	}
	switch kind {
	case push.Keys:
		return p.routeKeys(ctx, v, r, more)
	case push.Room:
		return p.routeRoom(ctx, v, r, more)
	case push.All:
		p.shares = v.appendShares(p.shares[:0], m.To.Speed)
		for i, l := range v.links {
			if err := p.put(ctx, l, r, more, p.shares[i]); err != nil {
				return err
			}
		}
	default:
		j.dropMessage(dropNoNode, m)
	}
	return nil
}

// gateways is the present view; while it is empty it waits.
func (p *partition) gateways(ctx context.Context) (*view, error) {
	v := p.job.view.Load()
	for len(v.links) == 0 {
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
		v = p.job.view.Load()
	}
	if v != p.seen {
		p.prune(v)
	}
	return v, nil
}

// prune forgets the stages and lanes of gateways that are gone, once they are
// empty.
func (p *partition) prune(v *view) {
	p.seen = v
	for l, st := range p.stages {
		if v.byID[l.id] == l || len(st.items) > 0 || !l.isGone() {
			continue
		}
		delete(p.stages, l)
		p.mu.Lock()
		for i, ln := range p.lanes {
			if ln == st.lane {
				p.lanes = append(p.lanes[:i], p.lanes[i+1:]...)
				break
			}
		}
		p.mu.Unlock()
	}
}

// routeKeys stages for the gateway the keys are on. One the view does not have,
// or has in an earlier life, is asked for in the registry before it counts as
// gone, unless that was done for this very life before.
func (p *partition) routeKeys(ctx context.Context, v *view, r *push.Record, more int) error {
	j, to := p.job, &r.To
	if to.Node == "" {
		j.dropMessage(dropNoNode, &r.Message)
		return nil
	}
	l, newer := v.find(to)
	if g := (grave{to.Node, to.Epoch}); newer && !j.graves.has(g) {
		if err := p.relist(ctx); err != nil {
			return err
		}
		v, err := p.gateways(ctx)
		if err != nil {
			return err
		}
		if l, newer = v.find(to); newer {
			j.graves.add(g)
		}
	}
	if l == nil {
		j.dropMessage(dropNodeGone, &r.Message)
		return nil
	}
	return p.put(ctx, l, r, more, push.Share{})
}

// relist has the gateways listed anew, however long the registry takes: whether a
// node is gone is not for us to guess. What is staged goes out before.
func (p *partition) relist(ctx context.Context) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	for p.job.relist(ctx) != nil {
		if err := sleep(ctx, retryRegistry); err != nil {
			return err
		}
	}
	return nil
}

// find returns the link to the life of the gateway that t means, or nil. newer
// says that the view may only be too old to know it.
func (v *view) find(t *push.Target) (l *link, newer bool) {
	l = v.byID[t.Node]
	if l == nil {
		return nil, true
	}
	life := l.life.Load()
	if t.Epoch != 0 && t.Epoch != life {
		return nil, t.Epoch > life
	}
	return l, false
}

// routeRoom stages for the gateways that announced the room, and for those whose
// list is not complete. Those come first: a gateway that completes its list in
// between is found in the index then, never in neither.
func (p *partition) routeRoom(ctx context.Context, v *view, r *push.Record, more int) error {
	targets := p.targets[:0]
	if p.job.unfiltered.Load() > 0 {
		for _, l := range v.links {
			if !l.filtered.Load() {
				targets = append(targets, l)
			}
		}
	}
	targets = p.job.index.appendTargets(targets, cluster.Scope(r.App, r.To.Room))
	p.targets = targets
	if len(targets) == 0 {
		p.job.dropMessage(dropNoMembers, &r.Message)
	}
	for _, l := range targets {
		if err := p.put(ctx, l, r, more, push.Share{}); err != nil {
			return err
		}
	}
	return nil
}

// put stages r for one gateway and hands over what makes a full batch.
func (p *partition) put(ctx context.Context, l *link, r *push.Record, more int, share push.Share) error {
	st := p.stages[l]
	if st == nil {
		st = p.newStage(l)
	}
	size := r.Size()
	limit := p.job.cfg.BatchBytes
	if st.bytes > 0 && st.bytes+size > limit {
		if err := p.hand(ctx, st); err != nil {
			return err
		}
	}
	if len(st.items) == 0 {
		p.staged = append(p.staged, st)
	}
	divided(&st.add(&r.Message, r.Offset, more).To, share)
	if st.bytes >= limit {
		return p.hand(ctx, st)
	}
	return nil
}

// newStage makes the stage and the lane for a gateway. For one that is gone the
// lane is closed and drops what it is given.
func (p *partition) newStage(l *link) *stage {
	ln := l.lane(p)
	st := &stage{lane: ln}
	p.stages[l] = st
	p.mu.Lock()
	p.lanes = append(p.lanes, ln)
	p.mu.Unlock()
	return st
}
