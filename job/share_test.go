package job

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// viewOf makes a view of gateways with so many sessions each.
func viewOf(conns []int64) *view {
	v := &view{}
	for i, n := range conns {
		l := &link{id: fmt.Sprint("gw", i)}
		l.conns.Store(n)
		l.told.Store(-1)
		v.links = append(v.links, l)
	}
	return v
}

// goim divides a broadcast's speed by the number of nodes; here a node's share is
// that of its connections. The second column is what an earlier version reads.
func TestSpeedIsShared(t *testing.T) {
	type want struct {
		rate  float64
		speed int32
	}
	f := func(speed int32, conns [3]int64, wants [3]want) {
		t.Helper()
		inBubble(t, func(t *testing.T) {
			r := newRig(t, 1)
			for i, c := range conns {
				id := fmt.Sprint("gw", i)
				r.registry.nodes[id] = cluster.Node{ID: id, Epoch: 1, Conns: c}
			}
			r.start()
			r.queue.publish(0, toAll(speed, "a"))
			settle()
			for i, w := range wants {
				got := r.gateways.get(fmt.Sprint("gw", i)).all()
				if len(got) != 1 || got[0].message.To.Speed != w.speed || math.Abs(got[0].message.To.Rate(0)-w.rate) > 1e-9*math.Abs(float64(speed)) {
					t.Fatalf("speed %d, conns %v: gateway %d got %+v, want %+v", speed, conns, i, got, w)
				}
				if speed <= 0 && got[0].message.To.Share != (push.Share{}) {
					t.Errorf("speed %d, which is no limit, was divided: %+v", speed, got[0].message.To)
				}
			}
			r.mustEnd()
			if to := r.queue.logs[0][0].To; to.Speed != speed || to.Share != (push.Share{}) {
				t.Errorf("the record's own speed became %+v", to)
			}
		})
	}
	f(0, [3]int64{1, 2, 3}, [3]want{})
	f(-1, [3]int64{1, 2, 3}, [3]want{})
	f(600, [3]int64{1, 2, 3}, [3]want{{100, 100}, {200, 200}, {300, 300}})
	f(5, [3]int64{10, 10, 80}, [3]want{{0.5, 1}, {0.5, 1}, {4, 4}})
	f(1, [3]int64{1, 1, 1}, [3]want{{1. / 3, 1}, {1. / 3, 1}, {1. / 3, 1}})
	f(600, [3]int64{0, 0, 0}, [3]want{{200, 200}, {200, 200}, {200, 200}})
	f(2, [3]int64{0, -7, 0}, [3]want{{2. / 3, 1}, {2. / 3, 1}, {2. / 3, 1}})
	f(1<<31-1, [3]int64{5, 5, 10}, [3]want{{(1<<31 - 1) / 4., 1 << 29}, {(1<<31 - 1) / 4., 1 << 29}, {(1<<31 - 1) / 2., 1 << 30}})
	// Nobody is known at the first; who came since gets what all others get.
	f(101, [3]int64{0, 10, 90}, [3]want{{1, 1}, {10.1, 10}, {90.9, 91}})
}

// Whatever the cluster looks like, the shares are a division of the speed without
// rest: of the sessions, of which each is in one share, and so of the messages.
func TestSharesAddUp(t *testing.T) {
	rnd := newRand(t)
	for range 2000 {
		conns := make([]int64, 1+rnd.IntN(40))
		for i := range conns {
			switch rnd.IntN(5) {
			case 0: // stays empty
			case 1:
				conns[i] = -rnd.Int64N(100)
			case 2:
				conns[i] = rnd.Int64N(10)
			default:
				conns[i] = rnd.Int64N(1 << rnd.IntN(40))
			}
		}
		addUp(t, 1+rnd.Int32N(1<<(1+rnd.IntN(30))), conns)
	}
}

