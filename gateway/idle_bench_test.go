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
//	cpu-µs/connect   the same, the other way round
//	connects/s       by the clock, clients on the same machine
func BenchmarkConnect(b *testing.B) {
	const clients = 4000
	for _, transport := range []string{"ws", "tcp"} {
		b.Run(transport, func(b *testing.B) {
			gw, crowd := startGateway(b, nil), startClients(b)
			spec := crowdSpec(gw.TCP, clients, 100)
			if transport == "ws" {
				spec.Addrs = []string{gw.WS}
			}
			block := func() (cpu, wall float64) {
				before, start := used(b, gw.Process), clock.Now()
				took := crowd.open(b, spec).LastOpen - start
				cost := used(b, gw.Process) - before
				crowd.close(b)
				gw.empty(b)
				return cost.Seconds() / clients, took.Seconds() / clients
			}
			block()
			var cpu, wall []float64
			for b.Loop() {
				c, w := block()
				cpu, wall = append(cpu, c), append(wall, w)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(1/median(cpu), "connects/cpu-s")
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
		every   = 25 * time.Second
		block   = 2 * time.Second
		seconds = float64(block / time.Second)
	)
	gw, crowd := startGateway(b, nil), startClients(b)
	crowd.open(b, crowdSpec(gw.WS, clients, 100))
	gw.memory(b) // collects: what opening left is none of an idle connection's
	cost := func(f func()) float64 {
		before := used(b, gw.Process)
		f()
		return 1e6 * (used(b, gw.Process) - before).Seconds()
	}
	var silent, beating, beat []float64
	for b.Loop() {
		s := cost(func() { time.Sleep(block) })
		beats := crowd.report(b).Beats
		w := cost(func() {
			tell(b, crowd.Process, "beat", every)
			time.Sleep(block)
			tell(b, crowd.Process, "beat", time.Duration(0))
		})
		beats = crowd.report(b).Beats - beats
		silent, beating, beat = append(silent, s), append(beating, w), append(beat, (w-s)/float64(beats))
	}
	b.ReportMetric(0, "ns/op")
	reportRange(b, scaled(beating, 1/(clients*seconds)), "cpu-µs/conn/s")
	b.ReportMetric(median(silent)/clients/seconds, "silent-µs/conn/s")
	b.ReportMetric(median(beat), "cpu-µs/beat")
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
