package spool

import (
	"fmt"
	"testing"

	"github.com/halley-im/halley/pkg/push"
)

// BenchmarkMemory is one message through the log, in batches of 64, while depth
// others wait: the depth must not show.
func BenchmarkMemory(b *testing.B) {
	for _, depth := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			m := NewMemory(depth+64, 1<<40)
			msgs := make([]push.Message, 64)
			for n := 0; n < depth; n += len(msgs) {
				if err := m.Append(msgs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			var done uint64
			for n := 0; n < b.N; n += len(msgs) {
				if err := m.Append(msgs); err != nil {
					b.Fatal(err)
				}
				got, err := m.Next(done, len(msgs))
				if err != nil || len(got) != len(msgs) {
					b.Fatal(len(got), err)
				}
				done += uint64(len(got))
				if err := m.Commit(done); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
