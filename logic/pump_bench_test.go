package logic

import (
	"context"
	"fmt"
	"testing"

	"github.com/halley-im/halley/pkg/push"
)

// sink is a queue that acknowledges at once and keeps nothing.
type sink struct{}

func (sink) Partitions() int32                                    { return testPartitions }
func (sink) Publish(context.Context, int32, []push.Message) error { return nil }

// benchmarkPump measures a push from Push to its acknowledgement, many at a time,
// on the memory registry and a queue that costs nothing.
func benchmarkPump(b *testing.B, message func(i int) push.Message) {
	r := newRig(b, func(_ *Config, d *Deps) { d.Publisher = sink{} })
	for g := range 4 {
		at := r.gateway(fmt.Sprint("gw", g))
		r.keepAlive(at)
		for k := range 1000 {
			r.route(at, fmt.Sprintf("key-%d-%d", g, k), fmt.Sprint(1+k))
		}
	}
	r.start()
	b.ReportAllocs()
	b.ResetTimer()
	msgs := make([]push.Message, 0, 100)
	var last push.ID
	for i := range b.N {
		msgs = append(msgs, message(i))
		if len(msgs) < cap(msgs) && i < b.N-1 {
			continue
		}
		for r.Push(msgs) != nil { // full: the pump is behind
			r.mustQueue(last)
		}
		last = msgs[len(msgs)-1].ID
		r.Wake()
		msgs = msgs[:0]
	}
	r.mustQueue(last)
	if r.m.offline.Get() != 0 {
		b.Fatal("pushes found nobody")
	}
}

func BenchmarkPumpRoom(b *testing.B) {
	benchmarkPump(b, func(i int) push.Message { return toRoom("live://1000") })
}

func BenchmarkPumpMid(b *testing.B) {
	benchmarkPump(b, func(i int) push.Message { return toMids(int64(1 + i%1000)) })
}

func BenchmarkPumpKey(b *testing.B) {
	benchmarkPump(b, func(i int) push.Message { return toKeys("key-1-7") })
}
