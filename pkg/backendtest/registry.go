package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
)

// RegistryBackend is logic.Registry, whose comments are the contract tested.
type RegistryBackend interface {
	Connect(ctx context.Context, routes []cluster.Route) ([]cluster.Registered, error)
	Disconnect(ctx context.Context, routes []cluster.Route) error
	Keys(ctx context.Context, keys []string) ([]cluster.Route, error)
	Mids(ctx context.Context, mids []string) ([][]cluster.Route, error)
	Scan(ctx context.Context, cursor uint64, n int) ([]cluster.Route, uint64, error)
}

// Registry tests a registry of routes. open returns an empty one for each test
// and cleans up after it through t.
func Registry(t *testing.T, open func(t testing.TB) RegistryBackend) {
	for _, c := range []struct {
		name string
		run  func(r registry)
	}{
		{"register and look up", registerAndLookUp},
		{"same key twice", sameKeyTwice},
		{"same key twice in one call", sameKeyTwiceInOneCall},
		{"an old stamp does not replace", oldStamp},
		{"the same route again", sameRouteAgain},
		{"stamps grow over disconnects", stampsGrow},
		{"stamps follow one ahead of the clock", stampsAhead},
		{"disconnect of an old route", disconnectOld},
		{"disconnect compares", disconnectCompares},
		{"mid with several keys", midWithSeveralKeys},
		{"key changes its mid", keyChangesMid},
		{"repeated names in a look-up", repeatedNames},
		{"empty input", emptyInput},
		{"2000 routes in one call", manyRoutes},
		{"odd names", oddNames},
		{"apps do not mix", appsDoNotMix},
		{"scan", scanSeesAll},
		{"scan while routes come and go", scanWhileChanging},
		{"concurrent connects of one key", concurrentConnects},
		{"concurrent sessions leave nothing", concurrentSessions},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(registry{t, open(t)}) })
	}
}

// registry is a backend whose errors end the test.
type registry struct {
	t testing.TB
	b RegistryBackend
}

func (r registry) connect(routes ...cluster.Route) []cluster.Registered {
	r.t.Helper()
	regs, err := r.b.Connect(r.t.Context(), routes)
	if err != nil {
		r.t.Fatalf("connect: %v", err)
	}
	if len(regs) != len(routes) {
		r.t.Fatalf("connect of %d routes: %d answers", len(routes), len(regs))
	}
	return regs
}

// stored connects one route with stamp 0 and returns it as it must be stored.
func (r registry) stored(route cluster.Route) cluster.Route {
	r.t.Helper()
	route.Stamp = r.connect(route)[0].Stamp
	if route.Stamp == 0 {
		r.t.Fatalf("connect of %+v: not stored", route)
	}
	return route
}

func (r registry) disconnect(routes ...cluster.Route) {
	r.t.Helper()
	if err := r.b.Disconnect(r.t.Context(), routes); err != nil {
		r.t.Fatalf("disconnect: %v", err)
	}
}

func (r registry) keys(keys ...string) []cluster.Route {
	r.t.Helper()
	routes, err := r.b.Keys(r.t.Context(), keys)
	if err != nil {
		r.t.Fatalf("keys: %v", err)
	}
	return routes
}

// mids returns the routes of each mid, sorted by key.
func (r registry) mids(mids ...string) [][]cluster.Route {
	r.t.Helper()
	all, err := r.b.Mids(r.t.Context(), mids)
	if err != nil {
		r.t.Fatalf("mids: %v", err)
	}
	for _, routes := range all {
		sortRoutes(routes)
	}
	return all
}

// scan goes round once, n at a time, and returns all routes seen, sorted by key,
// once each.
func (r registry) scan(n int) []cluster.Route {
	r.t.Helper()
	var all []cluster.Route
	var cursor uint64
	for {
		routes, next, err := r.b.Scan(r.t.Context(), cursor, n)
		if err != nil {
			r.t.Fatalf("scan: %v", err)
		}
		all = append(all, routes...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	sortRoutes(all)
	return slices.Compact(all)
}

func sortRoutes(routes []cluster.Route) {
	slices.SortFunc(routes, func(a, b cluster.Route) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(a.Stamp, b.Stamp))
	})
}

