package tlsloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/halley-im/halley/pkg/testkit"
)

// heapPerConn is the heap that each of n established connections takes, in bytes:
// idle, and then when it has read a record of 16 KB. The clients' ends are not
// counted.
func heapPerConn(t testing.TB, o Options, config *tls.Config, n int) (idle, large float64) {
	t.Helper()
	p := startPool(t, o)
	for range 20 {
		connect(t, p, config) // what is once per process
	}
	conns, wires := make([]*Conn, n), make([][]byte, n)
	before := heap()
	records := 0
	for i := range conns {
		l := connect(t, p, config)
		_, _ = l.client.Write(make([]byte, 16<<10))
		for len(l.wire.up) > 0 {
			wires[i] = append(wires[i], <-l.wire.up...)
		}
		records += cap(wires[i])
		conns[i] = l.server
	}
	idle = float64(heap()-before-int64(records)) / float64(n)
	buf := make([]byte, 16<<10)
	for i, c := range conns {
		_ = c.Feed(wires[i])
		wires[i] = nil
		for read := 0; ; {
			n, err := c.Read(buf)
			if read += n; err == nil {
				continue
			}
			if !errors.Is(err, ErrAgain) || read != len(buf) {
				t.Fatal(read, err)
			}
			break
		}
	}
	large = float64(heap()-before) / float64(n)
	runtime.KeepAlive(conns)
	return idle, large
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// clientKinds are clients with the largest and the smallest ClientHello that Go makes.
func clientKinds() map[string]*tls.Config {
	small12, small13, large13 := clientConfig(tls.VersionTLS12), clientConfig(tls.VersionTLS13), clientConfig(tls.VersionTLS13)
	small12.CurvePreferences = []tls.CurveID{tls.X25519}
	small13.CurvePreferences = []tls.CurveID{tls.X25519}
	large13.NextProtos = []string{"http/1.1"}
	for i := range 6 { // with the post-quantum share 1.8 KB, as browsers' are
		large13.NextProtos = append(large13.NextProtos, fmt.Sprintf("%050d", i))
	}
	return map[string]*tls.Config{"1.2": small12, "1.3": small13, "1.3 browser": large13}
}

// The goal of the whole: what an idle connection costs.
func TestHeapPerConnection(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	testkit.LeakCheck(t)
	// The goal is 5 KB; 4 notices when a buffer of crypto/tls is not freed.
	const goal = 4 << 10
	f := func(client string, pq bool) {
		t.Helper()
		idle, large := heapPerConn(t, Options{PostQuantum: pq}, clientKinds()[client], 1000)
		t.Logf("TLS %s, post-quantum %v: %.0f B idle, %.0f B after a record of 16 KB", client, pq, idle, large)
		if idle > goal || large > goal || min(idle, large) < 2000 {
			t.Errorf("want 2000 to %d: two AES keys alone are 1.8 KB", goal)
		}
	}
	f("1.2", false)
	f("1.3", false)
	f("1.3 browser", false)
	f("1.3 browser", true)
}
