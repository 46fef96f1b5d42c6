package gateway

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A push to all with a speed writes as many per second as its loop's share, also
// when ticks are late; in bursts that never hold the loop up.
func TestPaceIsExact(t *testing.T) {
	f := func(rate, part float64, sessions int, d time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			l, _, conns := fakeRoom(t, sessions)
			l.conns.Store(int32(sessions))
			share := &castShare{rate: rate}
			share.left.Store(1)
			l.addCast(share, testMessage("x"), part)
			rnd := rand.New(rand.NewPCG(1, 2))
			written := func() (n int) {
				for _, c := range conns {
					n += c.written
				}
				return n
			}
			for began := time.Now(); time.Since(began) < d; {
				before := written()
				time.Sleep(paceEvery + time.Duration(rnd.IntN(20))*time.Millisecond)
				paceMail{}.run(l)
				if n := written() - before; n > maxPace {
					t.Fatalf("%d writes at a time", n)
				}
			}
			want := rate * part * d.Seconds()
			if got := float64(written()); got < 0.95*want-1 || got > 1.05*want+1 {
				t.Errorf("%v per second on %v of a node: %v in %v, want %v", rate, part, got, d, want)
			}
			l.pace.stop()
		})
	}
	f(7, 1, 1000, 20*time.Second)
	f(100, 0.25, 1000, 20*time.Second)
	f(1000, 0.5, 10_000, 10*time.Second)
	f(15_000, 1, 40_000, 2*time.Second)
}

// The parts of the loops add up.
func TestParts(t *testing.T) {
	srv := &Server{loops: []*loop{{}, {}, {}}}
	srv.loops[0].conns.Store(10)
	srv.loops[2].conns.Store(30)
	if p := srv.parts(); p[0] != 0.25 || p[1] != 0 || p[2] != 0.75 {
		t.Errorf("parts %v", p)
	}
	srv = &Server{loops: []*loop{{}, {}}}
	if p := srv.parts(); p[0] != 0.5 || p[1] != 0.5 {
		t.Errorf("parts of an empty node %v", p)
	}
}
