package bench

import (
	"slices"
	"time"

	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// settle ends the flows, waits until what was accepted has arrived or does not come
// any more, and notes all that is wrong.
func (r *run) settle() error {
	if err := r.arrive(); err != nil {
		return err
	}
	return r.conclude()
}

// arrive is the first part of it, up to when all has arrived.
func (r *run) arrive() error {
	r.show.say("waiting for what is under way")
	if err := r.stopFlows(); err != nil {
		return err
	}
	for _, x := range r.flows {
		r.noteFlow(x)
	}
	if err := r.tellExpected(); err != nil {
		return err
	}
	_, err := r.await(0)
	return err
}

// conclude waits for what nobody waits for, and judges.
func (r *run) conclude() error {
	gap, err := r.await(quiet)
	if err != nil {
		return err
	}
	r.res.Faults.Lost += gap.Lost
	r.res.Faults.Unsent += gap.Unsent
	r.judge(gap)
	return r.clientMemory()
}

// noteFlow puts a flow into the result.
func (r *run) noteFlow(x *flow) {
	s := x.last
	took, perSecond := 0.0, 0.0
	if s.Sent > 0 {
		took = (s.Ended - x.spec.Start).Seconds()
		perSecond = float64(s.Accepted) / took
	}
	r.res.Flows = append(r.res.Flows, Flow{
		Name: x.name, Offered: x.spec.Rate, Lanes: x.spec.Lanes, Sent: s.Sent, Accepted: s.Accepted, Refused: s.Refused, Unknown: s.Unknown, Behind: s.Behind,
		Seconds: took, PerSecond: perSecond, Answer: percentiles(x.answers), Late: percentiles(x.late), Why: s.Why,
	})
	if late := percentiles(x.late); late.P99 > lateP99 {
		r.res.Harness.Bound = true
		r.warn("the harness itself was late with %s: p99 %s", x.name, ms(late.P99))
	}
	if s.Behind > max(s.Sent/100, int64(x.spec.Lanes)) {
		r.warn("%s: %s that were due had not been sent when the flow ended, since others were not answered: they are in no figure", x.name, number(s.Behind))
	}
	if s.Accepted == 0 {
		r.fail("%s: none of %s pushes was accepted: %v", x.name, number(s.Sent), s.Why)
	}
}

// tellExpected tells each process what its clients must have got.
func (r *run) tellExpected() error {
	if len(r.flows) == 0 {
		return nil
	}
	e, err := r.expectation()
	if err != nil {
		return err
	}
	for _, g := range r.groups {
		err := g.each(func(c *clientProc) error {
			part := swarm.Expectation{Self: map[int][]swarm.Count{}, Room: e.Room, All: e.All}
			for n := g.spec.First + c.first; n < g.spec.First+c.first+c.n; n++ {
				if counts, ok := e.Self[n]; ok {
					part.Self[n] = counts
				}
			}
			_, err := work.Call[work.None](c.Process, "expect", part)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	settlePoll = 50 * time.Millisecond
	// quiet is how long nothing may have come before a run ends in which nothing is
	// missing: a message that comes twice may do so after all have come once.
	quiet = time.Second
)

// await waits until nothing is missing and nothing has come for so long, or nothing
// has come for the cool-down.
func (r *run) await(still time.Duration) (gap swarm.Gap, err error) {
	for moved, last := r.clock.Now(), int64(-1); ; {
		if err := r.lookAtAll(); err != nil {
			return gap, err
		}
		if len(r.flows) == 0 {
			return gap, nil
		}
		if gap, err = r.missing(); err != nil {
			return gap, err
		}
		came := int64(0)
		for _, g := range r.groups {
			came += g.seen.Pushes + g.seen.Foreign + g.seen.Misdelivered + g.seen.Corrupt
		}
		if came != last {
			moved, last = r.clock.Now(), came
		}
		since := r.clock.Now() - moved
		if gap.Lost == 0 && since >= still || since > r.opt.CoolDown {
			return gap, nil
		}
		if gap.Lost > 0 {
			r.show.say("waiting for %s messages", number(gap.Lost))
		}
		if err := r.sleep(r.clock.Now() + settlePoll); err != nil {
			return gap, err
		}
	}
}

// missing is the gap of all clients together.
func (r *run) missing() (all swarm.Gap, err error) {
	for _, g := range r.groups {
		gaps := make([]swarm.Gap, len(g.procs))
		err := g.each(func(c *clientProc) (err error) {
			i := slices.Index(g.procs, c)
			gaps[i], err = work.Call[swarm.Gap](c.Process, "missing", work.None{})
			return err
		})
		if err != nil {
			return all, err
		}
		for _, x := range gaps {
			all.Lost += x.Lost
			all.Unsent += x.Unsent
			all.Clients += x.Clients
			all.Complete += x.Complete
			all.Wanted += x.Wanted
		}
	}
	return all, nil
}

// judge notes what is wrong with what has come.
func (r *run) judge(gap swarm.Gap) {
	f := &r.res.Faults
	r.res.Ended = map[string]int{}
	for _, g := range r.groups {
		f.Add(g.seen.Faults)
		r.res.Foreign += g.seen.Foreign
		r.res.Examples = append(r.res.Examples, g.seen.Examples...)
		for why, n := range g.seen.Ended {
			r.res.Ended[why] += n
		}
		switch {
		case g.name == crowdName && r.res.Crowd != nil:
			r.res.Crowd.Latency = percentiles(g.seen.latency)
		case g.name != crowdName && r.res.Deliver != nil:
			r.res.Deliver.Latency = percentiles(g.seen.latency)
		}
	}
	for _, x := range []struct {
		n    int64
		what string
	}{
		{f.Lost, "lost"}, {f.Doubled, "doubled"}, {f.Reordered, "reordered"}, {f.Stale, "doubled or reordered"},
		{f.Misdelivered, "misdelivered"}, {f.Corrupt, "corrupt"}, {f.Unsent, "delivered though refused"},
	} {
		if x.n > 0 {
			r.fail("%s messages %s", number(x.n), x.what)
		}
	}
	if len(r.flows) > 0 && gap.Clients+gap.Complete == 0 {
		r.fail("nothing was checked: there is no client left that counts")
	}
	if gap.Clients > 0 {
		r.fail("%s clients lack messages, %s lack none", number(gap.Clients), number(gap.Complete))
	}
	if f.Broken > 0 {
		r.fail("%s connections on which something came that the protocol does not allow", number(f.Broken))
	}
	if n := sum(r.res.Ended); n > 0 {
		r.fail("%s open connections ended: %s", number(n), most(r.res.Ended))
	}
}
