package bench

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/halley-im/halley/bench/floor"
	"github.com/halley-im/halley/bench/pusher"
	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// floorCmd is a push's cost beside a bare loop of write(2), in turn.
type floorCmd struct {
	options
	Connections int           `short:"n" default:"5000" help:"Members of the room, and sockets of the floor."`
	Size        int           `default:"30" help:"Bytes of a message, from 20."`
	Rate        float64       `short:"r" default:"5" help:"Pushes per second: so few that each is written alone."`
	Block       time.Duration `default:"3s" help:"How long each side runs at a time."`
	Pairs       int           `default:"5" help:"How often the two take turns, from 3."`
	Threads     int           `help:"Threads of the floor; 0 is one for each CPU."`
	Sndbuf      int           `default:"65536" help:"Send buffer of the floor's sockets, bytes; halley's by default."`
	FloorC      string        `placeholder:"FILE" help:"The same loop in C, built from bench/scenarios/floor.c, as a third side."`
}

// FloorFigures are CPU µs per write, of pairs of blocks.
type FloorFigures struct {
	Server    []float64 `json:"server_us"`
	Floor     []float64 `json:"floor_us"`
	FloorC    []float64 `json:"floor_c_us,omitempty"`
	Ratio     []float64 `json:"ratio"`
	PerFrame  float64   `json:"messages_per_frame"`
	PerSecond float64   `json:"pushes_per_second"`
}

func (c *floorCmd) check(r *run) error {
	switch {
	case len(r.servers) == 0:
		return errors.New("--server-pid: the floor is compared with the CPU of the server's processes; name them")
	case c.Connections < 1 || c.Rate <= 0 || c.Block < 500*time.Millisecond || c.Threads < 0 || c.Sndbuf < 1:
		return errors.New("--connections from 1, --rate above zero, --block from 500ms, --threads not below zero, --sndbuf from 1")
	case c.Pairs < 3 || c.Pairs > pusher.MaxPerTarget:
		return fmt.Errorf("--pairs %d: want 3 to %d", c.Pairs, pusher.MaxPerTarget)
	}
	if c.Threads == 0 {
		c.Threads = runtime.NumCPU()
	}
	return nil
}

func (c *floorCmd) run(r *run) error {
	if err := c.check(r); err != nil {
		return err
	}
	f := r.newFlow(stamp.Room, 1, 1, c.Rate)
	f.Size = c.Size
	if err := f.Check(); err != nil {
		return err
	}
	r.res.Clients.RoomSize = c.Connections
	members, err := r.addGroup("clients", r.newSpec(c.Connections, c.Connections, [stamp.Kinds]int{stamp.Room: c.Pairs}))
	if err != nil {
		return err
	}
	if err := r.openAll(members); err != nil {
		return err
	}
	sides, err := c.sides(r)
	defer func() {
		for _, s := range sides {
			s.close()
		}
	}()
	if err != nil {
		return err
	}
	x := &FloorFigures{}
	for i := range c.Pairs {
		f.FirstLane = i
		us, err := c.server(r, members, f)
		if err != nil {
			return err
		}
		x.Server = append(x.Server, us)
		for j, s := range sides {
			us, err := s.block(c, r)
			if err != nil {
				return err
			}
			if j == 0 {
				x.Floor, x.Ratio = append(x.Floor, us), append(x.Ratio, x.Server[i]/us)
			} else {
				x.FloorC = append(x.FloorC, us)
			}
		}
		r.show.say("pair %d of %d: server %.2f µs, floor %.2f µs a write", i+1, c.Pairs, x.Server[i], x.Floor[i])
	}
	x.PerFrame, x.PerSecond = ratio(members.seen.Framed, members.seen.Frames), c.Rate
	r.res.Floor = x
	r.res.Figures["server µs/write"], r.res.Figures["floor µs/write"] = median(x.Server), median(x.Floor)
	r.res.Figures["ratio, median"], r.res.Figures["ratio, least"], r.res.Figures["ratio, most"] = median(x.Ratio), slices.Min(x.Ratio), slices.Max(x.Ratio)
	if len(x.FloorC) > 0 {
		r.res.Figures["C floor µs/write"] = median(x.FloorC)
	}
	r.after()
	return r.settle()
}