// want compares; none and an empty slice are the same.
func want[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) || !reflect.DeepEqual(trim(got), trim(want)) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// trim makes empty slices nil.
func trim(v any) any {
	switch s := v.(type) {
	case []cluster.Route:
		if len(s) == 0 {
			return []cluster.Route(nil)
		}
	case [][]cluster.Route:
		out := make([]any, len(s))
		for i := range s {
			out[i] = trim(s[i])
		}
		return out
	case []cluster.RoomCount:
		if len(s) == 0 {
			return []cluster.RoomCount(nil)
		}
	}
	return v
}

// none is what is found for an unknown name.
var none cluster.Route

func registerAndLookUp(r registry) {
	a := cluster.Route{Key: "a", Mid: "1", Node: "gw-1", Epoch: 1700000000000001}
	b := cluster.Route{Key: "b", Node: "gw-2", Epoch: 7} // no mid
	regs := r.connect(a, b)
	for i, reg := range regs {
		if reg.Stamp == 0 {
			r.t.Fatalf("route %d was not stored", i)
		}
		want(r.t, "displaced", reg.Displaced, none)
	}
	a.Stamp, b.Stamp = regs[0].Stamp, regs[1].Stamp
	want(r.t, "keys", r.keys("b", "unknown", "a"), []cluster.Route{b, none, a})
	want(r.t, "mids", r.mids("2", "1", ""), [][]cluster.Route{nil, {a}, nil})
	want(r.t, "scan", r.scan(10), []cluster.Route{a, b})

	r.disconnect(a, b)
	want(r.t, "keys", r.keys("a", "b"), []cluster.Route{none, none})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{nil})
	want(r.t, "scan", r.scan(10), nil)
}

func sameKeyTwice(r registry) {
	first := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	second := cluster.Route{Key: "k", Mid: "1", Node: "gw-2", Epoch: 6}
	reg := r.connect(second)[0]
	if reg.Stamp <= first.Stamp {
		r.t.Fatalf("stamp %d does not follow %d", reg.Stamp, first.Stamp)
	}
	want(r.t, "displaced", reg.Displaced, first)
	second.Stamp = reg.Stamp
	want(r.t, "keys", r.keys("k"), []cluster.Route{second})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{second}})
	want(r.t, "scan", r.scan(1), []cluster.Route{second})

	// On the same node too: there it is another session of it.
	reg = r.connect(cluster.Route{Key: "k", Mid: "1", Node: "gw-2", Epoch: 6})[0]
	want(r.t, "displaced on the same node", reg.Displaced, second)
}

func sameKeyTwiceInOneCall(r registry) {
	a := cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5}
	b := cluster.Route{Key: "k", Mid: "2", Node: "gw-1", Epoch: 5}
	regs := r.connect(a, b)
	a.Stamp, b.Stamp = regs[0].Stamp, regs[1].Stamp
	if a.Stamp == 0 || b.Stamp <= a.Stamp {
		r.t.Fatalf("stamps %d, %d: want growing ones", a.Stamp, b.Stamp)
	}
	want(r.t, "displaced by the first", regs[0].Displaced, none)
	want(r.t, "displaced by the second", regs[1].Displaced, a)
	want(r.t, "keys", r.keys("k"), []cluster.Route{b})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{nil, {b}})
}

func oldStamp(r registry) {
	older := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	newer := r.stored(cluster.Route{Key: "k", Mid: "2", Node: "gw-2", Epoch: 6})
	want(r.t, "answer to an old stamp", r.connect(older)[0], cluster.Registered{})
	want(r.t, "keys", r.keys("k"), []cluster.Route{newer})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{nil, {newer}})

	// The same stamp on another node cannot be; what stands stays.
	twin := newer
	twin.Node = "gw-3"
	want(r.t, "answer to the same stamp elsewhere", r.connect(twin)[0], cluster.Registered{})
	want(r.t, "keys", r.keys("k"), []cluster.Route{newer})

	// After the registry was lost, sessions register again in any order.
	r.disconnect(newer)
	want(r.t, "answer", r.connect(older)[0], cluster.Registered{Stamp: older.Stamp})
	want(r.t, "answer", r.connect(newer)[0], cluster.Registered{Stamp: newer.Stamp, Displaced: older})
	want(r.t, "keys", r.keys("k"), []cluster.Route{newer})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{nil, {newer}})
}

