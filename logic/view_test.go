package logic

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// keepAlive renews a gateway's lease until the returned function is called.
func (r *rig) keepAlive(at life) (kill func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause(ctx, cluster.RenewEvery) {
			n := cluster.Node{ID: at.node, Role: cluster.RoleGateway, Epoch: at.epoch}
			if _, err := r.registry.Registry.Renew(ctx, n); err != nil {
				r.t.Errorf("renew %s: %v", n.ID, err)
			}
		}
	}()
	kill = func() { cancel(); <-done }
	r.t.Cleanup(kill)
	return kill
}

// A gateway that came after the last listing is reached: the view is refreshed
// before its routes are skipped.
func TestViewRefreshesForUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		synctest.Wait() // the first listing was empty
		at := r.gateway("new")
		r.route(at, "k", "")
		id := r.push(toKeys("k"))
		r.mustQueue(id)
		if n := len(r.queue.messages()); n != 1 {
			t.Fatalf("%d on the queue, want 1", n)
		}
	})
}

// A life that was found dead costs no listing a second time.
func TestViewRemembersDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.route(life{"gone", 7}, "k", "5")
		lists := r.registry.listed()
		ctx := context.Background()
		gone := []life{{"gone", 7}}
		for range 3 {
			if err := r.view.judge(ctx, gone); err != nil {
				t.Fatal(err)
			}
		}
		if n := r.registry.listed() - lists; n != 1 {
			t.Fatalf("%d listings, want 1", n)
		}
		if r.view.alive(gone[0]) {
			t.Fatal("alive without a lease")
		}
		// An earlier life of a gateway that lives is dead without asking.
		at := r.gateway("again")
		if err := r.view.refresh(ctx); err != nil {
			t.Fatal(err)
		}
		lists = r.registry.listed()
		if err := r.view.judge(ctx, []life{{"again", at.epoch - 1}}); err != nil {
			t.Fatal(err)
		}
		if r.registry.listed() != lists || !r.view.removable(life{"again", at.epoch - 1}) {
			t.Fatal("a superseded life is not dead for good")
		}
	})
}

// A gateway whose lease lapsed and came back under the same epoch is addressed
// again, and still has its routes.
func TestViewRevives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		at := r.gateway("a")
		r.route(at, "k", "")
		time.Sleep(cluster.LeaseTTL + viewEvery)
		r.mustQueue(r.push(toKeys("k")))
		if n := len(r.queue.messages()); n != 0 {
			t.Fatalf("%d sent to a gateway without a lease", n)
		}
		if r.m.deadRoutes.Get() != 1 || r.m.offline.Get() != 1 {
			t.Fatalf("counted %d dead routes and %d offline, want 1 and 1", r.m.deadRoutes.Get(), r.m.offline.Get())
		}
		r.renew(cluster.Node{ID: at.node, Epoch: at.epoch})
		time.Sleep(viewEvery)
		synctest.Wait()
		r.mustQueue(r.push(toKeys("k")))
		if n := len(r.queue.messages()); n != 1 {
			t.Fatalf("%d sent, want 1", n)
		}
		r.stop()
		if len(r.view.dead) != 0 {
			t.Fatalf("%d remembered as dead, want 0", len(r.view.dead))
		}
	})
}

// Pushes remove the routes they find dead, but only after a grace in which the
// registry answered all the time.
func TestStaleRoutesAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		r.keepAlive(r.gateway("alive"))
		r.route(life{"gone", 7}, "k", "5")
		offline := func() {
			t.Helper()
			for _, m := range []push.Message{toKeys("k", "k"), toMids(5)} {
				r.mustQueue(r.push(m))
			}
			synctest.Wait()
		}
		offline()
		time.Sleep(deadGrace / 2)
		r.registry.setAway(true)
		time.Sleep(3 * viewEvery / 2) // one listing fails
		r.registry.setAway(false)
		offline()
		time.Sleep(deadGrace - time.Second)
		offline()
		if !r.has("k") {
			t.Fatal("removed within the grace")
		}
		time.Sleep(time.Second)
		offline()
		if r.has("k") {
			t.Fatal("not removed after the grace")
		}
		if n := r.m.removedRoutes.Get(); n < 1 {
			t.Fatalf("%d counted as removed", n)
		}
		if n := len(r.queue.messages()); n != 0 {
			t.Fatalf("%d sent", n)
		}
	})
}

// A key that connects elsewhere while its old route is removed keeps its new one.
func TestRemovalIsCompareAndDelete(t *testing.T) {
	r := newRig(t, nil)
	old := r.route(life{"gone", 7}, "k", "5")
	r.route(r.gateway("b"), "k", "5")
	if !r.remove(context.Background(), []cluster.Route{old}) || !r.has("k") {
		t.Fatal("the new route was removed")
	}
}

func TestDeadIsBounded(t *testing.T) {
	r := newRig(t, nil)
	for i := range 2 * maxDead {
		if err := r.view.judge(context.Background(), []life{{fmt.Sprint(i), 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.view.dead); n != maxDead {
		t.Fatalf("%d remembered, want %d", n, maxDead)
	}
}

func TestStaleQueueIsBounded(t *testing.T) {
	r := newRig(t, nil) // not running: nobody takes from the queue
	for range maxStale + 3 {
		r.dropStale([]cluster.Route{{Key: "a"}, {Key: "b"}})
	}
	if n := r.m.staleDropped.Get(); n != 6 {
		t.Fatalf("%d counted as dropped, want 6", n)
	}
}

func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		at := r.gateway("alive")
		r.keepAlive(at)
		for i := range 5 * sweepBatch / 2 {
			r.route(at, fmt.Sprint("live", i), "")
			r.route(life{"gone", 7}, fmt.Sprint("dead", i), fmt.Sprint(i+1))
		}
		r.start()
		time.Sleep(sweepStand + 10*sweepEvery)
		synctest.Wait()
		if n := r.m.sweptRoutes.Get(); n != 0 {
			t.Fatalf("%d swept within the grace", n)
		}
		time.Sleep(sweepRest + 10*sweepEvery)
		synctest.Wait()
		if n := r.m.sweptRoutes.Get(); n != 5*sweepBatch/2 {
			t.Fatalf("%d swept, want %d", n, 5*sweepBatch/2)
		}
		for i := range 5 * sweepBatch / 2 {
			if r.has(fmt.Sprint("dead", i)) || !r.has(fmt.Sprint("live", i)) {
				t.Fatalf("route %d: the dead one stands or the living one is gone", i)
			}
		}
	})
}

// Only the node that holds the lock sweeps.
func TestSweepNeedsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.keepAlive(r.gateway("alive"))
		r.route(life{"gone", 7}, "k", "")
		ctx := context.Background()
		if ok, err := r.registry.TryLock(ctx, sweepLock, "another node", 10*time.Minute); !ok || err != nil {
			t.Fatal(ok, err)
		}
		r.start()
		time.Sleep(9 * time.Minute)
		if !r.has("k") {
			t.Fatal("swept without the lock")
		}
		time.Sleep(3 * time.Minute)
		if r.has("k") {
			t.Fatal("not swept after the lock came free")
		}
	})
}
