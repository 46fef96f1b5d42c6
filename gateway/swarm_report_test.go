package gateway

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"testing"
	"time"
)

// report is what clients have seen since they were opened. Marked ones are in
// Open, MarkedEnded, Lost and Repeated only.
type report struct {
	Open        int
	Ended       map[string]int // how often for which reason; a number is a WebSocket close code
	MarkedEnded map[string]int
	Pushes      int64
	Frames      int64 // op-9 packets: over WebSocket as many as writes of pushes
	Bytes       int64
	Least, Most uint32 // pushes of one client
	Lost        int64
	Repeated    int64 // or in the wrong order
	Beats       int64 // answers to heartbeats
	Latency     histogram
	Errors      []string // the first few
}

func (r *report) clear() {
	*r = report{Ended: map[string]int{}, MarkedEnded: map[string]int{}}
}

func (r *report) fail(format string, args ...any) {
	if len(r.Errors) < 5 {
		r.Errors = append(r.Errors, fmt.Sprintf(format, args...))
	}
}

// getReport is the command that answers with the report.
func (s *swarm) getReport(none) (r report, err error) {
	s.do(func() { r = s.summary() })
	return r, nil
}

// summary is the report as it stands; nobody else writes to it.
func (s *swarm) summary() report {
	r := s.report
	r.Ended, r.MarkedEnded = maps.Clone(r.Ended), maps.Clone(r.MarkedEnded)
	r.Latency, r.Errors = slices.Clone(r.Latency), slices.Clone(r.Errors)
	first := true
	for i := range s.conns {
		c := &s.conns[i]
		if c.marked || c.state != swarmOpen {
			continue
		}
		if first {
			r.Least, first = c.pushes, false
		}
		r.Least, r.Most = min(r.Least, c.pushes), max(r.Most, c.pushes)
	}
	return r
}

// histogram counts times in ns by buckets that are at most 1/64 wide.
type histogram []int64

const histogramBits = 6

func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	shift := max(bits.Len64(uint64(ns))-histogramBits-1, 0)
	bucket := shift<<histogramBits + int(ns>>shift)
	for len(*h) <= bucket {
		*h = append(*h, 0)
	}
	(*h)[bucket]++
}

// quantile is the time that the share q of all is not above, as the upper end of
// its bucket; 0 if there is none.
func (h histogram) quantile(q float64) time.Duration {
	var total, seen int64
	for _, n := range h {
		total += n
	}
	for bucket, n := range h {
		seen += n
		if n > 0 && float64(seen) >= q*float64(total) {
			shift := max(bucket>>histogramBits-1, 0)
			return time.Duration(int64(bucket-shift<<histogramBits+1)<<shift - 1)
		}
	}
	return 0
}

// crowd is a process of clients as a test sees it.
type crowd struct {
	*child
	spec swarmSpec
}

// startClients starts a process that has no clients yet.
func startClients(t testing.TB) *crowd {
	t.Helper()
	return &crowd{child: startChild(t, "clients")}
}

// open opens clients, all of which must get in.
func (c *crowd) open(t testing.TB, spec swarmSpec) {
	t.Helper()
	c.spec = spec
	if r := call[report](t, c.child, "open", spec); r.Open != spec.N || len(r.Ended) > 0 {
		t.Fatalf("%d of %d clients are open, ended: %v %v", r.Open, spec.N, r.Ended, r.Errors)
	}
}

// close closes all clients.
func (c *crowd) close(t testing.TB) {
	t.Helper()
	call[none](t, c.child, "close", none{})
}

// wait waits until the clients that count have got so many pushes each.
func (c *crowd) wait(t testing.TB, each int) {
	t.Helper()
	call[none](t, c.child, "wait", each)
}

// report is what they have seen.
func (c *crowd) report(t testing.TB) report {
	t.Helper()
	return call[report](t, c.child, "report", none{})
}

// complete fails the test unless every client that counts is there and has got
// pushes 1 … each, once, in order.
func (c *crowd) complete(t testing.TB, each int) report {
	t.Helper()
	r := c.report(t)
	if len(r.Ended) > 0 || r.Lost != 0 || r.Repeated != 0 || r.Least != uint32(each) || r.Most != uint32(each) || len(r.Errors) > 0 {
		t.Errorf("%d clients that count, want %d pushes each: least %d, most %d, lost %d, repeated %d, ended %v, errors %v",
			r.Open, each, r.Least, r.Most, r.Lost, r.Repeated, r.Ended, r.Errors)
	}
	return r
}
