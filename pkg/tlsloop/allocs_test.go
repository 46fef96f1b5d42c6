package tlsloop

import (
	"crypto/tls"
	"errors"
	"testing"

	"github.com/halley-im/halley/pkg/testkit"
)

func TestReadAndAppendAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	testkit.LeakCheck(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l := connect(t, startPool(t, Options{}), clientConfig(version))
		const runs = 200
		var records [][]byte
		for range runs + 1 {
			_, _ = l.client.Write(make([]byte, 200))
			records = append(records, <-l.wire.up)
		}
		next := 0
		if n := testing.AllocsPerRun(runs, func() {
			_ = l.server.Feed(records[next])
			if n, err := l.server.Read(l.buf); n != 200 || err != nil {
				t.Fatal(n, err)
			}
			if _, err := l.server.Read(l.buf); !errors.Is(err, ErrAgain) {
				t.Fatal(err)
			}
			next++
		}); n != 0 {
			t.Errorf("%x: Feed and Read: %v allocs, want 0", version, n)
		}
		dst := make([]byte, 0, 64<<10)
		for _, size := range []int{200, 16 << 10, 40 << 10} {
			plain := make([]byte, size)
			if n := testing.AllocsPerRun(runs, func() { _, _ = l.server.Append(dst, plain) }); n != 0 {
				t.Errorf("%x: Append of %d: %v allocs, want 0", version, size, n)
			}
		}
	}
}
