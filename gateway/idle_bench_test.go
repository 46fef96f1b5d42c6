package gateway

import (
	"testing"
	"time"
)

// BenchmarkConnect is clients that connect, upgrade and authenticate, a block of
// them to an op; the gateway asks the rig's logic, in its own process. Opening is
// measured, closing is not.
//
//	go test -run '^$' -bench Connect -benchtime 10x ./gateway
//
//	connects/cpu-s   to a second of the gateway's CPU, median of blocks
//	cpu-µs/connect   user-µs and system-µs of it
//	connects/s       by the clock, clients on the same machine
func BenchmarkConnect(b *testing.B) {
	const clients = 4000
	for _, transport := range []string{"ws", "tcp"} {
		b.Run(transport, func(b *testing.B) {
			gw, crowd := startGateway(b, nil), startClients(b)
			spec := swarmSpec{Addr: gw.TCP, N: clients, RoomSize: 100, Net: 1, PerIP: 10}
			if transport == "ws" {
				spec.Addr, spec.WS = gw.WS, true
			}
			block := func() (user, system, wall float64) {
				before, start := gw.used(b), time.Now()
				crowd.open(b, spec)
				took, cost := time.Since(start), gw.used(b).minus(before)
				crowd.close(b)
				gw.empty(b)
				return cost.User.Seconds() / clients, cost.System.Seconds() / clients, took.Seconds() / clients
			}
			block()
			var cpu, user, system, wall []float64
			for b.Loop() {
				u, s, w := block()
				cpu, user, system, wall = append(cpu, u+s), append(user, u), append(system, s), append(wall, w)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(1/median(cpu), "connects/cpu-s")
			b.ReportMetric(1e6*median(user), "user-µs/connect")
			b.ReportMetric(1e6*median(system), "system-µs/connect")
			reportRange(b, scaled(cpu, 1e6), "cpu-µs/connect")
			b.ReportMetric(1/median(wall), "connects/s")
		})
	}
}

// BenchmarkIdle is 15,000 authenticated WebSockets that send a heartbeat every 25
// s and are sent nothing else: one op is two seconds without heartbeats and two
// seconds with the 1,200 that are due in such a time. Collections, which come
// every two minutes, are rarely in it.
//
//	go test -run '^$' -bench Idle -benchtime 10x ./gateway
//
//	cpu-µs/conn/s    of the gateway's CPU, per connection and second, median
//	silent-µs/conn/s of it, what is there without any heartbeat
//	cpu-µs/beat      what one heartbeat adds
func BenchmarkIdle(b *testing.B) {
	const (
		clients = densityClients
		every   = 25 // seconds
		seconds = 2
		beats   = clients * seconds / every
	)
	gw, crowd := startGateway(b, nil), startClients(b)
	crowd.open(b, swarmSpec{Addr: gw.WS, WS: true, N: clients, RoomSize: 100, Net: 1, PerIP: 10})
	gw.memory(b) // collects: what opening left is none of an idle connection's
	cost := func(f func()) float64 {
		before := gw.used(b)
		f()
		return 1e6 * gw.used(b).minus(before).total().Seconds()
	}
	var silent, beating, beat []float64
	for b.Loop() {
		s := cost(func() { time.Sleep(seconds * time.Second) })
		w := cost(func() {
			call[none](b, crowd.child, "beat", beatSpec{N: beats, PerSecond: clients / every})
		})
		silent, beating, beat = append(silent, s), append(beating, w), append(beat, w-s)
	}
	b.ReportMetric(0, "ns/op")
	reportRange(b, scaled(beating, 1.0/clients/seconds), "cpu-µs/conn/s")
	b.ReportMetric(median(silent)/clients/seconds, "silent-µs/conn/s")
	b.ReportMetric(median(beat)/beats, "cpu-µs/beat")
	if r := crowd.report(b); r.Open != clients {
		b.Errorf("%d of %d clients are left: %v", r.Open, clients, r.Ended)
	}
}

// scaled is list with each value multiplied by f.
func scaled(list []float64, f float64) []float64 {
	out := make([]float64, 0, len(list))
	for _, v := range list {
		out = append(out, v*f)
	}
	return out
}
