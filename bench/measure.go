package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// snapshot is what has been used and counted up to a moment.
type snapshot struct {
	at      time.Duration
	servers map[string]cpuUse
	clients []time.Duration // CPU of each process of clients
	pusher  time.Duration
	idle    time.Duration // CPU time of the machine that nobody used
	groups  []seen
}

// snap takes one.
func (r *run) snap() (s snapshot, err error) {
	if err := r.lookAtAll(); err != nil {
		return s, err
	}
	if r.pusher != nil {
		use, err := work.Call[work.Usage](r.pusher, "usage", work.None{})
		if err != nil {
			return s, err
		}
		s.pusher = use.CPU
	}
	s.at, s.servers, s.idle = r.clock.Now(), usages(r.servers), idleTime()
	for _, g := range r.groups {
		s.groups = append(s.groups, g.seen)
		s.clients = append(s.clients, g.seen.each...)
	}
	return s, nil
}

// idleTime is the sum over all CPUs of what /proc/stat counts as idle.
func idleTime() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return 0
	}
	idle, _ := strconv.ParseInt(fields[4], 10, 64)
	wait, _ := strconv.ParseInt(fields[5], 10, 64)
	return time.Duration(idle+wait) * clockTick
}

// window tells all clients which messages are to be measured.
func (r *run) window(from, to time.Duration) error {
	for _, g := range r.groups {
		if err := g.tell("window", swarm.Window{From: from, To: to}); err != nil {
			return err
		}
	}
	return nil
}

// measure lets everything warm up and then measures for so long.
func (r *run) measure(warmUp, length time.Duration) error {
	from := r.clock.Now() + warmUp
	if err := r.window(from, from+length); err != nil {
		return err
	}
	r.show.say("warming up")
	if err := r.sleep(from); err != nil {
		return err
	}
	a, err := r.snap()
	if err != nil {
		return err
	}
	for last, until := a, from+length; r.clock.Now() < until; {
		if err := r.sleep(min(until, last.at+time.Second)); err != nil {
			r.cutShort(fmt.Sprintf("%.1f of %.1f s", (r.clock.Now() - from).Seconds(), length.Seconds()))
			break
		}
		now, err := r.snap()
		if err != nil {
			return err
		}
		r.point(from, last, now)
		last = now
	}
	b, err := r.snap()
	if err != nil {
		return err
	}
	r.between(a, b)
	r.after()
	return nil
}

// cutShort notes that a run was cancelled while it was measured. It ends as others
// do: what was sent is waited for, and checked.
func (r *run) cutShort(after string) {
	r.res.Cancelled = true
	r.ctx = context.WithoutCancel(r.ctx)
	r.warn("cancelled after %s: the figures are of that", after)
}

// point adds a second to the series, and shows it.
func (r *run) point(from time.Duration, a, b snapshot) {
	g, dt := r.groups[0], (b.at - a.at).Seconds()
	h := g.seen.interval
	p := Point{
		Second: (b.at - from).Seconds(), Open: g.seen.Open, PerSecond: float64(b.groups[0].Pushes-a.groups[0].Pushes) / dt,
		RSS: rss(r.servers),
	}
	if x := percentiles(h); x.Count > 0 {
		p.P50, p.P99, p.Max = x.P50, x.P99, x.Max
	}
	for name, u := range b.servers {
		p.Cores += (u.cpu - a.servers[name].cpu).Seconds() / dt
	}
	r.res.Series = append(r.res.Series, p)
	r.show.say("%3.0f s  %s open  %s messages/s  p50 %s  p99 %s  server %.2f cores", p.Second, number(p.Open), number(p.PerSecond), ms(p.P50), ms(p.P99), p.Cores)
}

// ms is a number of milliseconds for people.
func ms(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x < 1:
		return fmt.Sprintf("%.0f µs", x*1e3)
	case x < 10:
		return fmt.Sprintf("%.2f ms", x)
	case x < 10_000:
		return fmt.Sprintf("%.0f ms", x)
	}
	return fmt.Sprintf("%.1f s", x/1e3)
}

// between notes what has been used and counted between two snapshots.
func (r *run) between(a, b snapshot) {
	dt := (b.at - a.at).Seconds()
	var all int64
	for i := range b.groups {
		d := deliver(a.groups[i], b.groups[i], dt)
		all += d.Messages
		switch r.groups[i].name {
		case crowdName:
			r.res.Crowd = d
		default:
			r.res.Deliver = d
		}
	}
	for _, name := range names(r.servers) {
		s := r.server(name)
		use := cpuUse{b.servers[name].cpu - a.servers[name].cpu, b.servers[name].writes - a.servers[name].writes}
		s.CPU, s.Cores = use.cpu.Seconds(), use.cpu.Seconds()/dt
		if use.cpu > 0 && all > 0 {
			s.PerCPU = float64(all) / use.cpu.Seconds()
		}
		if use.writes > 0 {
			s.PerWrite = float64(all) / float64(use.writes)
		}
	}
	r.harness(a, b, all)
}

