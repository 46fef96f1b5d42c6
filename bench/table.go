package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// print writes the result for people.
func (r *Result) print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row(r.Scenario+" "+r.Target, "%s  %s clients of %d processes, %s to a room", strings.Join(short(r.Clients.Addresses), " "),
		number(r.Clients.Connections), r.Clients.Processes, number(r.Clients.RoomSize))
	if e := r.Clients.ClockError; e > 0 {
		row("clocks", "of the machines agree within %s", ms(e/1e3))
	}
	if c := r.Connect; c != nil {
		row("connected", "in %.1f s, %s/s  %s", c.Seconds, number(c.PerSecond), c.Latency)
	}
	for _, f := range r.Flows {
		if f.Sent == 1 && f.Accepted == 1 {
			row(f.Name, "accepted in %s", ms(f.Answer.P50))
			continue
		}
		row(f.Name, "%s accepted of %s, %s/s%s  %s refused, %s unknown", number(f.Accepted), number(f.Sent), rate(f.PerSecond), offered(f.Offered), number(f.Refused), number(f.Unknown))
		row("  answered in", "%s", f.Answer)
	}
	for _, x := range []struct {
		name string
		*Deliver
	}{{"delivered", r.Deliver}, {"crowd", r.Crowd}} {
		if d := x.Deliver; d != nil && d.Messages > 0 {
			row(x.name, "%s messages, %s/s, %s MB/s%s", number(d.Messages), number(d.PerSecond), rate(float64(d.Bytes)/d.Seconds/1e6), perFrame(d))
			row("  latency", "%s", d.Latency)
		}
	}
	for _, x := range r.Reach {
		row(x.To, "reached %s of %s clients, half of them in %s, the last in %s", number(x.Reached), number(x.Clients), ms(x.MedianMS), ms(x.LastMS))
	}
	r.printServers(row)
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		row(name, "%s", rate(r.Figures[name]))
	}
	if h := r.Harness; h.CPU > 0 {
		row("harness", "%.2f cores, %.2f µs a message, %.0f B a client", h.Cores, h.PerMessageUS, h.BytesPerConn)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.printVerdict(out)
}

func (r *Result) printServers(row func(name, format string, args ...any)) {
	for _, s := range r.Servers {
		var parts []string
		add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
		if s.Cores > 0 {
			add("%.2f cores", s.Cores)
		}
		if s.PerCPU > 0 {
			add("%s messages to a second of CPU", number(s.PerCPU))
		}
		if s.PerWrite > 0 {
			add("%.1f to a write", s.PerWrite)
		}
		if s.Memory.RSS > 0 {
			add("%s MB resident", rate(float64(s.Memory.RSS)/1e6))
		}
		if s.PerConn > 0 {
			add("%s B a connection", number(s.PerConn))
		}
		if s.Processes > 1 {
			add("%d processes", s.Processes)
		}
		row(s.Name, "%s", strings.Join(parts, ", "))
	}
	if k := r.Kernel; k != nil {
		row("kernel", "%s MB of slab more, %s B a connection with both ends here; TCP buffers %s MB more; %s MB available",
			rate(float64(k.Slab)/1e6), number(k.PerConn), rate(float64(k.Buffers)/1e6), number(float64(k.Available)/1e6))
		if k.CgroupUsed > 0 {
			row("cgroup", "%s MB used, %s MB of TCP buffers", number(float64(k.CgroupUsed)/1e6), number(float64(k.CgroupTCP)/1e6))
		}
	}
}

// printVerdict says whether the figures may be believed.
func (r *Result) printVerdict(out io.Writer) error {
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
	if r.Foreign > 0 {
		fmt.Fprintf(out, "warning: %s messages that this run has not sent\n", number(r.Foreign))
	}
	for _, e := range r.Examples {
		fmt.Fprintf(out, "  %s\n", e)
	}
	if len(r.Failures) == 0 {
		_, err := fmt.Fprintln(out, "checked: nothing lost, doubled, reordered, misdelivered or corrupt; no connection ended")
		return err
	}
	for _, f := range r.Failures {
		fmt.Fprintf(out, "FAILED: %s\n", f)
	}
	return nil
}

func (p Percentiles) String() string {
	if p.Count == 0 {
		return "–"
	}
	var parts []string
	for _, q := range p.supported() {
		parts = append(parts, q.name+" "+ms(q.value))
	}
	return strings.Join(parts, "  ")
}

// percentile is one of Percentiles.
type percentile struct {
	name  string
	part  float64 // of all values, that are not above it
	value float64
}

const enoughForP99 = 100

// supported are those of which there are enough values that they say something.
func (p Percentiles) supported() (list []percentile) {
	for _, q := range []struct {
		percentile
		least int64
	}{
		{percentile{"p50", 0.5, p.P50}, 1}, {percentile{"p90", 0.9, p.P90}, 1}, {percentile{"p99", 0.99, p.P99}, enoughForP99},
		{percentile{"p99.9", 0.999, p.P999}, 1000}, {percentile{"p99.99", 0.9999, p.P9999}, 10_000}, {percentile{"max", 1, p.Max}, 1},
	} {
		if p.Count >= q.least {
			list = append(list, q.percentile)
		}
	}
	return list
}

func offered(x float64) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf(" (offered %s/s)", rate(x))
}

func perFrame(d *Deliver) string {
	if d.PerFrame == 0 {
		return fmt.Sprintf(", %.1f to a read", d.PerRead)
	}
	return fmt.Sprintf(", %.1f to a frame, %.1f to a read", d.PerFrame, d.PerRead)
}

// rate is a number with as many digits as make sense.
func rate(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0:
		return "-" + rate(-x)
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	}
	return number(x)
}

// short is the first few of a list.
func short(list []string) []string {
	const few = 3
	if len(list) <= few {
		return list
	}
	return append(slices.Clone(list[:few]), fmt.Sprintf("and %d more", len(list)-few))
}
