package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/swarm"
)

// A run in which a process of clients had no CPU left says that it was client-bound,
// once for each time it was, and one in which it had says nothing of the kind.
func TestClientBound(t *testing.T) {
	r := &run{res: &Result{}, groups: []*group{{name: "clients"}, {name: crowdName}}}
	at := func(s time.Duration, pushes int64, pusher time.Duration, clients ...time.Duration) snapshot {
		x := snapshot{at: s, clients: clients, pusher: pusher, idle: 100 * s} // there is CPU enough
		x.groups = []seen{{Report: swarm.Report{Pushes: pushes, Frames: pushes / 2, Framed: pushes, Reads: pushes / 4}}, {}}
		return x
	}
	f := func(a, b snapshot, busiest, cores, perMessage float64, bound bool, warnings int) {
		t.Helper()
		r.res.Warnings = nil
		r.between(a, b)
		h := r.res.Harness
		near := func(x, y float64) bool { return math.Abs(x-y) < 1e-6 }
		if !near(h.Busiest, busiest) || !near(h.Cores, cores) || !near(h.PerMessageUS, perMessage) || h.Bound != bound || len(r.res.Warnings) != warnings {
			t.Errorf("%+v, warnings %q; want busiest %v, cores %v, %v µs a message, bound %v, %d warnings",
				h, r.res.Warnings, busiest, cores, perMessage, bound, warnings)
		}
		for _, w := range r.res.Warnings {
			if !strings.HasPrefix(w, "client-bound: ") || !strings.Contains(w, "--procs") {
				t.Errorf("warning %q", w)
			}
		}
	}
	s, ms := time.Second, time.Millisecond
	f(at(10*s, 0, 0, 1*s, 1*s), at(20*s, 1e6, 1*s, 2*s, 9900*ms), 0.89, 1.09, 10.9, false, 0)
	if d := r.res.Deliver; d.Messages != 1e6 || d.PerSecond != 1e5 || d.PerFrame != 2 || d.PerRead != 4 {
		t.Errorf("delivered %+v", d)
	}
	f(at(20*s, 1e6, 1*s, 2*s, 3*s), at(30*s, 3e6, 1*s, 3*s, 12*s), 0.9, 1, 5, true, 1)
	// It stays bound, but nothing new is to be warned of.
	f(at(30*s, 3e6, 1*s, 3*s, 12*s), at(40*s, 4e6, 1*s, 4*s, 13*s), 0.9, 0.2, 2, true, 0)
}

// A machine without CPU left is warned of.
func TestNoIdle(t *testing.T) {
	r := &run{res: &Result{}, groups: nil}
	r.harness(snapshot{}, snapshot{at: time.Second}, 0)
	if len(r.res.Warnings) != 1 || !strings.HasPrefix(r.res.Warnings[0], "the machine had no CPU left (0.0 % idle)") || r.res.Harness.Bound {
		t.Errorf("warnings %q, %+v", r.res.Warnings, r.res.Harness)
	}
}
