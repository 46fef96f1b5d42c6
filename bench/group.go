package bench

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/protocol"
)

// group is clients of one kind, in one or more processes.
type group struct {
	name  string
	spec  swarm.Spec // First and N of all of them
	procs []*clientProc
	begun int // processes that have begun to open their clients, the first ones
	seen  seen
}

type clientProc struct {
	*work.Process
	first, n int
	own      int64 // bytes of memory before it had clients

	// What it has said last.
	report swarm.Report
	usage  work.Usage
}

// seen is what the clients of a group have seen so far.
type seen struct {
	at time.Duration
	swarm.Report
	latency, connects *hdrhistogram.Histogram // since the beginning
	interval          *hdrhistogram.Histogram // latencies since the last look
	finished          int                     // processes whose clients are all in, or were refused
	each              []time.Duration         // CPU of each process
}

func newSeen() seen {
	return seen{latency: swarm.NewHistogram(), connects: swarm.NewHistogram(), interval: swarm.NewHistogram()}
}

// openWindow is how many connections one process opens at the same time. It is far
// below any listener's backlog and keeps both ends busy.
const openWindow = 128

// newSpec is the clients that the options describe.
func (r *run) newSpec(n, roomSize int, lanes [stamp.Kinds]int) swarm.Spec {
	accepts := []int32{r.opt.Op, r.opt.Op + 1, r.opt.Op + 2}
	if r.opt.API == "im" {
		accepts = append(accepts, int32(protocol.OpRaw)) // which all of its pushes have
	}
	return swarm.Spec{
		Run: r.id, Addrs: r.opt.Addr, N: n, RoomSize: roomSize, MidBase: r.opt.MidBase, Accepts: accepts,
		Lanes: lanes, Rate: r.opt.ConnectRate, Window: openWindow, Patience: r.opt.Patience,
		Net: r.opt.net(), PerSource: r.opt.PerSource, Rcvbuf: r.opt.Rcvbuf,
	}
}

// addGroup starts the processes of a group. Its clients are not opened yet.
func (r *run) addGroup(name string, spec swarm.Spec) (*group, error) {
	procs, err := r.opt.processes(spec.N)
	if err != nil {
		return nil, err
	}
	g := &group{name: name, spec: spec, seen: newSeen()}
	r.groups = append(r.groups, g)
	for i := range procs {
		command := ""
		if len(r.opt.Worker) > 0 {
			command = r.opt.Worker[i%len(r.opt.Worker)]
		}
		p, err := r.worker("clients", command)
		if err != nil {
			return nil, err
		}
		c := &clientProc{Process: p, first: spec.N * i / procs, n: spec.N*(i+1)/procs - spec.N*i/procs}
		g.procs = append(g.procs, c)
		if c.own, err = work.Call[int64](p, "memory", work.None{}); err != nil {
			return nil, err
		}
	}
	r.res.Clients.Connections += spec.N
	r.res.Clients.Processes += procs
	return g, nil
}

// each has all processes of a group do the same at the same time.
func (g *group) each(f func(c *clientProc) error) error {
	var all errgroup.Group
	for _, c := range g.procs {
		all.Go(func() error { return f(c) })
	}
	return all.Wait()
}

// tell has all processes run a command with the same argument.
func (g *group) tell(do string, with any) error {
	return g.each(func(c *clientProc) error {
		_, err := work.Call[work.None](c.Process, do, with)
		return err
	})
}

// atOnce is how many processes open their clients at the same time, unless there
// is a rate: a hundred processes with a few connections each under way would do little
// but wake each other.
func (g *group) atOnce() int {
	if g.spec.Rate > 0 {
		return len(g.procs)
	}
	return min(len(g.procs), 2*runtime.NumCPU())
}

// beginNext has the next process begin to open its clients.
func (g *group) beginNext() error {
	c := g.procs[g.begun]
	g.begun++
	c.report.Opening = c.n
	part := g.spec
	part.First, part.N = g.spec.First+c.first, c.n
	part.Addrs = share(g.spec.Addrs, g.begun-1, len(g.procs))
	part.Rate = g.spec.Rate * float64(c.n) / float64(g.spec.N)
	_, err := work.Call[work.None](c.Process, "open", part)
	return err
}

// share is the i-th of n shares of addresses, if they can be shared evenly: with many
// gateways it is better that a process has to do with few of them.
func share(addrs []string, i, n int) []string {
	switch {
	case len(addrs)%n == 0:
		each := len(addrs) / n
		return addrs[i*each : (i+1)*each]
	case n%len(addrs) == 0:
		return addrs[i%len(addrs) : i%len(addrs)+1]
	}
	return addrs
}

// lookAt asks all processes of a group what they have seen.
func (r *run) lookAt(g *group) error { return r.lookAtSome(g, func(*clientProc) bool { return true }) }

