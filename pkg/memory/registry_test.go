package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/backendtest"
	"github.com/halley-im/halley/pkg/cluster"
)

func open(testing.TB) *Registry { return NewRegistry() }

func TestRegistry(t *testing.T) {
	backendtest.Registry(t, func(t testing.TB) backendtest.RegistryBackend { return checked(t) })
}

func TestRegistryModel(t *testing.T) {
	backendtest.RegistryModel(t, 1, 40_000, func(t testing.TB) backendtest.RegistryBackend { return checked(t) })
}

// With the clock standing still every stamp and epoch comes from the one before.
func TestRegistryModelFrozenClock(t *testing.T) {
	backendtest.RegistryModel(t, 2, 20_000, func(t testing.TB) backendtest.RegistryBackend {
		r := checked(t)
		r.now = func() time.Time { return time.Unix(1_700_000_000, 0) }
		return r
	})
}

func TestNodes(t *testing.T) {
	// In a bubble the leases end at once.
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		id := func() int { return len(must(r.List(t.Context(), cluster.RoleGateway))) }
		n := cluster.Node{ID: "a", Role: cluster.RoleGateway}
		n.Epoch = must(r.Renew(t.Context(), n))
		time.Sleep(cluster.LeaseTTL - 1)
		if id() != 1 {
			t.Fatal("the lease ended early")
		}
		time.Sleep(time.Nanosecond)
		if id() != 0 {
			t.Fatal("the lease did not end")
		}
		must(r.Renew(t.Context(), n))
		if id() != 1 {
			t.Fatal("the renewed lease does not stand")
		}
		time.Sleep(cluster.LeaseTTL + forgetAfter)
		must(r.Renew(t.Context(), cluster.Node{ID: "b"}))
		if len(r.leases) != 2 {
			t.Fatal("an ended lease was forgotten early")
		}
		time.Sleep(time.Nanosecond)
		must(r.Renew(t.Context(), cluster.Node{ID: "b"}))
		if len(r.leases) != 1 || r.epochs["a"] != n.Epoch {
			t.Fatalf("leases %v, epochs %v: want a's lease forgotten and its epoch kept", r.leases, r.epochs)
		}
	})
	backendtest.Nodes(t, func(t testing.TB) backendtest.NodesBackend { return open(t) })
}

func TestRooms(t *testing.T) {
	backendtest.Rooms(t, func(t testing.TB) backendtest.RoomsBackend { return open(t) })
}

func TestLocks(t *testing.T) {
	backendtest.Locks(t, func(t testing.TB) backendtest.LocksBackend { return open(t) })
}

func BenchmarkRegistry(b *testing.B) {
	backendtest.BenchRegistry(b, func(t testing.TB) backendtest.RegistryBackend { return open(t) })
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// checked returns a registry whose maps are compared with each other when the
// test is over.
func checked(t testing.TB) *Registry {
	r := NewRegistry()
	t.Cleanup(func() {
		inMids, inSlots := 0, 0
		for mid, e := range r.mids {
			for prev := (*route)(nil); e != nil; prev, e = e, e.next {
				if e.Mid != mid || e.prev != prev || r.keys[e.Key] != e {
					t.Fatalf("mid %s: route %+v is out of place", mid, e.Route)
				}
				inMids++
			}
		}
		for i, e := range r.slots {
			if e == nil {
				continue
			}
			if e.slot != i || r.keys[e.Key] != e {
				t.Fatalf("slot %d: route %+v is out of place", i, e.Route)
			}
			inSlots++
			if e.Mid == "" {
				inMids++
			}
		}
		if n := len(r.keys); inMids != n || inSlots != n || len(r.slots) != n+len(r.free) {
			t.Fatalf("%d keys, %d under mids, %d of %d slots used, %d free", n, inMids, inSlots, len(r.slots), len(r.free))
		}
	})
	return r
}
