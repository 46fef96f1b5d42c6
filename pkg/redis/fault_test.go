package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/halley-im/halley/pkg/cluster"
)

func mustConnect(t testing.TB, c *Client, routes ...cluster.Route) []cluster.Route {
	t.Helper()
	regs, err := c.Connect(t.Context(), routes)
	if err != nil {
		t.Fatal(err)
	}
	routes = slices.Clone(routes)
	for i := range routes {
		if routes[i].Stamp = regs[i].Stamp; routes[i].Stamp == 0 {
			t.Fatalf("route %+v was not stored", routes[i])
		}
	}
	return routes
}

func midOf(t testing.TB, c *Client, mid string) []cluster.Route {
	t.Helper()
	routes, err := c.Mids(t.Context(), []string{mid})
	if err != nil {
		t.Fatal(err)
	}
	return routes[0]
}

// TestScriptsForgotten: a Redis that was restarted does not know our scripts.
func TestScriptsForgotten(t *testing.T) {
	c := openClient(t)
	for i := range 3 {
		if err := c.rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		routes := make([]cluster.Route, 700) // two pipelines
		for j := range routes {
			routes[j] = cluster.Route{Key: fmt.Sprintf("k%d-%d", i, j), Mid: "1", Node: "gw", Epoch: 1}
		}
		routes = mustConnect(t, c, routes...)
		if n := len(midOf(t, c, "1")); n != 700 {
			t.Fatalf("%d routes, want 700", n)
		}
		if err := c.rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Disconnect(t.Context(), routes); err != nil {
			t.Fatal(err)
		}
		if n := c.countKeys(t); n != 0 {
			t.Fatalf("%d Redis keys are left", n)
		}
	}
}

// TestOlderWritesItsMidLast is the race that settle ends: of two registrations
// of a key, the older one is slower.
func TestOlderWritesItsMidLast(t *testing.T) {
	f := func(olderMid, newerMid string) {
		t.Helper()
		c := openClient(t)
		older := []cluster.Route{{Key: "k", Mid: olderMid, Node: "gw-1", Epoch: 1}}
		out := make([]cluster.Registered, 1)
		if err := c.putKeys(t.Context(), older, out); err != nil {
			t.Fatal(err)
		}
		newer := mustConnect(t, c, cluster.Route{Key: "k", Mid: newerMid, Node: "gw-2", Epoch: 1})
		if err := c.putMids(t.Context(), older, out); err != nil {
			t.Fatal(err)
		}
		if err := c.settle(t.Context(), older, out); err != nil {
			t.Fatal(err)
		}
		if got := midOf(t, c, newerMid); !slices.Equal(got, newer) {
			t.Fatalf("mid %s has %+v, want %+v", newerMid, got, newer)
		}
		if got := midOf(t, c, olderMid); olderMid != newerMid && len(got) != 0 {
			t.Fatalf("mid %s still has %+v", olderMid, got)
		}
	}
	f("x", "y")
	f("x", "x")
}

// TestHalfDone: what a call that failed half way has left is repaired by
// repeating it, by the next registration of the key, or found by Scan.
func TestHalfDone(t *testing.T) {
	c := openClient(t)
	half := func(r cluster.Route) cluster.Route {
		out := make([]cluster.Registered, 1)
		if err := c.putKeys(t.Context(), []cluster.Route{r}, out); err != nil {
			t.Fatal(err)
		}
		r.Stamp = out[0].Stamp
		return r
	}
	a := half(cluster.Route{Key: "a", Mid: "1", Node: "gw", Epoch: 1})
	if got := mustConnect(t, c, a); got[0] != a || !slices.Equal(midOf(t, c, "1"), got) {
		t.Fatalf("mid 1 has %+v, want %+v", midOf(t, c, "1"), got)
	}

	// b is gone from its key, but not from its mid.
	b := mustConnect(t, c, cluster.Route{Key: "b", Mid: "2", Node: "gw", Epoch: 1})[0]
	if err := c.rdb.Del(t.Context(), c.keyName("b")).Err(); err != nil {
		t.Fatal(err)
	}
	var seen []cluster.Route
	for cursor := uint64(0); ; {
		routes, next, err := c.Scan(t.Context(), cursor, 10)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, routes...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	if !slices.Contains(seen, b) || !slices.Contains(seen, a) {
		t.Fatalf("scan saw %+v, want %+v and %+v", seen, a, b)
	}
	if err := c.Disconnect(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	if n := c.countKeys(t); n != 0 {
		t.Fatalf("%d Redis keys are left", n)
	}
}

func TestMalformed(t *testing.T) {
	c := openClient(t)
	if err := c.rdb.Set(t.Context(), c.keyName("bad"), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.rdb.HSet(t.Context(), c.midName("7"), "bad", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keys(t.Context(), []string{"bad"}); !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), `"bad"`) {
		t.Fatalf("keys: %v", err)
	}
	if _, err := c.Mids(t.Context(), []string{"7"}); !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), `"7"`) {
		t.Fatalf("mids: %v", err)
	}
	if _, err := c.Connect(t.Context(), []cluster.Route{{Key: "bad"}}); err == nil {
		t.Fatal("connect over a malformed value went well")
	}
	if _, err := c.Connect(t.Context(), []cluster.Route{{Key: "k", Node: strings.Repeat("n", 256)}}); !errors.Is(err, errNodeID) {
		t.Fatalf("connect on a node with a long id: %v", err)
	}
}

// TestForgetting: leases that ended an hour ago and epochs of a month ago go when
// another life begins; newer ones stay.
func TestForgetting(t *testing.T) {
	c := openClient(t)
	now := time.Now()
	old := func(id string, ended, began time.Duration) {
		n := cluster.Node{ID: id, Role: cluster.RoleGateway, Epoch: cluster.Epoch(now.Add(-began).UnixMicro())}
		if _, err := c.Renew(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		z := goredis.Z{Member: id, Score: float64(now.Add(-ended).UnixMilli())}
		if err := c.rdb.ZAdd(t.Context(), c.leasesName(), z).Err(); err != nil {
			t.Fatal(err)
		}
	}
	old("minutes", leaseKept-time.Minute, leaseKept)
	old("hours", leaseKept+time.Minute, 2*leaseKept)
	old("months", leaseKept+time.Minute, epochKept+time.Minute)
	old("long-lived", -time.Minute, epochKept+time.Minute)
	f := func(name string, want ...string) {
		t.Helper()
		var got []string
		var err error
		if name == c.infosName() {
			got, err = c.rdb.HKeys(t.Context(), name).Result()
		} else {
			got, err = c.rdb.ZRange(t.Context(), name, 0, -1).Result()
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	f(c.infosName(), "minutes", "hours", "months", "long-lived")
	if _, err := c.Renew(t.Context(), cluster.Node{ID: "new", Role: cluster.RoleGateway}); err != nil {
		t.Fatal(err)
	}
	f(c.leasesName(), "minutes", "long-lived", "new")
	f(c.infosName(), "minutes", "long-lived", "new")
	f(c.epochsName(), "minutes", "hours", "new")

	// The long-lived one stores its epoch again.
	old("long-lived", -time.Minute, epochKept+time.Minute)
	f(c.epochsName(), "minutes", "hours", "new", "long-lived")
}
