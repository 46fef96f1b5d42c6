package backendtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/halley-im/halley/pkg/cluster"
)

func repeatedNames(r registry) {
	a := r.stored(cluster.Route{Key: "a", Mid: "1", Node: "gw-1", Epoch: 5})
	b := r.stored(cluster.Route{Key: "b", Mid: "1", Node: "gw-1", Epoch: 5})
	want(r.t, "keys", r.keys("a", "b", "a", "x", "a", "x"), []cluster.Route{a, b, a, none, a, none})
	want(r.t, "mids", r.mids("1", "2", "1"), [][]cluster.Route{{a, b}, nil, {a, b}})
	r.disconnect(a, a, b, a)
	want(r.t, "keys", r.keys("a", "b"), []cluster.Route{none, none})
}

func emptyInput(r registry) {
	r.connect()
	r.disconnect()
	want(r.t, "keys", r.keys(), nil)
	want(r.t, "mids", r.mids(), nil)
	want(r.t, "scan", r.scan(100), nil)
}

// manyRoutes are more than any backend sends at once.
func manyRoutes(r registry) {
	const n = 2000
	routes := make([]cluster.Route, n)
	keys := make([]string, n)
	mids := make([]string, n)
	for i := range routes {
		keys[i], mids[i] = fmt.Sprintf("key-%04d", i), fmt.Sprint(1000+i/2)
		routes[i] = cluster.Route{Key: keys[i], Mid: mids[i], Node: fmt.Sprintf("gw-%d", i%7), Epoch: cluster.Epoch(1 + i%7)}
	}
	for i, reg := range r.connect(routes...) {
		if reg.Stamp == 0 || reg.Displaced != none {
			r.t.Fatalf("route %d: %+v", i, reg)
		}
		routes[i].Stamp = reg.Stamp
	}
	want(r.t, "keys", r.keys(keys...), routes)
	for i, got := range r.mids(mids...) {
		want(r.t, "mid "+mids[i], got, routes[i&^1:i&^1+2])
	}
	want(r.t, "scan", r.scan(100), routes)
	r.disconnect(routes...)
	want(r.t, "scan", r.scan(1000), nil)
}

