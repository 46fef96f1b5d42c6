package gateway

import (
	"maps"
	"testing"

	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/testkit"
)

// A quarter of a busy room stops reading: the others get everything, once, in
// order; those that stopped are closed as too slow, and were sent nothing that
// has a gap. Figures of the same at full size: BenchmarkSlowReaders.
func TestSlowReaders(t *testing.T) {
	const readers, every = 2000, 4
	for name, isWS := range map[string]bool{"ws": true, "tcp": false} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, map[string]any{"MaxOutbound": 32 << 10, "Sndbuf": 8 << 10})
			spec := crowdSpec(gw.TCP, readers, readers/2)
			if isWS {
				spec.Addrs = []string{gw.WS}
			}
			spec.Rcvbuf = 8 << 10
			clients := startClients(t)
			clients.open(t, spec)
			blind := clients.mark(t, every, true)
			if blind != readers/every {
				t.Fatalf("%d clients have stopped reading, want %d", blind, readers/every)
			}

			const count, size = 8, 500
			pushed := 0
			testkit.Eventually(t, crowdPatience, func() bool {
				for room := range 2 {
					gw.push(t, pushSpec{Room: room, Count: count, Size: size})
				}
				pushed += count
				clients.wait(t, pushed) // nobody else may become slow
				return gw.closed(t)["slow"] == uint64(blind)
			}, "the gateway has closed those that do not read")
			clients.complete(t, pushed)

			// What they find when they look again is the beginning of it all.
			tell(t, clients.Process, "read", work.None{})
			testkit.Eventually(t, patience, func() bool { return clients.report(t).Open == readers-blind }, "the slow ones see their end")
			r := clients.complete(t, pushed)
			t.Logf("%d pushes of %d bytes; the slow ones' connections ended with %v", pushed, size, r.MarkedEnded)
			if got := gw.closed(t); !maps.Equal(got, map[string]uint64{"slow": uint64(blind)}) {
				t.Errorf("connections closed: %v, want the %d slow ones only", got, blind)
			}
			testkit.Eventually(t, patience, func() bool { return gw.conns(t) == readers-blind }, "their descriptors are closed")
		})
	}
}
