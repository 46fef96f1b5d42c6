package bench

import (
	"bytes"
	"strings"
	"testing"

	"github.com/halley-im/halley/bench/swarm"
)

// What people read: everything in order, failures last and loud.
func TestPrint(t *testing.T) {
	p := Percentiles{Count: 12345, Mean: 1, P50: 0.25, P90: 2, P99: 12.4, P999: 900, P9999: 11_000, Max: 65_000}
	r := Result{
		Scenario: "fanout", Target: "halley",
		Clients: Clients{Connections: 5000, Processes: 2, RoomSize: 1000, Addresses: []string{"ws://a", "ws://b", "ws://c", "ws://d", "ws://e"}},
		Connect: &Connect{Seconds: 1.25, PerSecond: 4000, Latency: p},
		Flows: []Flow{
			{Name: "pushes", Offered: 50, Sent: 1000, Accepted: 997, Refused: 2, Unknown: 1, PerSecond: 49.9, Answer: p},
			{Name: "one push to all", Sent: 1, Accepted: 1, Answer: Percentiles{Count: 1, P50: 1.5}},
		},
		Crowd:   &Deliver{Seconds: 10, Messages: 100, PerSecond: 10, Bytes: 4600, PerRead: 1, Latency: Percentiles{Count: 99, P50: 1, P90: 2, P99: 3, Max: 4}},
		Deliver: &Deliver{Seconds: 10, Messages: 2_500_000, PerSecond: 250_000, Bytes: 190_000_000, PerFrame: 1.5, PerRead: 2, Latency: p},
		Reach:   []Reach{{To: "one push to all", Clients: 5000, Reached: 4999, MedianMS: 3, LastMS: 20}},
		Servers: []Server{{Name: "gateway", Processes: 2, Cores: 1.5, PerCPU: 160_000, PerWrite: 2.5, Memory: Memory{RSS: 52_000_000}, PerConn: 700}},
		Harness: Harness{CPU: 9, Cores: 0.9, PerMessageUS: 3.6, BytesPerConn: 345},
		Figures: map[string]float64{"b": 2, "a": 1234},
		Faults:  swarm.Faults{Lost: 3}, Foreign: 2,
		Examples: []string{"client 7: message 3 is doubled"}, Warnings: []string{"client-bound: it is"},
		Failures: []string{"3 messages lost", "1 clients lack messages, 4,999 lack none"},
	}
	const want = `fanout halley    ws://a ws://b ws://c and 2 more  5,000 clients of 2 processes, 1,000 to a room
connected        in 1.2 s, 4,000/s  p50 250 µs  p90 2.00 ms  p99 12 ms  p99.9 900 ms  p99.99 11.0 s  max 65.0 s
pushes           997 accepted of 1,000, 49.9/s (offered 50.0/s)  2 refused, 1 unknown
  answered in    p50 250 µs  p90 2.00 ms  p99 12 ms  p99.9 900 ms  p99.99 11.0 s  max 65.0 s
one push to all  accepted in 1.50 ms
delivered        2,500,000 messages, 250,000/s, 19.0 MB/s, 1.5 to a frame, 2.0 to a read
  latency        p50 250 µs  p90 2.00 ms  p99 12 ms  p99.9 900 ms  p99.99 11.0 s  max 65.0 s
crowd            100 messages, 10/s, 0.00 MB/s, 1.0 to a read
  latency        p50 1.00 ms  p90 2.00 ms  max 4.00 ms
one push to all  reached 4,999 of 5,000 clients, half of them in 3.00 ms, the last in 20 ms
gateway          1.50 cores, 160,000 messages to a second of CPU, 2.5 to a write, 52.0 MB resident, 700 B a connection, 2 processes
a                1,234
b                2.00
harness          0.90 cores, 3.60 µs a message, 345 B a client
warning: client-bound: it is
warning: 2 messages that this run has not sent
  client 7: message 3 is doubled
FAILED: 3 messages lost
FAILED: 1 clients lack messages, 4,999 lack none
`
	for range 20 { // the order is always the same
		var out bytes.Buffer
		if err := r.print(&out); err != nil || out.String() != want {
			t.Fatalf("%v\n%s\nwant\n%s", err, out.String(), want)
		}
	}
	r.Failures = nil
	var out bytes.Buffer
	if err := r.print(&out); err != nil || !strings.HasSuffix(out.String(), "\nchecked: nothing lost, doubled, reordered, misdelivered or corrupt; no connection ended\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A percentile of which there are too few values to tell is left out.
func TestPercentilesString(t *testing.T) {
	f := func(n int64, want string) {
		t.Helper()
		p := Percentiles{Count: n, P50: 1, P90: 2, P99: 3, P999: 4, P9999: 5, Max: 6}
		if got := p.String(); got != want {
			t.Errorf("%d values: %q, want %q", n, got, want)
		}
	}
	f(0, "–")
	f(1, "p50 1.00 ms  p90 2.00 ms  max 6.00 ms")
	f(99, "p50 1.00 ms  p90 2.00 ms  max 6.00 ms")
	f(100, "p50 1.00 ms  p90 2.00 ms  p99 3.00 ms  max 6.00 ms")
	f(1000, "p50 1.00 ms  p90 2.00 ms  p99 3.00 ms  p99.9 4.00 ms  max 6.00 ms")
	f(10_000, "p50 1.00 ms  p90 2.00 ms  p99 3.00 ms  p99.9 4.00 ms  p99.99 5.00 ms  max 6.00 ms")
}

func TestNumber(t *testing.T) {
	f := func(n int64, want string) {
		t.Helper()
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1,000")
	f(1234567, "1,234,567")
	f(-1000, "-1,000")
	f(-100, "-100")
}