func sameRouteAgain(r registry) {
	a := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	want(r.t, "answer", r.connect(a)[0], cluster.Registered{Stamp: a.Stamp})
	want(r.t, "keys", r.keys("k"), []cluster.Route{a})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{a}})

	a.Mid = "2"
	want(r.t, "answer", r.connect(a)[0], cluster.Registered{Stamp: a.Stamp})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{nil, {a}})
}

func stampsGrow(r registry) {
	var last cluster.Stamp
	for range 100 {
		a := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
		if a.Stamp <= last {
			r.t.Fatalf("stamp %d does not follow %d", a.Stamp, last)
		}
		last = a.Stamp
		r.disconnect(a)
	}
}

// stampsAhead: the registry's clock was set back, or another registry has taken
// over whose clock is behind.
func stampsAhead(r registry) {
	const ahead = 4_000_000_000_000_000 // in the year 2096
	a := cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5, Stamp: ahead}
	want(r.t, "answer", r.connect(a)[0], cluster.Registered{Stamp: ahead})
	b := cluster.Route{Key: "k", Mid: "1", Node: "gw-2", Epoch: 5}
	want(r.t, "answer", r.connect(b)[0], cluster.Registered{Stamp: ahead + 1, Displaced: a})
	b.Stamp = ahead + 1
	want(r.t, "keys", r.keys("k"), []cluster.Route{b})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{b}})
}

// goim deletes the mapping of the newer connection when the older one of the
// same key goes.
func disconnectOld(r registry) {
	older := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	newer := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	r.disconnect(older)
	want(r.t, "keys", r.keys("k"), []cluster.Route{newer})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{newer}})
}

func disconnectCompares(r registry) {
	a := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	for _, change := range []func(*cluster.Route){
		func(x *cluster.Route) { x.Key = "other" },
		func(x *cluster.Route) { x.Node = "gw-11" },
		func(x *cluster.Route) { x.Node = "gw-" },
		func(x *cluster.Route) { x.Node = "" },
		func(x *cluster.Route) { x.Epoch++ },
		func(x *cluster.Route) { x.Stamp-- },
		func(x *cluster.Route) { x.Stamp = 0 },
	} {
		wrong := a
		change(&wrong)
		r.disconnect(wrong)
		want(r.t, fmt.Sprintf("keys after disconnect of %+v", wrong), r.keys("k"), []cluster.Route{a})
		want(r.t, fmt.Sprintf("mids after disconnect of %+v", wrong), r.mids("1"), [][]cluster.Route{{a}})
	}
	// The mid does not identify a route: it is removed from the one it has.
	wrong := a
	wrong.Mid = "2"
	r.disconnect(wrong)
	want(r.t, "keys", r.keys("k"), []cluster.Route{none})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{nil, nil})
	r.disconnect(a) // once more
}

func midWithSeveralKeys(r registry) {
	a := r.stored(cluster.Route{Key: "a", Mid: "1", Node: "gw-1", Epoch: 5})
	b := r.stored(cluster.Route{Key: "b", Mid: "1", Node: "gw-2", Epoch: 6})
	c := r.stored(cluster.Route{Key: "c", Mid: "1", Node: "gw-1", Epoch: 5})
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{a, b, c}})
	r.disconnect(b)
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{a, c}})
	r.disconnect(c)
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{{a}})
	r.disconnect(a)
	want(r.t, "mids", r.mids("1"), [][]cluster.Route{nil})
}

func keyChangesMid(r registry) {
	a := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	other := r.stored(cluster.Route{Key: "other", Mid: "1", Node: "gw-1", Epoch: 5})
	b := cluster.Route{Key: "k", Mid: "2", Node: "gw-1", Epoch: 5}
	reg := r.connect(b)[0]
	b.Stamp = reg.Stamp
	want(r.t, "displaced", reg.Displaced, a)
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{{other}, {b}})
	c := r.stored(cluster.Route{Key: "k", Node: "gw-1", Epoch: 5})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{{other}, nil})
	want(r.t, "keys", r.keys("k"), []cluster.Route{c})
	d := r.stored(cluster.Route{Key: "k", Mid: "1", Node: "gw-1", Epoch: 5})
	want(r.t, "mids", r.mids("1", "2"), [][]cluster.Route{{d, other}, nil})
}
