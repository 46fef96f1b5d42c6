package tlsloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"
	"time"
)

// BenchmarkMemory reports the heap per connection, as it is and as crypto/tls alone
// has it (other layout).
func BenchmarkMemory(b *testing.B) {
	for name, config := range clientKinds() {
		for _, known := range []bool{true, false} {
			for _, pq := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/trimmed=%v/pq=%v", name, known, pq), func(b *testing.B) {
					defer func(known bool) { layout.known = known }(layout.known)
					layout.known = known
					for b.Loop() {
						idle, large := heapPerConn(b, Options{PostQuantum: pq}, config, 500)
						b.ReportMetric(idle, "B/conn")
						b.ReportMetric(large, "B/conn-16KB")
					}
				})
			}
		}
	}
}

// BenchmarkHandshake reports the server's own part of a handshake: from the bytes of
// the client to the bytes for it, or the end. With -cpu 1 the figure per second is
// how many both ends together do in a second of CPU.
func BenchmarkHandshake(b *testing.B) {
	for _, c := range []struct {
		name    string
		version uint16
		pq      bool
		resume  bool
	}{{"1.2", tls.VersionTLS12, false, false}, {"1.3", tls.VersionTLS13, false, false},
		{"1.3 resumed", tls.VersionTLS13, false, true}, {"1.3 post-quantum", tls.VersionTLS13, true, false}} {
		b.Run(c.name, func(b *testing.B) {
			p := startPool(b, Options{PostQuantum: c.pq})
			config := clientConfig(c.version)
			if c.resume {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			}
			var server time.Duration
			b.ReportAllocs()
			for b.Loop() {
				l := newLink(b, p, config)
				server += l.shakeTimed()
				if c.resume { // reads the ticket
					sealed, _ := l.server.Append(nil, []byte("x"))
					l.takes(sealed, "x")
				}
			}
			b.ReportMetric(float64(server.Microseconds())/float64(b.N), "server-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// shakeTimed is shake, and returns how long the server had the word: from the last
// bytes of the client's flight to its own.
func (l *link) shakeTimed() (server time.Duration) {
	result := make(chan error, 1)
	go func() { result <- l.client.Handshake() }() // ends when done has come
	var start time.Time
	for !l.ended {
		select {
		case b := <-l.wire.up:
			start = time.Now()
			_ = l.server.Feed(b)
		case mail := <-l.mails:
			if !start.IsZero() {
				server += time.Since(start)
				start = time.Time{}
			}
			mail()
		}
	}
	if err := <-result; err != nil || l.err != nil {
		l.t.Fatal(err, l.err)
	}
	l.server.Establish()
	return server
}

// BenchmarkRead reports the server's part beside what both ends take.
func BenchmarkRead(b *testing.B) {
	for _, known := range []bool{true, false} {
		for _, size := range []int{64, 1024, 16 << 10} {
			b.Run(fmt.Sprintf("%d/trimmed=%v", size, known), func(b *testing.B) {
				defer func(known bool) { layout.known = known }(layout.known)
				layout.known = known
				l := connect(b, startPool(b, Options{}), clientConfig(tls.VersionTLS13))
				plain := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var server time.Duration
				for b.Loop() {
					_, _ = l.client.Write(plain)
					record := <-l.wire.up
					for len(l.wire.up) > 0 {
						record = append(record, <-l.wire.up...)
					}
					start := time.Now()
					_ = l.server.Feed(record)
					for {
						if _, err := l.server.Read(l.buf); errors.Is(err, ErrAgain) {
							break
						}
					}
					server += time.Since(start)
				}
				b.ReportMetric(float64(server.Nanoseconds())/float64(b.N), "server-ns/op")
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 1024, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := connect(b, startPool(b, Options{}), clientConfig(tls.VersionTLS13))
			plain, dst := make([]byte, size), make([]byte, 0, 32<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = l.server.Append(dst, plain)
			}
		})
	}
}