// oddNames mean something to Redis, to our own encoding, or to nobody.
func oddNames(r registry) {
	names := []string{
		" ", "a b", "a:b", ":k:", "{", "}", "{}", "{tag}", "x{tag}y", "a}{b", "*", "?", "[a-z]", `\`, "%", "\n",
		"\x1f", "app\x1fkey", "\x00", "a\x00b", "\xff\xfe", "ключ", "键", "🔑", "0", "-1", "9223372036854775807",
		strings.Repeat("long", 100),
	}
	routes := make([]cluster.Route, len(names))
	for i, name := range names {
		// Each is a key, the mid of another key, and a node.
		routes[i] = cluster.Route{Key: name, Mid: names[(i+1)%len(names)], Node: name, Epoch: 5}
		if len(name) > 255 {
			routes[i].Node = name[:255]
		}
	}
	for i, reg := range r.connect(routes...) {
		routes[i].Stamp = reg.Stamp
	}
	want(r.t, "keys", r.keys(names...), routes)
	for i, got := range r.mids(names...) {
		want(r.t, fmt.Sprintf("mid %q", names[i]), got, []cluster.Route{routes[(i+len(names)-1)%len(names)]})
	}
	sorted := slices.Clone(routes)
	sortRoutes(sorted)
	want(r.t, "scan", r.scan(5), sorted)
	r.disconnect(routes...)
	want(r.t, "scan", r.scan(5), nil)
}

func appsDoNotMix(r registry) {
	var routes []cluster.Route
	for _, app := range []string{"", "shop", "shop2"} {
		routes = append(routes, r.stored(cluster.Route{
			Key: cluster.Scope(app, "k"), Mid: cluster.Scope(app, "1"), Node: "gw-" + app, Epoch: 5}))
	}
	want(r.t, "keys", r.keys("k", cluster.Scope("shop", "k"), cluster.Scope("shop2", "k"), cluster.Scope("x", "k")),
		append(slices.Clone(routes), none))
	want(r.t, "mids", r.mids("1", cluster.Scope("shop", "1"), cluster.Scope("shop2", "1"), cluster.Scope("x", "1")),
		[][]cluster.Route{{routes[0]}, {routes[1]}, {routes[2]}, nil})
	r.disconnect(routes[1])
	want(r.t, "keys", r.keys("k", cluster.Scope("shop", "k"), cluster.Scope("shop2", "k")),
		[]cluster.Route{routes[0], none, routes[2]})
}

func scanSeesAll(r registry) {
	var routes []cluster.Route
	for i := range 1000 {
		routes = append(routes, cluster.Route{Key: fmt.Sprintf("key-%04d", i), Mid: fmt.Sprint(i % 100), Node: "gw-1", Epoch: 5})
	}
	for i, reg := range r.connect(routes...) {
		routes[i].Stamp = reg.Stamp
	}
	for _, n := range []int{0, 1, 7, 100, 10_000} {
		want(r.t, fmt.Sprintf("scan by %d", n), r.scan(n), routes)
	}
	routes, err := checkCursor(r)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(routes) > 500 {
		r.t.Fatalf("a scan of about 10 visited %d", len(routes))
	}
}

// checkCursor says whether a cursor that leads nowhere is harmless.
func checkCursor(r registry) ([]cluster.Route, error) {
	if routes, next, err := r.b.Scan(r.t.Context(), 1<<63, 10); err != nil || len(routes) != 0 || next != 0 {
		return nil, fmt.Errorf("scan from behind the end: %d routes, cursor %d, %w", len(routes), next, err)
	}
	routes, next, err := r.b.Scan(r.t.Context(), 0, 10)
	if err == nil && next == 0 {
		err = errors.New("a scan of about 10 of 1000 routes went all round")
	}
	return routes, err
}

// scanWhileChanging: what stands all the time is seen, whatever else happens.
func scanWhileChanging(r registry) {
	stand := make(map[string]cluster.Route)
	churn := func(i int) cluster.Route {
		return cluster.Route{Key: fmt.Sprintf("churn-%d", i), Mid: "1", Node: "gw-2", Epoch: 6}
	}
	var gone []cluster.Route
	for i := range 300 {
		a := r.stored(cluster.Route{Key: fmt.Sprintf("stands-%d", i), Mid: "1", Node: "gw-1", Epoch: 5})
		stand[a.Key] = a
		gone = append(gone, r.stored(churn(i)))
	}
	next := 300
	var cursor uint64
	for {
		routes, to, err := r.b.Scan(r.t.Context(), cursor, 20)
		if err != nil {
			r.t.Fatalf("scan: %v", err)
		}
		for _, a := range routes {
			if is, ok := stand[a.Key]; ok {
				want(r.t, "scanned", a, is)
				delete(stand, a.Key)
			}
		}
		if cursor = to; cursor == 0 {
			break
		}
		for range 10 {
			if len(gone) > 0 {
				r.disconnect(gone[0])
				gone = gone[1:]
			}
			r.stored(churn(next))
			next++
		}
		if next > 20_000 {
			r.t.Fatal("the scan does not come to an end")
		}
	}
	if len(stand) > 0 {
		r.t.Fatalf("%d routes that stood all the time were not seen", len(stand))
	}
}

// concurrentConnects: however registrations of one key meet, the newest stands,
// key and mid agree, and every other one was told to somebody as displaced.
func concurrentConnects(r registry) {
	const workers, each = 8, 25
	mids := []string{"1", "2", "3", ""}
	for round := range 5 {
		key := fmt.Sprintf("k%d", round)
		var mu sync.Mutex
		given := make(map[cluster.Stamp]cluster.Route)
		displaced := make(map[cluster.Stamp]cluster.Route)
		parallel(workers, func(w int) {
			for i := range each {
				a := cluster.Route{Key: key, Mid: mids[(w+i)%len(mids)], Node: fmt.Sprintf("gw-%d", w), Epoch: 5}
				regs, err := r.b.Connect(r.t.Context(), []cluster.Route{a})
				if err != nil {
					r.t.Errorf("connect: %v", err)
					return
				}
				a.Stamp = regs[0].Stamp
				mu.Lock()
				given[a.Stamp] = a
				if d := regs[0].Displaced; d != none {
					displaced[d.Stamp] = d
				}
				mu.Unlock()
			}
		})
		if len(given) != workers*each {
			r.t.Fatalf("%d different stamps, want %d", len(given), workers*each)
		}
		var newest cluster.Route
		for _, a := range given {
			if a.Stamp > newest.Stamp {
				newest = a
			}
		}
		want(r.t, "keys", r.keys(key), []cluster.Route{newest})
		for i, routes := range r.mids(mids...) {
			var is []cluster.Route
			if mids[i] != "" && mids[i] == newest.Mid {
				is = []cluster.Route{newest}
			}
			want(r.t, "mid "+mids[i], routes, is)
		}
		delete(given, newest.Stamp)
		want(r.t, "displaced", displaced, given)
		r.disconnect(newest)
	}
}

// concurrentSessions: sessions of few keys come and go at the same time; when
// all have gone, nothing is left.
func concurrentSessions(r registry) {
	parallel(8, func(w int) {
		for i := range 60 {
			a := cluster.Route{Key: fmt.Sprintf("k%d", (w*i)%3), Mid: fmt.Sprint((w + i) % 2), Node: fmt.Sprintf("gw-%d", w), Epoch: 5}
			regs, err := r.b.Connect(r.t.Context(), []cluster.Route{a})
			if err != nil {
				r.t.Errorf("connect: %v", err)
				return
			}
			a.Stamp = regs[0].Stamp
			if err := r.b.Disconnect(r.t.Context(), []cluster.Route{a}); err != nil {
				r.t.Errorf("disconnect: %v", err)
			}
		}
	})
	want(r.t, "keys", r.keys("k0", "k1", "k2"), []cluster.Route{none, none, none})
	want(r.t, "mids", r.mids("0", "1"), [][]cluster.Route{nil, nil})
	want(r.t, "scan", r.scan(100), nil)
}

// parallel runs f n times at once and waits.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
