package redis

import (
	"strconv"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/backendtest"
)

func BenchmarkRegistry(b *testing.B) { backendtest.BenchRegistry(b, openRegistry) }

// BenchmarkMemory reports what a route takes in Redis, by its own account of
// used memory; nobody else may use it meanwhile. Figures of it are in doc.go.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for _, withMid := range []bool{true, false} {
		name := "key only"
		if withMid {
			name = "key and mid"
		}
		b.Run(name, func(b *testing.B) {
			routes, _, _ := backendtest.BenchRoutes(n)
			if !withMid {
				for i := range routes {
					routes[i].Mid = ""
				}
			}
			for b.Loop() {
				c := openClient(b)
				before := c.usedMemory(b)
				regs, err := c.Connect(b.Context(), routes)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(c.usedMemory(b)-before)/n, "redis-B/route")
				for i := range regs {
					routes[i].Stamp = regs[i].Stamp
				}
				if err := c.Disconnect(b.Context(), routes); err != nil {
					b.Fatal(err)
				}
				for i := range routes {
					routes[i].Stamp = 0
				}
			}
		})
	}
}

// usedMemory is that of all masters.
func (c *Client) usedMemory(t testing.TB) (sum int64) {
	t.Helper()
	masters, err := c.masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		info, err := m.Info(t.Context(), "memory").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(info, "used_memory:")
		digits, _, _ := strings.Cut(rest, "\r\n")
		used, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += used
	}
	return sum
}
