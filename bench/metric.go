package bench

import (
	"maps"
	"slices"
)

// metric is one figure of one run.
type metric struct {
	name  string
	value float64
	kind  metricKind
}

type metricKind int

const (
	ifAny  metricKind = iota // zero says that it was not measured
	always                   // zero is a finding
	fault                    // summed over runs; a row that is zero in all is left out
)

type metrics []metric

func (m *metrics) add(name string, value float64, kind metricKind) {
	if kind == ifAny && value == 0 {
		return
	}
	*m = append(*m, metric{name, value, kind})
}

// metricsOf is all that a table says of r, in the order of its rows.
func metricsOf(r *Result) (m metrics) {
	if c := r.Connect; c != nil {
		m.add("connects/s", c.PerSecond, ifAny)
		if c.Latency.Count >= enoughForP99 {
			m.add("connect p99, ms", c.Latency.P99, always)
		}
	}
	m.flows(r)
	pushed := slices.ContainsFunc(r.Flows, func(f Flow) bool { return !single(f) })
	m.deliver("", r.Deliver, pushed)
	m.deliver("crowd: ", r.Crowd, pushed)
	if f := r.Floor; f != nil {
		m.add("messages per frame", f.PerFrame, ifAny)
	}
	m.reach(r)
	m.servers(r)
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		m.add(name, r.Figures[name], always)
	}
	m.add("harness: cores", r.Harness.Cores, ifAny)
	m.add("harness: µs per message", r.Harness.PerMessageUS, ifAny)
	m.faults(r)
	return m
}

// single says of a flow that it is one push, which is shown by whom it has reached.
func single(f Flow) bool { return f.Sent == 1 }

func (m *metrics) flows(r *Result) {
	several := 0
	for _, f := range r.Flows {
		if !single(f) {
			several++
		}
	}
	var refused, unknown int64
	for _, f := range r.Flows {
		refused, unknown = refused+f.Refused, unknown+f.Unknown
		if single(f) || r.Floor != nil { // a floor's flows are blocks of a given size
			continue
		}
		prefix := ""
		if several > 1 {
			prefix = f.Name + ": "
		}
		m.add(prefix+"accepted/s", f.PerSecond, always)
		m.percentiles(prefix+"answer", f.Answer, "p50", "p99")
	}
	if len(r.Flows) > 0 {
		m.add("refused", float64(refused), always)
		m.add("pushes without an answer", float64(unknown), fault)
	}
}

// deliver adds what has arrived. Nothing is worth a row where messages were pushed
// to be measured.
func (m *metrics) deliver(prefix string, d *Deliver, pushed bool) {
	if d == nil || d.Messages == 0 && !pushed {
		return
	}
	m.add(prefix+"delivered/s", d.PerSecond, always)
	m.add(prefix+"messages per frame", d.PerFrame, ifAny)
	m.add(prefix+"messages per read", d.PerRead, ifAny)
	m.percentiles(prefix+"latency", d.Latency, "p50", "p90", "p99", "p99.9", "p99.99", "max")
}

// percentiles adds those of which there are enough values.
func (m *metrics) percentiles(name string, p Percentiles, which ...string) {
	for _, q := range p.supported() {
		if slices.Contains(which, q.name) {
			m.add(name+" "+q.name+", ms", q.value, always)
		}
	}
}

func (m *metrics) reach(r *Result) {
	for _, f := range r.Flows {
		if single(f) && f.Accepted == 1 {
			m.add(f.Name+": accepted after ms", f.Answer.P50, ifAny)
		}
	}
	for _, x := range r.Reach {
		m.add(x.To+": clients reached", float64(x.Reached), always)
		m.add(x.To+": half of them after ms", x.MedianMS, ifAny)
		m.add(x.To+": the last after ms", x.LastMS, ifAny)
		m.add(x.To+": clients not reached", float64(max(0, int64(x.Clients)-x.Reached)), fault)
	}
}

// servers adds what all have used together, which can be compared between targets,
// and where they have several names each of them.
func (m *metrics) servers(r *Result) {
	if len(r.Servers) > 0 {
		m.server("all servers: ", together(r))
	}
	if len(r.Servers) > 1 {
		for _, s := range r.Servers {
			m.server(s.Name+": ", s)
		}
	}
	if k := r.Kernel; k != nil {
		m.add("kernel: slab bytes per connection", k.PerConn, ifAny)
	}
}

func (m *metrics) server(prefix string, s Server) {
	m.add(prefix+"cores", s.Cores, ifAny)
	m.add(prefix+"messages per CPU-second", s.PerCPU, ifAny)
	m.add(prefix+"messages per write", s.PerWrite, ifAny)
	m.add(prefix+"resident, MB", float64(s.Memory.RSS)/1e6, ifAny)
	m.add(prefix+"bytes per connection", s.PerConn, ifAny)
}

// together is the sum of all servers. Every one's figures per CPU second and per
// write are of the same messages.
func together(r *Result) (all Server) {
	messages, writes := 0.0, 0.0
	for _, s := range r.Servers {
		all.CPU += s.CPU
		all.Cores += s.Cores
		all.Memory.RSS += s.Memory.RSS
		all.PerConn += s.PerConn
		messages = max(messages, s.PerCPU*s.CPU)
		if s.PerWrite > 0 {
			writes += s.PerCPU * s.CPU / s.PerWrite
		}
	}
	if all.CPU > 0 {
		all.PerCPU = messages / all.CPU
	}
	if writes > 0 {
		all.PerWrite = messages / writes
	}
	return all
}

// faults adds all that must not be.
func (m *metrics) faults(r *Result) {
	f := r.Faults
	for _, x := range []struct {
		name string
		n    int64
	}{
		{"lost", f.Lost}, {"doubled", f.Doubled}, {"reordered", f.Reordered}, {"doubled or reordered", f.Stale},
		{"misdelivered", f.Misdelivered}, {"corrupt", f.Corrupt}, {"delivered though refused", f.Unsent},
		{"connections with what the protocol does not allow", f.Broken}, {"messages of somebody else", r.Foreign},
		{"connections that ended", int64(sum(r.Ended))},
	} {
		m.add(x.name, float64(x.n), fault)
	}
	if r.Connect != nil {
		m.add("clients that did not get in", float64(sum(r.Connect.Refused)), fault)
	}
	m.add("runs cancelled", count(r.Cancelled), fault)
	m.add("runs failed", count(len(r.Failures) > 0), fault)
}

func count(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