// server is one block of the server: its CPU µs per write.
func (c *floorCmd) server(r *run, members *group, f pusher.Flow) (us float64, err error) {
	if err := r.lookAt(members); err != nil {
		return 0, err
	}
	before, pushes := usages(r.servers), members.seen.Pushes
	f.Limit = int64(c.Block.Seconds() * c.Rate)
	x, err := r.start(fmt.Sprintf("block %d", f.FirstLane+1), f)
	if err != nil {
		return 0, err
	}
	want := f.Limit * int64(members.seen.Open)
	for late := r.clock.Now() + c.Block + r.opt.CoolDown; members.seen.Pushes-pushes < want && r.clock.Now() < late; {
		if err := r.sleep(r.clock.Now() + settlePoll); err != nil {
			return 0, err
		}
		if err := errors.Join(r.lookAt(members), r.look(x)); err != nil {
			return 0, err
		}
	}
	if members.seen.Pushes == pushes {
		return 0, fmt.Errorf("%s: nothing has arrived", x.name)
	}
	var used time.Duration
	for name, u := range usages(r.servers) {
		used += u.cpu - before[name].cpu
	}
	return used.Seconds() * 1e6 / float64(members.seen.Pushes-pushes), nil
}

// floorSide is a bare write loop and the sockets that it writes to.
type floorSide struct {
	writer  floorWriter
	readers *group
	rounds  int
}

// floorWriter is the write loop in Go or in C.
type floorWriter interface {
	// push writes message seq, due now, to all sockets.
	push(r *run, c *floorCmd, seq int) error
	used() (time.Duration, error)
	close()
}

// sides starts the floors.
func (c *floorCmd) sides(r *run) (sides []*floorSide, err error) {
	p, err := r.worker("floor", "")
	if err != nil {
		return nil, err
	}
	sides = append(sides, &floorSide{writer: &goFloor{p}})
	addr, err := work.Call[string](p, "listen", floor.Sockets{N: c.Connections, Sndbuf: c.Sndbuf})
	if err == nil {
		err = sides[0].open(r, c, addr)
	}
	if err == nil {
		_, err = work.Call[work.None](p, "accepted", work.None{})
	}
	if err != nil || c.FloorC == "" {
		return sides, err
	}
	w, addr, err := startCFloor(c)
	if err != nil {
		return sides, err
	}
	sides = append(sides, &floorSide{writer: w})
	if err := sides[1].open(r, c, addr); err != nil {
		return sides, err
	}
	return sides, w.accepted()
}

// open opens the readers of a floor. They are no group of the run: what they must get
// is something else.
func (s *floorSide) open(r *run, c *floorCmd, addr string) error {
	spec := r.newSpec(c.Connections, c.Connections, [stamp.Kinds]int{stamp.Room: 1})
	spec.Addrs, spec.Bare = []string{"ws://" + addr + "/"}, true
	clients, connect := r.res.Clients, r.res.Connect
	g, err := r.addGroup("readers of the floor", spec)
	if err != nil {
		return err
	}
	err = r.openAll(g)
	r.groups = r.groups[:len(r.groups)-1]
	r.res.Clients, r.res.Connect = clients, connect
	s.readers = g
	return err
}

// block is one block of a floor: its CPU µs per write.
func (s *floorSide) block(c *floorCmd, r *run) (us float64, err error) {
	before, err := s.writer.used()
	if err != nil {
		return 0, err
	}
	n := int(c.Block.Seconds() * c.Rate)
	for i, begun := 0, r.clock.Now(); i < n; i++ {
		if err := r.sleep(begun + time.Duration(float64(i)/c.Rate*float64(time.Second))); err != nil {
			return 0, err
		}
		s.rounds++
		if err := s.writer.push(r, c, s.rounds); err != nil {
			return 0, err
		}
	}
	after, err := s.writer.used()
	if err != nil {
		return 0, err
	}
	return (after - before).Seconds() * 1e6 / float64(n*c.Connections), s.check(r, c)
}

// check waits until all that was written has been read.
func (s *floorSide) check(r *run, c *floorCmd) error {
	want := int64(s.rounds * c.Connections)
	for late := r.clock.Now() + r.opt.CoolDown; ; {
		if err := r.lookAt(s.readers); err != nil {
			return err
		}
		switch x := &s.readers.seen; {
		case x.Faults != swarm.Faults{}:
			return fmt.Errorf("the floor's own readers: %+v", x.Faults)
		case x.Pushes == want:
			return nil
		case r.clock.Now() > late:
			return fmt.Errorf("the floor's readers have got %s of %s messages", number(x.Pushes), number(want))
		}
		if err := r.sleep(r.clock.Now() + settlePoll); err != nil {
			return err
		}
	}
}

func (s *floorSide) close() {
	s.writer.close()
	if s.readers != nil {
		for _, c := range s.readers.procs {
			c.Stop()
		}
	}
}

// goFloor is package floor in a worker.
type goFloor struct{ p *work.Process }

func (g *goFloor) push(r *run, c *floorCmd, _ int) error {
	_, err := work.Call[work.None](g.p, "push", floor.Push{Run: r.id, Op: c.Op, Count: 1, Size: c.Size, Threads: c.Threads})
	return err
}

func (g *goFloor) used() (time.Duration, error) {
	u, err := work.Call[work.Usage](g.p, "usage", work.None{})
	return u.CPU, err
}

func (g *goFloor) close() { g.p.Stop() }
