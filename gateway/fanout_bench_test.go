package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/floor"
	"github.com/halley-im/halley/bench/work"
)

// BenchmarkFanout is pushes to one room of real loopback WebSockets, so many of
// them to a write, beside the bare write loop: one op is a block of rounds on the
// gateway and one on the floor, in turn, and every metric of two of them is the
// median of their ratio. A round is one batch through a delivery stream, written
// to all members; the next begins when all have got it, so that batches do not
// merge. All members check all they get.
//
//	go test -run '^$' -bench Fanout -benchtime 10x ./gateway
//
//	gateway-µs/write, floor-µs/write   CPU of the process, system calls included
//	ratio, ratio-min, ratio-max        gateway to floor, of pairs of blocks
//	msgs/cpu-s                         messages × members to a second of the gateway's CPU
//	msgs/write                         as seen by the members
func BenchmarkFanout(b *testing.B) {
	for _, size := range []struct {
		members  int
		perWrite []int
	}{{5000, []int{1, 5, 20, 100}}, {19_000, []int{1, 20}}} {
		b.Run(fmt.Sprintf("members=%d", size.members), func(b *testing.B) {
			ours, floor := fanoutSides(b, size.members)
			for _, n := range size.perWrite {
				b.Run(fmt.Sprintf("per-write=%d", n), func(b *testing.B) { benchFanout(b, ours, floor, size.members, n) })
			}
		})
	}
}

const (
	fanoutBody   = 30     // bytes of a body, a short chat message
	fanoutWrites = 20_000 // at least so many to a block: about 150 ms of CPU
	fanoutLoops  = 2      // of the gateway, and threads of the floor
)

// fanoutSide is one of the two that are compared.
type fanoutSide struct {
	server *work.Process
	crowd  *crowd
	batch  func(count int) any // argument of push
	sent   int                 // messages to each member so far
}

// fanoutSides starts both servers and opens their members.
func fanoutSides(b *testing.B, members int) (ours, bare *fanoutSide) {
	b.Helper()
	gw := startGateway(b, map[string]any{"Loops": fanoutLoops})
	ours = &fanoutSide{server: gw.Process, crowd: startClients(b), batch: func(n int) any {
		return pushSpec{Count: n, Size: fanoutBody}
	}}
	spec := crowdSpec(gw.WS, members, members)
	ours.crowd.open(b, spec)

	bare = &fanoutSide{server: startChild(b, "floor"), crowd: startClients(b), batch: func(n int) any {
		return floor.Push{Run: childRun, Op: 1000, Count: n, Size: fanoutBody, Threads: fanoutLoops}
	}}
	addr := call[string](b, bare.server, "listen", floor.Sockets{N: members, Sndbuf: Default().Sndbuf})
	spec.Bare, spec.Net, spec.Addrs = true, 2, []string{"ws://" + addr + "/"}
	bare.crowd.open(b, spec)
	tell(b, bare.server, "accepted", work.None{})
	return ours, bare
}

// block is so many rounds of count messages each; it returns what they cost.
func (s *fanoutSide) block(b *testing.B, rounds, count int) time.Duration {
	b.Helper()
	before := used(b, s.server)
	for range rounds {
		tell(b, s.server, "push", s.batch(count))
		s.sent += count
		s.crowd.wait(b, s.sent)
	}
	return used(b, s.server) - before
}

func benchFanout(b *testing.B, ours, bare *fanoutSide, members, count int) {
	rounds := max(1, fanoutWrites/members)
	ours.block(b, 2, count)
	bare.block(b, 2, count)
	frames := ours.crowd.report(b).Frames
	var cost, floor, ratio []float64 // µs per write; their quotient
	for b.Loop() {
		a := float64(ours.block(b, rounds, count).Nanoseconds()) / 1e3 / float64(rounds*members)
		f := float64(bare.block(b, rounds, count).Nanoseconds()) / 1e3 / float64(rounds*members)
		cost, floor, ratio = append(cost, a), append(floor, f), append(ratio, a/f)
	}
	frames = ours.crowd.complete(b, ours.sent).Frames - frames
	bare.crowd.complete(b, bare.sent)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(cost), "gateway-µs/write")
	b.ReportMetric(median(floor), "floor-µs/write")
	reportRange(b, ratio, "ratio")
	perWrite := float64(len(cost)*rounds*members*count) / float64(frames)
	b.ReportMetric(perWrite, "msgs/write")
	b.ReportMetric(perWrite*1e6/median(cost), "msgs/cpu-s")
}

// reportRange reports the median of a list and its ends.
func reportRange(b *testing.B, list []float64, name string) {
	b.ReportMetric(median(list), name)
	b.ReportMetric(slices.Min(list), name+"-min")
	b.ReportMetric(slices.Max(list), name+"-max")
}

// median of a list that has something in it; of an even number, the upper one.
func median(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
