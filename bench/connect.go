package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/stamp"
)

// connectCmd is how fast clients get in, what they cost, and that all are reached.
type connectCmd struct {
	options
	Connections int           `short:"n" default:"10000" help:"Clients."`
	RoomSize    int           `help:"Clients in a room; 0 is all in one."`
	Hold        time.Duration `default:"5s" help:"How long they stay, sent nothing, before the pushes: what an idle connection costs."`
	Heartbeat   time.Duration `default:"25s" help:"Every client sends a heartbeat so often; 0 is never."`
	Reach       []string      `default:"all,room" placeholder:"WHOM" help:"At last push one message to all, one to the first room, or none."`
}

func (c *connectCmd) check() error {
	for _, to := range c.Reach {
		if !slices.Contains([]string{"all", "room", "none"}, to) {
			return fmt.Errorf("--reach %q: want all, room or none", to)
		}
	}
	if c.Connections < 1 || c.RoomSize < 0 || c.Hold < 0 || c.Heartbeat < 0 {
		return errors.New("--connections from 1; --room-size, --hold, --heartbeat: not below zero")
	}
	if c.RoomSize == 0 {
		c.RoomSize = c.Connections
	}
	return nil
}

func (c *connectCmd) run(r *run) error {
	if err := c.check(); err != nil {
		return err
	}
	flows := c.flows(r)
	r.res.Clients.RoomSize = c.RoomSize
	g, err := r.addGroup("clients", r.newSpec(c.Connections, c.RoomSize, lanesOf(flows...)))
	if err != nil {
		return err
	}
	a, err := r.snap()
	if err != nil {
		return err
	}
	if err := r.openAll(g); err != nil {
		return err
	}
	b, err := r.snap()
	if err != nil {
		return err
	}
	r.harness(a, b, 0)
	r.connectCost(a, b, g.seen.Opened)
	if err := c.hold(r, g); err != nil {
		return err
	}
	for _, f := range flows {
		if err := r.reach(g, f); err != nil {
			return err
		}
	}
	return r.settle()
}

// connectCost notes what n connections have cost each server, and the harness.
func (r *run) connectCost(a, b snapshot, n int) {
	const least = time.Microsecond // to a connection: less is something else
	cost := func(name string, cpu time.Duration) {
		if each := cpu / time.Duration(n); each >= least {
			r.res.Figures[name+" µs/connect"] = float64(each.Nanoseconds()) / 1e3
		}
	}
	var all, own time.Duration
	for name, use := range b.servers {
		cost(name, use.cpu-a.servers[name].cpu)
		all += use.cpu - a.servers[name].cpu
	}
	for i := range b.clients {
		own += b.clients[i] - a.clients[i]
	}
	cost("harness", own)
	if all > 0 {
		r.res.Figures["connects/cpu-s of all servers"] = float64(n) / all.Seconds()
	}
}

// flows are the last pushes: one message each.
func (c *connectCmd) flows(r *run) (list []pusher.Flow) {
	for _, to := range c.Reach {
		kind := stamp.All
		switch to {
		case "none":
			continue
		case "room":
			kind = stamp.Room
		}
		f := r.newFlow(kind, 1, 1, 0)
		f.Size, f.Limit = 30, 1
		list = append(list, f)
	}
	return list
}

// hold measures what idle connections cost.
func (c *connectCmd) hold(r *run, g *group) error {
	if err := g.tell("beat", c.Heartbeat); err != nil {
		return err
	}
	if c.Hold == 0 {
		r.after()
		return nil
	}
	if err := r.measure(0, c.Hold); err != nil {
		return err
	}
	for _, s := range r.res.Servers {
		if us := 1e6 * s.Cores / float64(max(g.seen.Open, 1)); us >= 0.01 {
			r.res.Figures[s.Name+" µs/connection/s"] = us
		}
	}
	r.res.Deliver = nil
	return nil
}

// reach pushes one message and waits until all that must get it have it.
func (r *run) reach(g *group, f pusher.Flow) error {
	if err := r.window(r.clock.Now(), r.clock.Now()+time.Hour); err != nil {
		return err
	}
	if err := r.lookAt(g); err != nil {
		return err
	}
	g.seen.latency.Reset()
	before := g.seen.Pushes
	want := int64(g.seen.Open)
	if f.Kind == stamp.Room {
		want = min(want, int64(g.spec.RoomSize))
	}
	x, err := r.start(map[stamp.Kind]string{stamp.All: "one push to all", stamp.Room: "one push to a room"}[f.Kind], f)
	if err != nil {
		return err
	}
	for moved, last := r.clock.Now(), before; g.seen.Pushes-before < want && r.clock.Now()-moved < r.opt.CoolDown; {
		r.show.say("%s: %s of %s", x.name, number(g.seen.Pushes-before), number(want))
		if err := r.sleep(r.clock.Now() + settlePoll); err != nil {
			return err
		}
		if err := r.lookAt(g); err != nil {
			return err
		}
		if g.seen.Pushes != last {
			moved, last = r.clock.Now(), g.seen.Pushes
		}
	}
	p := percentiles(g.seen.latency)
	r.res.Reach = append(r.res.Reach, Reach{To: x.name, Clients: int(want), Reached: g.seen.Pushes - before, MedianMS: p.P50, LastMS: p.Max})
	return nil
}
