package gateway

import (
	"testing"

	"github.com/halley-im/halley/bench/work"
)

// densityClients is how many connections the memory test opens: one process may
// have 20,000 files here, and at 15,000 what does not grow with them is little.
const densityClients = 15_000

// What an idle connection costs a gateway, in bytes: an authenticated WebSocket
// with a key like a UUID and three accepted operations, in a room of 100, ten to an
// IP address, that has sent a heartbeat. Medians of five runs of TestDensity on 2
// cores, Linux 6.18, Go 1.26.8, with productionGC; the live heap was within 1 % of
// it, the resident size within 3 %. Whoever makes a connection cheaper records it
// here.
const (
	heapPerConn = 535
	rssPerConn  = 715
	// densitySlack is by how much the figures may be exceeded.
	densitySlack = 1.20
)

// TestDensity fails when a connection costs more than it did. The gateway runs in a
// process of its own, so what the test itself takes is not in it; what a gateway
// takes with no connections is subtracted.
func TestDensity(t *testing.T) {
	switch {
	case raceEnabled:
		t.Skip("under the race detector memory means nothing; run it without -race")
	case testing.Short():
		t.Skip("opens 15,000 connections")
	}
	gw, clients := startGateway(t, nil), startClients(t)
	spec := crowdSpec(gw.WS, 500, 100)

	// All code has run once, so that its pages are there.
	clients.open(t, spec)
	clients.beat(t, spec.N, 5000)
	clients.close(t)
	gw.empty(t)
	heap0, mem0 := gw.memory(t)
	own0 := memoryOf(t, clients.Pid())

	spec.N = densityClients
	clients.open(t, spec)
	clients.beat(t, spec.N, 10_000)
	atOnce := memoryOf(t, gw.Pid())
	heap1, mem1 := gw.memory(t)
	own1 := memoryOf(t, clients.Pid())
	if r := clients.report(t); r.Open != spec.N || r.Beats < int64(spec.N) {
		t.Fatalf("%d clients are open, %d answers to heartbeats; want %d of each", r.Open, r.Beats, spec.N)
	}

	per := func(before, after int64) float64 { return float64(after-before) / densityClients }
	live, rss := per(heap0.Live, heap1.Live), per(mem0.RSS, mem1.RSS)
	t.Logf("bytes per connection at %d connections, GOGC=%s, collected:", densityClients, productionGC)
	t.Logf("  live heap %.0f in %.1f objects, heap in use %.0f, stacks %.0f",
		live, per(heap0.Objects, heap1.Objects), per(heap0.InUse, heap1.InUse), per(heap0.Stacks, heap1.Stacks))
	t.Logf("  resident %.0f, anonymous %.0f (the process without connections: %d KiB; resident before the collection: %.0f)",
		rss, per(mem0.Anon, mem1.Anon), mem0.RSS>>10, per(mem0.RSS, atOnce.RSS))
	t.Logf("  kernel, both ends: slab %.0f (%s); socket buffers %.0f",
		per(mem0.all(), mem1.all()), mem1.grown(mem0.kernel, densityClients), per(mem0.Sockets, mem1.Sockets))
	t.Logf("  a client of this test: resident %.0f", per(own0.RSS, own1.RSS))
	if live > heapPerConn*densitySlack {
		t.Errorf("live heap is %.0f bytes per connection, recorded are %d", live, heapPerConn)
	}
	if rss > rssPerConn*densitySlack {
		t.Errorf("resident size is %.0f bytes per connection, recorded are %d", rss, rssPerConn)
	}
}

// memory is what the gateway takes after a collection, which the runtime does at
// least every two minutes, once it has given back what that has freed.
func (g *gatewayProcess) memory(t testing.TB) (heap, memory) {
	t.Helper()
	h := call[heap](t, g.Process, "heap", work.None{})
	return h, settled(t, g.Pid())
}
