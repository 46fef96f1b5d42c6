package bench

import (
	"errors"
	"fmt"
	"time"
)

// pushCmd is REST calls, as many as the server takes or at a rate.
type pushCmd struct {
	options
	traffic
	Connections int     `short:"n" default:"1000" help:"Clients of the gateway that get the messages."`
	Lanes       int     `default:"50" help:"REST connections, each with one call under way at a time."`
	Rate        float64 `short:"r" help:"Pushes per second; 0 is the next when the last was answered, as ab and wrk do."`
	Total       int64   `default:"20000" help:"Pushes in all."`
}

func (c *pushCmd) run(r *run) error {
	if c.Total < 1 || c.Rate < 0 {
		return errors.New("--total from 1; --rate not below zero")
	}
	f, err := r.traffic(&c.traffic, c.Connections, c.Lanes, c.Rate)
	if err != nil {
		return err
	}
	f.Limit = c.Total
	r.res.Clients.RoomSize = c.Connections / c.Rooms
	g, err := r.addGroup("clients", r.newSpec(c.Connections, c.Connections/c.Rooms, lanesOf(f)))
	if err != nil {
		return err
	}
	if err := r.openAll(g); err != nil {
		return err
	}
	if err := r.window(r.clock.Now(), r.clock.Now()+time.Hour); err != nil {
		return err
	}
	if err := r.startPusher(); err != nil {
		return err
	}
	a, err := r.snap() // before the first message
	if err != nil {
		return err
	}
	x, err := r.start("pushes", f)
	if err != nil {
		return err
	}
	if err := r.watch(x, a); err != nil {
		return err
	}
	if err := r.arrive(); err != nil {
		return err
	}
	b, err := r.snap() // and not when it was waited for what should not come
	if err != nil {
		return err
	}
	r.between(a, b)
	r.after()
	return r.conclude()
}

// watch adds a second after the other to the series until a flow has ended.
func (r *run) watch(x *flow, a snapshot) error {
	for last := a; !x.last.Done; {
		if err := r.sleep(r.clock.Now() + 100*time.Millisecond); err != nil {
			r.cutShort(fmt.Sprintf("%s of %s pushes", number(x.last.Sent), number(x.spec.Limit)))
			return nil // the flow is stopped by who waits for its end
		}
		if err := r.look(x); err != nil {
			return err
		}
		if r.clock.Now()-last.at < time.Second {
			continue
		}
		now, err := r.snap()
		if err != nil {
			return err
		}
		r.point(a.at, last, now)
		last = now
	}
	return nil
}
