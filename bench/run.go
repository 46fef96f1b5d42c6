package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// run is one run of a scenario, in the coordinator. It belongs to one goroutine.
type run struct {
	ctx     context.Context
	opt     *options
	res     *Result
	clock   *work.Clock
	id      uint32 // in every message
	servers []serverProc
	show    *progress

	groups []*group
	pusher *work.Process
	flows  []*flow

	memory map[string]Memory // of servers, before anybody connected
	kernel kernelMemory
}

// newRun prepares a run: what is wrong with the options is found here.
func newRun(ctx context.Context, scenario string, opt *options, env Env) (*run, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	servers, err := parseServers(opt.ServerPid)
	if err != nil {
		return nil, err
	}
	r := &run{
		ctx: ctx, opt: opt, clock: work.NewClock(), id: rand.Uint32(), servers: servers,
		show: newProgress(env.Stderr, opt.Quiet),
		res: &Result{
			Scenario: scenario, Target: opt.Target, Label: opt.Label, Time: time.Now().UTC(), Command: withoutFile(env.Args),
			Version: env.Version, Machine: thisMachine(), Figures: map[string]float64{},
		},
	}
	r.res.Clients.Addresses = opt.Addr
	r.memory, _ = memories(servers)
	r.kernel = readKernel()
	return r, nil
}

// withoutFile is a command line without --json and its file, which says nothing about
// a run.
func withoutFile(args []string) (list []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--json":
			i++
		case !strings.HasPrefix(args[i], "--json="):
			list = append(list, args[i])
		}
	}
	return list
}

// worker starts a worker of this machine, or one by a command.
func (r *run) worker(role, command string) (*work.Process, error) {
	argv := []string{command}
	if command == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		argv = []string{self, "bench", "worker", role}
	}
	p, err := work.Start(argv...)
	if err != nil {
		return nil, err
	}
	off, err := p.Sync(r.clock)
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("worker %q: %w", argv, err)
	}
	r.res.Clients.ClockError = max(r.res.Clients.ClockError, float64(off.Nanoseconds())/1e3)
	return p, nil
}

// close ends all workers.
func (r *run) close() {
	r.show.done()
	var ended sync.WaitGroup
	for _, g := range r.groups {
		for _, c := range g.procs {
			ended.Go(c.Stop)
		}
	}
	if r.pusher != nil {
		ended.Go(r.pusher.Stop)
	}
	ended.Wait()
}

// sleep waits until a time of the run's clock; an error says that the run was
// cancelled.
func (r *run) sleep(until time.Duration) error {
	t := time.NewTimer(until - r.clock.Now())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.ctx.Done():
		return errCancelled
	}
}

var errCancelled = errors.New("cancelled")

// fail notes that the run has failed; it goes on.
func (r *run) fail(format string, args ...any) {
	r.res.Failures = append(r.res.Failures, fmt.Sprintf(format, args...))
}

func (r *run) warn(format string, args ...any) {
	r.res.Warnings = append(r.res.Warnings, fmt.Sprintf(format, args...))
}

// flow is a flow of pushes as the coordinator sees it.
type flow struct {
	name string
	spec pusher.Flow
	n    int // its number at the pusher
	last pusher.Sent

	answers, late *hdrhistogram.Histogram
}

// newFlow is a flow with what the options say of it.
func (r *run) newFlow(kind stamp.Kind, targets, lanes int, rate float64) pusher.Flow {
	return pusher.Flow{
		Run: r.id, URLs: r.opt.Rest, API: r.opt.API, Kind: kind, By: "mids", MidBase: r.opt.MidBase, Targets: targets, Op: r.opt.Op,
		Ack: r.opt.Ack, Lanes: lanes, Rate: rate, Burst: 1, Patience: r.opt.Patience,
	}
}

// startPusher starts the worker that pushes, if it is not there yet.
func (r *run) startPusher() (err error) {
	if r.pusher == nil {
		r.pusher, err = r.worker("pusher", "")
	}
	return err
}

// start begins a flow now.
func (r *run) start(name string, f pusher.Flow) (*flow, error) {
	if err := r.startPusher(); err != nil {
		return nil, err
	}
	f.Start = r.clock.Now() + 10*time.Millisecond
	n, err := work.Call[int](r.pusher, "send", f)
	if err != nil {
		return nil, err
	}
	x := &flow{name: name, spec: f, n: n, answers: swarm.NewHistogram(), late: swarm.NewHistogram()}
	r.flows = append(r.flows, x)
	return x, nil
}

// look asks how far a flow is.
func (r *run) look(x *flow) error {
	s, err := work.Call[pusher.Sent](r.pusher, "sent", x.n)
	if err != nil {
		return err
	}
	x.last = s
	return errors.Join(s.Answers.AddTo(x.answers), s.Late.AddTo(x.late))
}

// stopFlows ends all flows and waits for the last answers.
func (r *run) stopFlows() error {
	for _, x := range r.flows {
		if _, err := work.Call[work.None](r.pusher, "stop", x.n); err != nil {
			return err
		}
	}
	for _, x := range r.flows {
		for until := r.clock.Now() + 2*r.opt.Patience; !x.last.Done; {
			if err := r.look(x); err != nil {
				return err
			}
			if r.clock.Now() > until {
				return fmt.Errorf("%s: the last answers have not come", x.name)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

// expectation is what all flows together have had accepted.
func (r *run) expectation() (e swarm.Expectation, err error) {
	e = swarm.Expectation{Self: map[int][]swarm.Count{}, Room: map[int][]swarm.Count{}}
	for _, x := range r.flows {
		a, err := work.Call[pusher.Accepted](r.pusher, "accepted", x.n)
		if err != nil {
			return e, err
		}
		for i := range x.spec.Targets {
			counts := a.Counts[i*x.spec.PerTarget() : (i+1)*x.spec.PerTarget()]
			at := x.spec.First + i
			switch x.spec.Kind {
			case stamp.Self:
				e.Self[at] = lay(e.Self[at], x.spec.FirstLane, counts)
			case stamp.Room:
				e.Room[at] = lay(e.Room[at], x.spec.FirstLane, counts)
			default:
				e.All = lay(e.All, x.spec.FirstLane, counts)
			}
		}
	}
	return e, nil
}

// lay puts counts into list from lane first on.
func lay(list []swarm.Count, first int, counts []swarm.Count) []swarm.Count {
	for len(list) < first+len(counts) {
		list = append(list, swarm.Count{})
	}
	copy(list[first:], counts)
	return list
}
