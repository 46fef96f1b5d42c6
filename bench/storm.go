package bench

import (
	"errors"
	"slices"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
)

// stormCmd cuts off all clients at once and has them come back.
type stormCmd struct {
	options
	Connections int           `short:"n" default:"10000" help:"Clients."`
	RoomSize    int           `default:"100" help:"Clients in a room."`
	Rounds      int           `default:"3" help:"How often."`
	Pause       time.Duration `default:"1s" help:"Between being cut off and the first who comes back."`
}

func (c *stormCmd) run(r *run) error {
	if c.Connections < 1 || c.RoomSize < 1 || c.Rounds < 1 || c.Pause < 0 {
		return errors.New("--connections, --room-size, --rounds from 1; --pause not below zero")
	}
	last := r.newFlow(stamp.All, 1, 1, 0)
	last.Size, last.Limit = 30, 1
	r.res.Clients.RoomSize = c.RoomSize
	g, err := r.addGroup("clients", r.newSpec(c.Connections, c.RoomSize, lanesOf(last)))
	if err != nil {
		return err
	}
	if err := r.openAll(g); err != nil {
		return err
	}
	r.res.Figures["first connects/s"] = r.res.Connect.PerSecond
	var rates, took []float64
	for range c.Rounds {
		if err := c.round(r, g); err != nil {
			return err
		}
		rates, took = append(rates, r.res.Connect.PerSecond), append(took, r.res.Connect.Seconds)
	}
	r.res.Figures["reconnects/s median"] = median(rates)
	r.res.Figures["all back after s, median"] = median(took)
	r.res.Figures["all back after s, worst"] = slices.Max(took)
	if err := r.reach(g, last); err != nil {
		return err
	}
	return r.settle()
}

// round is one storm.
func (c *stormCmd) round(r *run, g *group) error {
	if err := g.tell("drop", swarm.Drop{}); err != nil {
		return err
	}
	if err := r.sleep(r.clock.Now() + c.Pause); err != nil {
		return err
	}
	a, err := r.snap()
	if err != nil {
		return err
	}
	begun := r.clock.Now()
	if err := g.tell("drop", swarm.Drop{Again: true}); err != nil {
		return err
	}
	if err := r.lookAt(g); err != nil {
		return err
	}
	if err := r.awaitOpen(g, begun); err != nil {
		return err
	}
	b, err := r.snap()
	if err != nil {
		return err
	}
	r.between(a, b)
	r.after()
	return nil
}

// median of a list that has something in it.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