func addUp(t *testing.T, speed int32, conns []int64) {
	t.Helper()
	var all, parts int64
	for _, n := range conns {
		all += max(n, 0)
	}
	var rates float64
	shares := viewOf(conns).appendShares(nil, speed)
	if len(shares) != len(conns) {
		t.Fatalf("%d shares for %d gateways", len(shares), len(conns))
	}
	for i, s := range shares {
		parts += s.Conns
		to := push.Target{Kind: push.All, Speed: speed}
		divided(&to, s)
		if s.Speed != speed || s.All != shares[0].All || to.Speed < 1 {
			t.Fatalf("speed %d over %v: share %d is %+v, for earlier versions %d", speed, conns, i, s, to.Speed)
		}
		rate := to.Rate(0)
		if all > 0 && conns[i] <= 0 {
			if rate <= 0 { // it would have no limit
				t.Fatalf("speed %d over %v: gateway %d gets %v", speed, conns, i, rate)
			}
			continue // nobody is there: whatever it is, nothing is written
		}
		exact := float64(speed) / float64(len(conns))
		if all > 0 {
			exact = float64(speed) * float64(conns[i]) / float64(all)
		}
		if math.Abs(rate-exact) > 1e-9*exact || math.Abs(float64(to.Speed)-max(exact, 1)) > 0.5 {
			t.Fatalf("speed %d over %v: gateway %d gets %v, for earlier versions %d, want %v", speed, conns, i, rate, to.Speed, exact)
		}
		rates += rate
	}
	if parts != shares[0].All || math.Abs(rates-float64(speed)) > 1e-9*float64(speed) {
		t.Fatalf("speed %d over %v: shares of %d of %d sessions, %v messages a second in all", speed, conns, parts, shares[0].All, rates)
	}
}

// No count, however wrong, makes a sum overflow.
func TestSharesOfAbsurdCounts(t *testing.T) {
	v := viewOf(slices.Repeat([]int64{math.MaxInt64, math.MinInt64}, 1000))
	for i, s := range v.appendShares(nil, math.MaxInt32) {
		to := push.Target{}
		divided(&to, s)
		if want := int64(1-i%2) * maxConns; s.Conns != want || s.All != 1000*maxConns || to.Rate(1) <= 0 {
			t.Fatalf("share %d is %+v", i, s)
		}
	}
	if s := (&view{}).appendShares(nil, 5); len(s) != 0 {
		t.Errorf("no gateway has %v", s)
	}
}

// Every push to all is divided, those without a speed too.
func TestSharesAllocs(t *testing.T) {
	v := viewOf(make([]int64, 100))
	var shares []push.Share
	if n := testing.AllocsPerRun(100, func() { shares = v.appendShares(shares[:0], 7) }); n != 0 {
		t.Fatalf("appendShares: %v allocs, want 0", n)
	}
}

// What a gateway says on its stream counts more than its lease, which is up to
// 1.5 s behind, and no longer than the stream.
func TestSharesFollowTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "a", "b")
		r.registry.set(func() {
			for _, id := range []string{"a", "b"} {
				n := r.registry.nodes[id]
				n.Conns = 100
				r.registry.nodes[id] = n
			}
		})
		a, b := r.gateways.get("a"), r.gateways.get("b")
		a.list, b.list = true, true
		r.start()
		f := func(wantA, wantB float64) {
			t.Helper()
			settle()
			r.queue.publish(0, toAll(1000, "x"))
			settle()
			last := func(g *testGateway) float64 {
				all := g.all()
				return all[len(all)-1].message.To.Rate(0)
			}
			if x, y := last(a), last(b); math.Abs(x-wantA)+math.Abs(y-wantB) > 1e-6 {
				t.Errorf("rates %v and %v, want %v and %v", x, y, wantA, wantB)
			}
		}
		f(500, 500)
		a.stream().count(300)
		f(750, 250)
		pass(3 * listEvery) // the lease is read, and is behind
		f(750, 250)
		a.stream().announce(roomCounts("live://1", 3), false) // says nothing of sessions
		f(750, 250)
		b.stream().count(0)
		f(1000, 1000./301)
		b.stream().count(700)
		f(300, 700)
		b.stream().count(-1)
		f(1000, 1000./301)
		a.stream().end(errors.New("reset"))
		a.set(func() { a.list = false })
		pass(2 * reopenMax) // the next stream has not said it yet
		f(1000, 1000./101)
	})
}
