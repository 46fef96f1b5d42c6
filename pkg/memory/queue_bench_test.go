package memory

import (
	"context"
	"fmt"
	"testing"

	"github.com/halley-im/halley/pkg/push"
)

// BenchmarkQueue is one message through the queue, published, read and committed,
// in calls of batch messages.
func BenchmarkQueue(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			q := NewQueue(1, 64<<20)
			msgs := bodies(batch, 100)
			b.ReportAllocs()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			published := make(chan error, 1)
			go func() {
				for n := 0; n < b.N; n += batch {
					if err := q.Publish(ctx, 0, msgs); err != nil {
						published <- err
						return
					}
				}
				published <- nil
			}()
			_ = q.Consume(ctx, func(ctx context.Context, a push.Assignment) {
				defer cancel()
				for n := 0; n < b.N; {
					recs, err := a.Read(ctx, 0)
					if err != nil {
						b.Error(err)
						return
					}
					n += len(recs)
					if err := a.Commit(ctx, map[int32]int64{0: recs[len(recs)-1].Offset + 1}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			if err := <-published; err != nil {
				b.Fatal(err)
			}
		})
	}
}
