package push

import "testing"

func TestRate(t *testing.T) {
	f := func(to Target, sessions int64, want float64) {
		t.Helper()
		if got := to.Rate(sessions); got != want {
			t.Fatalf("%+v with %d sessions: %v, want %v", to, sessions, got, want)
		}
	}
	share := func(speed int32, conns, all int64) Target {
		return Target{Kind: All, Speed: 1, Share: Share{speed, conns, all}}
	}
	// The gateway's sessions by now do not matter: the other shares were made with
	// what was known then.
	f(share(5, 10, 100), 10, 0.5)
	f(share(5, 10, 100), 0, 0.5)
	f(share(5, 10, 100), 1<<40, 0.5)
	f(share(1<<31-1, 1<<40, 1<<40), 1, 1<<31-1)
	f(share(4, 1<<50, 1<<52), 1, 1)
	// Nobody was known there.
	f(share(100, 0, 300), 100, 25)
	f(share(100, 0, 300), 0, 100./301)
	f(share(100, 0, 300), -5, 100./301)
	// No limit, whatever else is said; and what a job of an earlier version sends.
	f(Target{Kind: All}, 10, 0)
	f(Target{Kind: All, Speed: -7}, 10, 0)
	f(Target{Kind: All, Share: Share{5, 10, 100}}, 10, 0)
	f(Target{Kind: All, Speed: 30}, 10, 30)
	// What no job sends is no reason to write without a limit, or nothing at all.
	f(Target{Kind: All, Speed: 30, Share: Share{Speed: -1, Conns: 1, All: 1}}, 10, 30)
	f(Target{Kind: All, Speed: 30, Share: Share{Speed: 10, Conns: 1, All: -1}}, 10, 30)
	f(share(100, -5, 300), 100, 25)
	f(share(100, 400, 300), 1, 100)
}
