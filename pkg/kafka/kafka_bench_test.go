package kafka

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/push"
)

// BenchmarkPublishLone is one message of 100 bytes at a time: what a lone push waits
// for Kafka's acknowledgement.
func BenchmarkPublishLone(b *testing.B) {
	q := openQueue(b, testConfig(b))
	msgs := messages(1)
	msgs[0].Body = make([]byte, 100)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		t0 := time.Now()
		if err := q.Publish(context.Background(), 1, msgs); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(t0))
	}
	report(b, took)
}

// BenchmarkEndToEndLone is one message at a time from before Publish until a reader
// that waits for it has it.
func BenchmarkEndToEndLone(b *testing.B) {
	q := openQueue(b, testConfig(b))
	msgs := messages(1)
	msgs[0].Body = make([]byte, 100)
	var took []time.Duration
	consume(b, q, func(ctx context.Context, a push.Assignment) {
		arrived := make(chan error, 1)
		for b.Loop() {
			t0 := time.Now()
			go func() {
				_, err := a.Read(ctx, 1)
				arrived <- err
			}()
			if err := q.Publish(ctx, 1, msgs); err != nil {
				b.Error(err)
				return
			}
			if err := <-arrived; err != nil {
				b.Error(err)
				return
			}
			took = append(took, time.Since(t0))
		}
	})
	report(b, took)
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("ms/p%d", p))
	}
}

// BenchmarkPublishBatch is calls of many messages of 100 bytes to one partition.
func BenchmarkPublishBatch(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			q := openQueue(b, testConfig(b))
			msgs := messages(n)
			for i := range msgs {
				msgs[i].Body = make([]byte, 100)
			}
			b.ReportAllocs()
			calls := 0
			for b.Loop() {
				if err := q.Publish(context.Background(), 1, msgs); err != nil {
					b.Fatal(err)
				}
				calls++
			}
			b.ReportMetric(float64(calls*n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkRead reads a backlog of messages of 100 bytes from one partition.
func BenchmarkRead(b *testing.B) {
	const n = 200_000
	q := openQueue(b, testConfig(b))
	msgs := messages(n)
	for i := range msgs {
		msgs[i].Body = make([]byte, 100)
	}
	if err := q.Publish(context.Background(), 1, msgs); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	rounds := 0
	for b.Loop() {
		consume(b, q, func(ctx context.Context, a push.Assignment) {
			for got := 0; got < n; {
				recs, err := a.Read(ctx, 1)
				if err != nil {
					b.Error(err)
					return
				}
				got += len(recs)
			}
		})
		rounds++
	}
	b.ReportMetric(float64(rounds*n)/b.Elapsed().Seconds(), "messages/s")
}
