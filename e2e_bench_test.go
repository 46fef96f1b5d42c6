package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// BenchmarkLonePush is one push to a room at a time, from the REST call to its
// arrival at a WebSocket client, on an idle system.
func BenchmarkLonePush(b *testing.B) {
	for name, start := range map[string]func(t testing.TB) *system{"all": startAll, "split": startSplit} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			c := testkit.DialWS(b, s.gateways[0].ready.Gateway["ws_addr"])
			c.Auth(authToken(1, "lone", "lone://1", 1000))
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begun := time.Now()
				s.push(b, "/goim/push/room?operation=1000&type=lone&room=1", fmt.Sprint(i))
				wantPush(b, c, 1000, fmt.Sprint(i))
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}

// BenchmarkConnect is one client after another that connects and authenticates.
func BenchmarkConnect(b *testing.B) {
	for name, start := range map[string]func(t testing.TB) *system{"all": startAll, "split": startSplit} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			for i := 0; b.Loop(); i++ {
				c := testkit.DialTCP(b, s.gateways[0].ready.Gateway["tcp_addr"])
				c.Auth(authToken(int64(i+1), "", "connect://1"))
				c.Close()
			}
		})
	}
}
