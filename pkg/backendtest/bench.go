package backendtest

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/halley-im/halley/pkg/cluster"
)

// BenchRegistry measures a registry in batches of 512 routes, the size in which
// gateways connect: connecting new keys, the same keys again, looking them up,
// and disconnecting. Keys are UUIDs, as they are where clients bring none.
func BenchRegistry(b *testing.B, open func(t testing.TB) RegistryBackend) {
	const n = 512
	routes, keys, mids := BenchRoutes(n)
	each := func(b *testing.B) { b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/route") }
	b.Run("Connect", func(b *testing.B) {
		r := registry{b, open(b)}
		for b.Loop() {
			stored := withStamps(routes, r.connect(routes...))
			b.StopTimer()
			r.disconnect(stored...)
			b.StartTimer()
		}
		each(b)
	})
	b.Run("Reconnect", func(b *testing.B) {
		r := registry{b, open(b)}
		for b.Loop() {
			r.connect(routes...)
		}
		each(b)
	})
	b.Run("Keys", func(b *testing.B) {
		r := registry{b, open(b)}
		r.connect(routes...)
		for b.Loop() {
			r.keys(keys...)
		}
		each(b)
	})
	b.Run("Mids", func(b *testing.B) {
		r := registry{b, open(b)}
		r.connect(routes...)
		for b.Loop() {
			if _, err := r.b.Mids(b.Context(), mids); err != nil {
				b.Fatal(err)
			}
		}
		each(b)
	})
	b.Run("Disconnect", func(b *testing.B) {
		r := registry{b, open(b)}
		for b.Loop() {
			b.StopTimer()
			stored := withStamps(routes, r.connect(routes...))
			b.StartTimer()
			r.disconnect(stored...)
		}
		each(b)
	})
}

// BenchRoutes makes n routes of different keys and mids on 16 gateways.
func BenchRoutes(n int) (routes []cluster.Route, keys, mids []string) {
	for i := range n {
		key, mid := uuid.NewString(), fmt.Sprint(100_000_000+i)
		keys, mids = append(keys, key), append(mids, mid)
		routes = append(routes, cluster.Route{Key: key, Mid: mid,
			Node: fmt.Sprintf("gateway-%d", i%16), Epoch: cluster.Epoch(1_700_000_000_000_000 + i%16)})
	}
	return routes, keys, mids
}

func withStamps(routes []cluster.Route, regs []cluster.Registered) []cluster.Route {
	out := make([]cluster.Route, len(routes))
	for i, r := range routes {
		r.Stamp = regs[i].Stamp
		out[i] = r
	}
	return out
}
