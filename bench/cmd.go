package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/halley-im/halley/bench/floor"
	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// Cmd is `halley bench`: kong reads it.
type Cmd struct {
	Connect connectCmd `cmd:"" help:"How fast clients get in, what a connection costs, and that a push reaches all."`
	Storm   stormCmd   `cmd:"" help:"How fast all are back after all were cut off at once."`
	Fanout  fanoutCmd  `cmd:"" help:"Messages to the members of rooms, at a rate."`
	Latency latencyCmd `cmd:"" help:"The same, few of them; bystanders of a crowd, readers among stalled ones."`
	Push    pushCmd    `cmd:"" help:"REST calls, as many as the server takes or at a rate, each one delivered."`
	Mixed   mixedCmd   `cmd:"" help:"All of that together, for long."`
	Floor   floorCmd   `cmd:"" help:"What a push costs beside a bare loop of write(2)."`
	Report  reportCmd  `cmd:"" help:"Results as tables and charts, to compare targets."`
	Worker  workerCmd  `cmd:"" hidden:"" help:"A process of a run, which a coordinator starts and commands on stdin."`
}

// Env is what a command needs from the process around it.
type Env struct {
	Args           []string // the command line, for the result
	Version        string
	Stdout, Stderr io.Writer
}

// scenario is a command that makes a run.
type scenario interface{ run(r *run) error }

// Run runs the command of that name. The error of a run that was made and has failed
// is ErrFailed: what is wrong was printed.
func (c *Cmd) Run(ctx context.Context, name string, env Env) error {
	switch name {
	case "worker":
		return c.Worker.serve()
	case "report":
		return c.Report.show(env.Stdout)
	}
	s, opt := c.scenario(name)
	if s == nil {
		return fmt.Errorf("no scenario %q", name)
	}
	return runScenario(ctx, name, s, opt, env)
}

func (c *Cmd) scenario(name string) (scenario, *options) {
	switch name {
	case "connect":
		return &c.Connect, &c.Connect.options
	case "storm":
		return &c.Storm, &c.Storm.options
	case "fanout":
		return &c.Fanout, &c.Fanout.options
	case "latency":
		return &c.Latency, &c.Latency.options
	case "push":
		return &c.Push, &c.Push.options
	case "mixed":
		return &c.Mixed, &c.Mixed.options
	case "floor":
		return &c.Floor, &c.Floor.options
	}
	return nil, nil
}

// ErrFailed says that a run has shown something that must not be.
var ErrFailed = errors.New("the run has failed")

func runScenario(ctx context.Context, name string, s scenario, opt *options, env Env) error {
	r, err := newRun(ctx, name, opt, env)
	if err != nil {
		return err
	}
	err = s.run(r)
	r.close()
	if err != nil {
		return err
	}
	if err := r.res.print(env.Stdout); err != nil {
		return err
	}
	if opt.JSON != "" {
		if err := r.res.write(opt.JSON); err != nil {
			return err
		}
	}
	if len(r.res.Failures) > 0 {
		return ErrFailed
	}
	return nil
}

// workerCmd is a process of a run.
type workerCmd struct {
	Role string `arg:"" enum:"clients,pusher,floor" help:"What it is: clients, pusher or floor."`
}

func (w *workerCmd) serve() error {
	clock := work.NewClock()
	var commands map[string]work.Command
	switch w.Role {
	case "clients":
		s, err := swarm.New(clock)
		if err != nil {
			return err
		}
		go s.Run() // ends with the process
		commands = s.Commands()
	case "pusher":
		commands = pusher.New(clock).Commands()
	case "floor":
		commands = floor.New(clock).Commands()
	}
	return work.Serve(os.Stdin, os.Stdout, clock, commands)
}