// lookAtSome asks those that are asked, and takes from others what they have said
// last.
func (r *run) lookAtSome(g *group, asked func(*clientProc) bool) error {
	s := seen{
		at: r.clock.Now(), latency: g.seen.latency, connects: g.seen.connects, interval: g.seen.interval,
		Report: swarm.Report{Refused: map[string]int{}, Ended: map[string]int{}, MarkedEnded: map[string]int{}},
	}
	s.interval.Reset()
	err := g.each(func(c *clientProc) (err error) {
		c.report.Latency, c.report.Connects = nil, nil
		if asked(c) {
			var err1, err2 error
			c.report, err1 = work.Call[swarm.Report](c.Process, "report", work.None{})
			c.usage, err2 = work.Call[work.Usage](c.Process, "usage", work.None{})
			err = errors.Join(err1, err2)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, c := range g.procs {
		if i >= g.begun {
			c.report.Wanted, c.report.Opening = c.n, c.n
		}
		if c.report.Opening == 0 {
			s.finished++
		}
		if err := errors.Join(c.report.Latency.AddTo(s.interval), c.report.Connects.AddTo(s.connects)); err != nil {
			return err
		}
		s.add(c.report)
		s.each = append(s.each, c.usage.CPU)
	}
	s.latency.Merge(s.interval)
	g.seen = s
	return nil
}

// add adds the report of one process.
func (s *seen) add(x swarm.Report) {
	s.Wanted += x.Wanted
	s.Opening += x.Opening
	s.Open += x.Open
	s.Opened += x.Opened
	for _, m := range []struct{ to, from map[string]int }{{s.Refused, x.Refused}, {s.Ended, x.Ended}, {s.MarkedEnded, x.MarkedEnded}} {
		for why, n := range m.from {
			m.to[why] += n
		}
	}
	s.LastOpen, s.LastEnd, s.LastPush = max(s.LastOpen, x.LastOpen), max(s.LastEnd, x.LastEnd), max(s.LastPush, x.LastPush)
	s.Pushes += x.Pushes
	s.Measured += x.Measured
	s.Frames += x.Frames
	s.Framed += x.Framed
	s.Reads += x.Reads
	s.Bytes += x.Bytes
	s.Faults.Add(x.Faults)
	s.Foreign += x.Foreign
	s.Beats += x.Beats
	s.Unsaid += x.Unsaid
	s.Examples = append(s.Examples, x.Examples...)
}

// lookAtAll looks at all groups.
func (r *run) lookAtAll() error {
	for _, g := range r.groups {
		if err := r.lookAt(g); err != nil {
			return err
		}
	}
	return nil
}

// openAll opens the clients of a group and waits until all are in or were refused.
func (r *run) openAll(g *group) error { return r.awaitOpen(g, r.clock.Now()) }

const openPoll = 100 * time.Millisecond

// awaitOpen has all processes open their clients, waits until that is done, and says
// how they got in.
func (r *run) awaitOpen(g *group, begun time.Duration) error {
	for last, shown := 0, begun; ; {
		for g.begun < len(g.procs) && g.begun-g.seen.finished < g.atOnce() {
			if err := g.beginNext(); err != nil {
				return err
			}
		}
		if err := r.lookAtSome(g, func(c *clientProc) bool { return c.report.Opening > 0 }); err != nil {
			return err
		}
		s := &g.seen
		if dt := (s.at - shown).Seconds(); dt >= 1 {
			r.show.say("connecting %s of %s, %s/s", number(s.Open), number(s.Wanted), number(float64(s.Opened-last)/dt))
			last, shown = s.Opened, s.at
		}
		if s.Opening == 0 {
			break
		}
		if err := r.sleep(r.clock.Now() + openPoll); err != nil {
			return err
		}
	}
	s := &g.seen
	took := max(s.LastOpen-begun, time.Microsecond).Seconds()
	if s.Opened == 0 {
		return fmt.Errorf("nobody got in at %s: %s", r.opt.Addr[0], most(s.Refused))
	}
	r.res.Connect = &Connect{Seconds: took, PerSecond: float64(s.Opened) / took, Latency: percentiles(s.connects), Refused: s.Refused}
	if n := sum(s.Refused); n > 0 {
		r.fail("%s of %s clients did not get in: %s", number(n), number(s.Wanted), most(s.Refused))
	}
	return nil
}

// most is the reason that counts most, and how many others there are.
func most(reasons map[string]int) string {
	list := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b))
	})
	switch len(list) {
	case 0:
		return "no reason was given"
	case 1:
		return fmt.Sprintf("%s (%s)", list[0], number(reasons[list[0]]))
	}
	return fmt.Sprintf("%s (%s), and %d other reasons", list[0], number(reasons[list[0]]), len(list)-1)
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
