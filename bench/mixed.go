package bench

import (
	"errors"
	"time"

	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// mixedCmd is everything together, for long: a soak.
type mixedCmd struct {
	options
	WarmUp      time.Duration `default:"5s" help:"Before anything is measured."`
	Duration    time.Duration `short:"d" default:"60s" help:"How long is measured."`
	Connections int           `short:"n" default:"5000" help:"Clients."`
	Rooms       int           `default:"50" help:"Rooms that they are in, all of the same size."`
	Size        int           `default:"100" help:"Bytes of a message, from 20."`
	RoomRate    float64       `default:"100" help:"Pushes to rooms per second, each room in turn; 0 is none."`
	MidRate     float64       `default:"200" help:"Pushes to users per second, each in turn; 0 is none."`
	KeyRate     float64       `default:"50" help:"Pushes to keys per second, each in turn; 0 is none."`
	AllRate     float64       `default:"0.5" help:"Pushes to all per second; 0 is none."`
	Heartbeat   time.Duration `default:"25s" help:"Every client sends a heartbeat so often; 0 is never."`
	Churn       float64       `default:"20" help:"Clients that are cut off and come back, per second; they do not count. 0 is none."`
	ChurnEvery  int           `default:"10" help:"Of so many clients one is such a one."`
	Stalled     int           `placeholder:"N" help:"Of so many clients one stops reading before anything is measured; 0 is none."`
}

func (c *mixedCmd) check() error {
	t := traffic{Rooms: c.Rooms}
	err := errors.Join(t.check(c.Connections), (&timing{c.WarmUp, c.Duration}).check(), notBelow("--heartbeat", c.Heartbeat), notBelow("--stalled", c.Stalled))
	if c.RoomRate < 0 || c.MidRate < 0 || c.KeyRate < 0 || c.AllRate < 0 || c.Churn < 0 || c.ChurnEvery < 1 {
		err = errors.Join(err, errors.New("--room-rate, --mid-rate, --key-rate, --all-rate, --churn: not below zero; --churn-every from 1"))
	}
	return err
}

const mixedLanes = 2 // REST connections of each flow

// flows are those of which there are any.
func (c *mixedCmd) flows(r *run) (list []pusher.Flow, titles []string, err error) {
	behind := pusher.Flow{Lanes: mixedLanes, Targets: c.Connections} // the flow to mids has the first lanes
	for _, x := range []struct {
		title   string
		kind    stamp.Kind
		targets int
		by      string
		first   int // lane
		rate    float64
	}{
		{"to rooms", stamp.Room, c.Rooms, "", 0, c.RoomRate},
		{"to mids", stamp.Self, c.Connections, "mids", 0, c.MidRate},
		{"to keys", stamp.Self, c.Connections, "keys", behind.PerTarget(), c.KeyRate},
		{"to all", stamp.All, 1, "", 0, c.AllRate},
	} {
		if x.rate == 0 {
			continue
		}
		f := r.newFlow(x.kind, x.targets, mixedLanes, x.rate)
		f.By, f.Size, f.FirstLane = x.by, c.Size, x.first
		if err := f.Check(); err != nil {
			return nil, nil, err
		}
		list, titles = append(list, f), append(titles, x.title)
	}
	if len(list) == 0 {
		return nil, nil, errors.New("no rate of pushes is above zero")
	}
	return list, titles, nil
}

func (c *mixedCmd) run(r *run) error {
	if err := c.check(); err != nil {
		return err
	}
	flows, titles, err := c.flows(r)
	if err != nil {
		return err
	}
	r.res.Clients.RoomSize = c.Connections / c.Rooms
	g, err := r.addGroup("clients", r.newSpec(c.Connections, c.Connections/c.Rooms, lanesOf(flows...)))
	if err != nil {
		return err
	}
	if err := r.openAll(g); err != nil {
		return err
	}
	if err := c.unrest(g); err != nil {
		return err
	}
	for i, f := range flows {
		if _, err := r.start(titles[i], f); err != nil {
			return err
		}
	}
	if err := r.measure(c.WarmUp, c.Duration); err != nil {
		return err
	}
	r.res.Figures["heartbeats answered"], r.res.Figures["heartbeats not answered in time"] = float64(g.seen.Beats), float64(g.seen.Unsaid)
	return r.settle()
}

// unrest begins what clients do besides receiving.
func (c *mixedCmd) unrest(g *group) error {
	if c.Stalled > 0 {
		if err := g.stall(c.Stalled); err != nil {
			return err
		}
	}
	if err := g.tell("beat", c.Heartbeat); err != nil {
		return err
	}
	if c.Churn == 0 {
		return nil
	}
	return g.each(func(p *clientProc) error {
		_, err1 := work.Call[int](p.Process, "mark", swarm.Mark{Every: c.ChurnEvery})
		_, err2 := work.Call[work.None](p.Process, "churn", swarm.Churn{PerSecond: c.Churn * float64(p.n) / float64(c.Connections)})
		return errors.Join(err1, err2)
	})
}