func deliver(a, b seen, dt float64) *Deliver {
	d := &Deliver{Seconds: dt, Messages: b.Pushes - a.Pushes, Bytes: b.Bytes - a.Bytes}
	d.PerSecond = float64(d.Messages) / dt
	if frames := b.Frames - a.Frames; frames > 0 {
		d.PerFrame = float64(b.Framed-a.Framed) / float64(frames)
	}
	if reads := b.Reads - a.Reads; reads > 0 {
		d.PerRead = float64(d.Messages) / float64(reads)
	}
	return d
}

// Where the harness is the bottleneck: a process of clients runs on one thread, and
// the pusher should be free when a message is due.
const (
	busyThread = 0.9
	lateP99    = 5.0 // ms
)

// harness notes what measuring has taken, and whether it was too much.
func (r *run) harness(a, b snapshot, messages int64) {
	dt := (b.at - a.at).Seconds()
	h := &r.res.Harness
	h.CPU = (b.pusher - a.pusher).Seconds()
	busiest := 0.0 // in this interval; the result has that of all of them
	for i := range b.clients {
		used := (b.clients[i] - a.clients[i]).Seconds()
		h.CPU += used
		busiest = max(busiest, used/dt)
	}
	h.Busiest = max(h.Busiest, busiest)
	h.Cores = h.CPU / dt
	if messages > 0 {
		h.PerMessageUS = h.CPU * 1e6 / float64(messages)
	}
	if busiest >= busyThread {
		h.Bound = true
		r.warn("client-bound: a process of clients used %.0f %% of a CPU, so the server may be able to do more; use more --procs", 100*busiest)
	}
	cores := float64(runtime.NumCPU())
	if idle := (b.idle - a.idle).Seconds() / dt; idle < 0.05*cores {
		r.warn("the machine had no CPU left (%.1f %% idle): of %.0f cores the harness took %.2f", 100*idle/cores, cores, h.Cores)
	}
}

// server is the result's entry of that name.
func (r *run) server(name string) *Server {
	i := slices.IndexFunc(r.res.Servers, func(s Server) bool { return s.Name == name })
	if i < 0 {
		r.res.Servers = append(r.res.Servers, Server{Name: name, Before: r.memory[name]})
		i = len(r.res.Servers) - 1
	}
	return &r.res.Servers[i]
}

// after notes the memory that everything takes now, with the clients that are open.
func (r *run) after() {
	memory, each := memories(r.servers)
	open := 0
	for _, g := range r.groups {
		open += g.seen.Open
	}
	for _, name := range names(r.servers) {
		s := r.server(name)
		s.Processes, s.Memory, s.Each = len(each[name]), memory[name], each[name]
		s.PerConn = perConnection(grown(s.Before, s.Memory), open)
	}
	k := readKernel()
	r.res.Kernel = &Kernel{
		Buffers: k.buffers - r.kernel.buffers, Available: k.available, Taken: r.kernel.available - k.available,
	}
	if k.slab > 0 {
		r.res.Kernel.Slab = k.slab - r.kernel.slab
	}
	r.res.Kernel.PerConn, r.res.Kernel.TakenPer = perConnection(r.res.Kernel.Slab, open), perConnection(r.res.Kernel.Taken, open)
	if r.opt.ServerCgroup != "" {
		r.res.Kernel.CgroupUsed, r.res.Kernel.CgroupTCP = readCgroup(r.opt.ServerCgroup)
	}
}

// clientMemory notes what the clients take that are open at the end. It has their
// processes collect garbage, so nothing may be measured any more.
func (r *run) clientMemory() error {
	own, open := int64(0), 0
	for _, g := range r.groups {
		open += g.seen.Open
		for _, c := range g.procs {
			now, err := work.Call[int64](c.Process, "memory", work.None{})
			if err != nil {
				return err
			}
			own += now - c.own
		}
	}
	r.res.Harness.BytesPerConn = perConnection(own, open)
	return nil
}

// grown is how much more memory is taken, by Pss if it is known.
func grown(before, after Memory) int64 {
	if before.Pss > 0 && after.Pss > 0 {
		return after.Pss - before.Pss
	}
	return after.RSS - before.RSS
}

// perConnection is what one of n connections has of something, if they are enough
// that it is theirs.
func perConnection(all int64, n int) float64 {
	const enough = 1000
	if n < enough {
		return 0
	}
	return max(0, ratio(all, int64(n)))
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
