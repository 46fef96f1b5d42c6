package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// timing is how long a scenario runs.
type timing struct {
	WarmUp   time.Duration `default:"3s" help:"Before anything is measured."`
	Duration time.Duration `short:"d" default:"10s" help:"How long is measured."`
}

func (t *timing) check() error {
	if t.WarmUp < 0 || t.Duration < 100*time.Millisecond {
		return errors.New("--warm-up: not below zero; --duration: at least 100ms")
	}
	return nil
}

// traffic is pushes of one kind at a rate.
type traffic struct {
	To    string `default:"room" enum:"room,mids,keys,all" help:"Push to rooms, to single clients by mid or key, or to all: each room or client in turn."`
	Size  int    `default:"30" help:"Bytes of a message, from 20."`
	Burst int    `default:"1" help:"So many messages are due at the same time, if there is a rate."`
	Rooms int    `default:"1" help:"Rooms that the clients are in, all of the same size."`
}

// kind is what kind of targets, and how many.
func (t *traffic) kind(clients int) (k stamp.Kind, targets int) {
	switch t.To {
	case "room":
		return stamp.Room, t.Rooms
	case "all":
		return stamp.All, 1
	}
	return stamp.Self, clients
}

func (t *traffic) check(clients int) error {
	if t.Rooms < 1 || clients < 1 || clients%t.Rooms != 0 {
		return fmt.Errorf("--connections %d, --rooms %d: want rooms of the same size", clients, t.Rooms)
	}
	return nil
}

// traffic is the flow of pushes, checked.
func (r *run) traffic(t *traffic, clients, lanes int, rate float64) (pusher.Flow, error) {
	if err := t.check(clients); err != nil {
		return pusher.Flow{}, err
	}
	kind, targets := t.kind(clients)
	f := r.newFlow(kind, targets, lanes, rate)
	if t.To == "keys" {
		f.By = "keys"
	}
	f.Size, f.Burst = t.Size, t.Burst
	if err := f.Check(); err != nil {
		return f, fmt.Errorf("--lanes, --size, --burst, --rate: %w", err)
	}
	return f, nil
}

// lanesOf is how many lanes clients must know for a flow.
func lanesOf(flows ...pusher.Flow) (lanes [stamp.Kinds]int) {
	for _, f := range flows {
		lanes[f.Kind] = max(lanes[f.Kind], f.FirstLane+f.PerTarget())
	}
	return lanes
}

// company is who is connected, and what they do besides getting what is measured.
type company struct {
	Connections int           `short:"n" default:"5000" help:"Clients."`
	Heartbeat   time.Duration `help:"Every client sends a heartbeat so often; 0 is never."`
	Stalled     int           `placeholder:"N" help:"Of so many clients one stops reading before anything is measured; 0 is none."`
	Crowd       int           `placeholder:"N" help:"So many other clients in one other room get messages meanwhile; measured apart."`
	CrowdRate   float64       `default:"1" help:"Pushes per second to the crowd."`
}

// fanoutCmd is messages to the members of rooms, at a rate.
type fanoutCmd struct {
	options
	timing
	traffic
	company
	Rate  float64 `short:"r" default:"50" help:"Pushes per second, over all targets."`
	Lanes int     `default:"4" help:"REST connections, each with one call under way at a time."`
}

// latencyCmd is fanoutCmd with few messages.
type latencyCmd struct {
	options
	timing
	traffic
	company
	Rate  float64 `short:"r" default:"5" help:"Pushes per second, over all targets."`
	Lanes int     `default:"1" help:"REST connections, each with one call under way at a time."`
}

const crowdName = "crowd"

func (c *fanoutCmd) run(r *run) error { return c.pushAt(r) }

func (c *latencyCmd) run(r *run) error { return (*fanoutCmd)(c).pushAt(r) }

func (c *fanoutCmd) check() error {
	err := errors.Join(c.timing.check(), above("--rate", c.Rate), notBelow("--heartbeat", c.Heartbeat),
		notBelow("--stalled", c.Stalled), notBelow("--crowd", c.Crowd))
	if c.Crowd > 0 {
		err = errors.Join(err, above("--crowd-rate", c.CrowdRate))
	}
	return err
}

// pushAt opens the clients, pushes at a rate, and measures.
func (c *fanoutCmd) pushAt(r *run) error {
	if err := c.check(); err != nil {
		return err
	}
	f, err := r.traffic(&c.traffic, c.Connections, c.Lanes, c.Rate)
	if err != nil {
		return err
	}
	r.res.Clients.RoomSize = c.Connections / c.Rooms
	main, err := r.addGroup("clients", r.newSpec(c.Connections, c.Connections/c.Rooms, lanesOf(f)))
	if err != nil {
		return err
	}
	if err := r.openAll(main); err != nil {
		return err
	}
	var crowd pusher.Flow
	if c.Crowd > 0 {
		crowd = r.crowd(c)
		if err := r.openCrowd(c, crowd); err != nil {
			return err
		}
	}
	if c.Stalled > 0 {
		if err := main.stall(c.Stalled); err != nil {
			return err
		}
	}
	if err := main.tell("beat", c.Heartbeat); err != nil {
		return err
	}
	if _, err := r.start("pushes", f); err != nil {
		return err
	}
	if c.Crowd > 0 {
		if _, err := r.start("pushes to the crowd", crowd); err != nil {
			return err
		}
	}
	if err := r.measure(c.WarmUp, c.Duration); err != nil {
		return err
	}
	return r.settle()
}

// crowd is the flow to another room, whose members come behind the other clients.
func (r *run) crowd(c *fanoutCmd) pusher.Flow {
	f := r.newFlow(stamp.Room, 1, 1, c.CrowdRate)
	f.First, f.Size = c.Rooms, c.Size
	return f
}

func (r *run) openCrowd(c *fanoutCmd, f pusher.Flow) error {
	spec := r.newSpec(c.Crowd, c.Crowd, lanesOf(f))
	spec.First, spec.Origin, spec.FirstRoom = c.Connections, c.Connections, c.Rooms
	g, err := r.addGroup(crowdName, spec)
	if err != nil {
		return err
	}
	connect := r.res.Connect
	defer func() { r.res.Connect = connect }() // of those that are measured
	return r.openAll(g)
}

// stall has one in so many clients stop reading. They count no more.
func (g *group) stall(every int) error {
	return g.each(func(c *clientProc) error {
		_, err := work.Call[int](c.Process, "mark", swarm.Mark{Every: every, Blind: true})
		return err
	})
}

func above(name string, x float64) error {
	if x <= 0 {
		return fmt.Errorf("%s %v: want more than zero", name, x)
	}
	return nil
}

func notBelow[T int | time.Duration](name string, x T) error {
	if x < 0 {
		return fmt.Errorf("%s %v: want zero or more", name, x)
	}
	return nil
}
