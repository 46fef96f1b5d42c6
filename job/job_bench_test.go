package job

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// benchGateways admit everything and answer at once, on the caller's goroutine.
type benchGateways struct {
	rooms    []cluster.RoomCount
	messages atomic.Int64
	want     int64
	done     chan struct{}
}

type benchStream struct {
	g *benchGateways
	r push.Receiver
}

func (g *benchGateways) Open(_ context.Context, _ cluster.Node, _ push.Hello, r push.Receiver) (push.Stream, error) {
	r.Interest(push.Interest{Seq: 1, Rooms: g.rooms, Complete: true})
	return &benchStream{g, r}, nil
}

func (s *benchStream) Deliver(b *push.Batch) error {
	n := s.g.messages.Add(int64(len(b.Items)))
	s.r.Ack(push.Ack{Partition: b.Partition, Generation: b.Generation, Seq: b.Seq})
	if n >= s.g.want && n-int64(len(b.Items)) < s.g.want {
		close(s.g.done)
	}
	return nil
}

func (s *benchStream) Confirm(uint64) error             { return nil }
func (s *benchStream) Counts([]cluster.RoomCount) error { return nil }
func (s *benchStream) Close()                           { s.r.Closed(nil) }

// benchSource is one partition with records without end.
type benchSource struct {
	recs    []push.Record
	perRead int
	offset  int64
	left    int64
}

func (s *benchSource) Partitions() int32                             { return 1 }
func (s *benchSource) Generation() int32                             { return 1 }
func (s *benchSource) Commit(context.Context, map[int32]int64) error { return nil }

func (s *benchSource) Consume(ctx context.Context, run func(context.Context, push.Assignment)) error {
	run(ctx, benchAssignment{s})
	return ctx.Err()
}

type benchAssignment struct{ *benchSource }

func (benchAssignment) Partitions() []int32 { return []int32{0} }

func (s benchAssignment) Read(ctx context.Context, _ int32) ([]push.Record, error) {
	n := int(min(int64(s.perRead), s.left))
	if n == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.left -= int64(n)
	for i := range s.recs[:n] {
		s.recs[i].Offset = s.offset
		s.offset++
	}
	return s.recs[:n], nil
}

// BenchmarkJob is the whole way from Read to the acknowledgement, per message read.
func BenchmarkJob(b *testing.B) {
	f := func(name string, gateways, perRead int, m push.Message) {
		b.Run(name, func(b *testing.B) {
			r := newTestRegistry()
			for i := range gateways {
				r.add(fmt.Sprint("gw", i), 1)
			}
			g := &benchGateways{rooms: roomCounts("live://1", 1), want: int64(b.N) * int64(gateways), done: make(chan struct{})}
			s := &benchSource{perRead: perRead, left: int64(b.N), recs: make([]push.Record, perRead)}
			for i := range s.recs {
				s.recs[i].Message = m
			}
			cfg := Default()
			cfg.ID = "bench"
			j := New(cfg, Deps{Source: s, Nodes: r, Rooms: r, Sender: g}, discard, metrics.NewSet())
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan struct{})
			b.ReportAllocs()
			b.ResetTimer()
			go func() { defer close(ended); _ = j.Run(ctx) }()
			<-g.done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(float64(g.messages.Load())/float64(j.m.batches.Get()), "msg/batch")
			stop()
			<-ended
		})
	}
	body := make([]byte, 30)
	key, room, all := keysTo("gw0", 1, string(body)), toRoom("live://1", string(body)), toAll(0, string(body))
	f("key/lone", 1, 1, key)
	f("key/read=1024", 1, 1024, key)
	f("room/lone", 1, 1, room)
	f("room/read=1024", 1, 1024, room)
	f("room/read=1024/gateways=10", 10, 1024, room)
	f("all/read=1024/gateways=10", 10, 1024, all)
}
