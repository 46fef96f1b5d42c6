package logic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/testkit"
)

func batch(at life, tokens ...string) rpc.ConnectBatch {
	b := rpc.ConnectBatch{Version: cluster.Version, Node: at.node, Epoch: at.epoch}
	for _, token := range tokens {
		b.Clients = append(b.Clients, rpc.ConnectRequest{Token: []byte(token)})
	}
	return b
}

func TestConnect(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, nil)
	at := r.gateway("a")
	replies, err := r.Connect(ctx, batch(at,
		`{"mid":5,"key":"k","room_id":"live://1","platform":"web","accepts":[1000],"hints":true}`,
		`{"mid":"5"}`,
		`{"app":"shop","mid":5,"key":"k"}`,
		`{"mid":-5}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	for i, stored := range []bool{true, false, true, true} {
		if (replies[i].Stamp != 0) != stored {
			t.Fatalf("reply %d: %+v", i, replies[i])
		}
		replies[i].Stamp = 0
	}
	made := replies[3].Key
	want := []rpc.ConnectReply{
		{Mid: 5, Key: "k", Room: "live://1", Platform: "web", Accepts: []int32{1000}, Hints: true},
		{Error: "mid: got string, want an integer of 64 bits"},
		{App: "shop", Mid: 5, Key: "k"},
		{Mid: -5, Key: made},
	}
	if !reflect.DeepEqual(replies, want) {
		t.Fatalf("got  %+v\nwant %+v", replies, want)
	}
	routes, err := r.registry.Keys(ctx, []string{"k", cluster.Scope("shop", "k"), made})
	if err != nil {
		t.Fatal(err)
	}
	for i, mid := range []string{"5", cluster.Scope("shop", "5"), ""} {
		if routes[i].Mid != mid || lifeOf(&routes[i]) != at {
			t.Fatalf("route %d: %+v", i, routes[i])
		}
	}
	if r.m.connects.Get() != 3 || r.m.refused.Get() != 1 {
		t.Fatalf("counted %d connects, %d refused; want 3, 1", r.m.connects.Get(), r.m.refused.Get())
	}
	if err := r.Disconnect(ctx, routes); err != nil {
		t.Fatal(err)
	}
	if r.has("k") || r.has(made) {
		t.Fatal("routes stand after Disconnect")
	}
}

func TestConnectRefuses(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, nil)
	at := r.gateway("a")
	f := func(b rpc.ConnectBatch, want string) {
		t.Helper()
		if _, err := r.Connect(ctx, b); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	b := batch(at, `{}`)
	b.Version = cluster.Version + 2
	f(b, "does not work with version")
	f(batch(life{"", 1}, `{}`), "node and epoch are needed")
	f(batch(life{"a", 0}, `{}`), "node and epoch are needed")
	r.registry.setAway(true)
	f(batch(at, `{}`), "register 1 clients of a: away")
	replies, err := r.Connect(ctx, batch(at, `x`)) // nothing to register: not an error
	if err != nil || len(replies) != 1 || replies[0].Error == "" {
		t.Fatalf("got %+v, %v", replies, err)
	}
	if err := r.Disconnect(ctx, []cluster.Route{{Key: "k"}}); !errors.Is(err, errAway) {
		t.Fatalf("got %v, want the registry's error", err)
	}
}

// The same key on another gateway closes the older session there; the gateway
// itself sees to its own, and those of dead gateways are gone.
func TestConnectClosesReplaced(t *testing.T) {
	testkit.LeakCheck(t)
	ctx := context.Background()
	r := newRig(t, nil).start()
	a, b := r.gateway("a"), r.gateway("b")
	connect := func(at life, key string) cluster.Stamp {
		t.Helper()
		replies, err := r.Connect(ctx, batch(at, fmt.Sprintf(`{"key":%q}`, key)))
		if err != nil {
			t.Fatal(err)
		}
		return replies[0].Stamp
	}
	first := connect(a, "k")
	connect(b, "k")
	connect(b, "k") // b's own
	r.route(life{"gone", 7}, "other", "")
	connect(a, "other")
	second := connect(a, "last")
	connect(b, "last")
	want := []string{fmt.Sprintf("k@a/%d", first), fmt.Sprintf("last@a/%d", second)}
	testkit.Eventually(t, 5*time.Second, func() bool { return len(r.gateways.told()) >= 2 }, "two sessions are closed")
	if got := r.gateways.told(); !reflect.DeepEqual(got, want) && !reflect.DeepEqual(got, []string{want[1], want[0]}) {
		t.Fatalf("closed %q, want %q", got, want)
	}
}

// Gateways that do not answer hold up nobody who connects.
func TestReplacedIsBounded(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	r.gateways.block = make(chan struct{})
	r.start()
	at := r.gateway("a")
	for range maxReplaced + replaceWorkers + 10 {
		r.replace([]cluster.Route{{Key: "k", Node: at.node, Epoch: at.epoch, Stamp: 1}})
	}
	if n := r.m.replacedDropped.Get(); n < 10 {
		t.Fatalf("%d counted as dropped, want at least 10", n)
	}
	close(r.gateways.block)
	testkit.Eventually(t, 10*time.Second, func() bool { return len(r.replaced) == 0 }, "the rest is closed")
}

func TestRenew(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, nil)
	for _, id := range []string{"job-2", "job-1"} {
		if _, err := r.registry.Renew(ctx, cluster.Node{ID: id, Role: cluster.RoleJob}); err != nil {
			t.Fatal(err)
		}
	}
	n := cluster.Node{ID: "a", Role: cluster.RoleGateway, Version: cluster.Version}
	lease, err := r.Renew(ctx, n)
	if err != nil || lease.Epoch == 0 || lease.Fenced || lease.Version != cluster.Version || !reflect.DeepEqual(lease.Jobs, []string{"job-1", "job-2"}) {
		t.Fatalf("got %+v, %v", lease, err)
	}
	old := n
	old.Epoch = lease.Epoch
	if again, err := r.Renew(ctx, old); err != nil || again.Epoch != lease.Epoch {
		t.Fatalf("got %+v, %v", again, err)
	}
	newer, err := r.Renew(ctx, n)
	if err != nil || newer.Epoch <= lease.Epoch {
		t.Fatalf("a new life: %+v, %v", newer, err)
	}
	if fenced, err := r.Renew(ctx, old); err != nil || !fenced.Fenced {
		t.Fatalf("the old life: %+v, %v; want it fenced", fenced, err)
	}
	if err := r.Leave(ctx, "a", newer.Epoch); err != nil {
		t.Fatal(err)
	}
	if nodes, _ := r.registry.List(ctx, cluster.RoleGateway); len(nodes) != 0 {
		t.Fatalf("%v hold leases after Leave", nodes)
	}
	f := func(n cluster.Node, want string) {
		t.Helper()
		if _, err := r.Renew(ctx, n); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
	f(cluster.Node{ID: "a", Role: cluster.RoleJob, Version: cluster.Version}, `node "a" of role "job" is no gateway`)
	f(cluster.Node{Role: cluster.RoleGateway, Version: cluster.Version}, `is no gateway`)
	f(cluster.Node{ID: "a", Role: cluster.RoleGateway, Version: cluster.Version + 2}, "does not work with version")
	r.registry.setAway(true)
	f(n, "list jobs: away")
}

// A renewal names other gateways that take clients, from what the view has: the
// registry is asked no more often for it.
func TestRenewNamesOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		node := func(id string, conns int64) cluster.Node {
			return cluster.Node{
				ID: id, Role: cluster.RoleGateway, Version: cluster.Version, PublicHost: id + ".example",
				TCPPort: 1, WSPort: 2, WSSPort: 3, Weight: 1, Conns: conns, MaxConns: 100,
			}
		}
		names := func(n cluster.Node) (ids string) {
			t.Helper()
			lease, err := r.Renew(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range lease.Nodes {
				ids += x.ID
			}
			return ids
		}
		if got := names(node("a", 50)); got != "" {
			t.Fatalf("named %q before the leases were listed", got)
		}
		draining, full, counted, hidden := node("d", 0), node("f", 0), node("g", 100), node("h", 0)
		draining.Draining, full.Full, hidden.PublicHost = true, true, ""
		for _, n := range []cluster.Node{node("b", 40), node("c", 30), draining, full, counted, hidden} {
			names(n)
		}
		r.start()
		synctest.Wait()
		lists := r.registry.listed()
		for range 10 {
			if got := names(node("a", 50)); got != "cb" {
				t.Fatalf("a is named %q, want c, b", got)
			}
		}
		if n := r.registry.listed() - lists; n != 10 { // of the jobs
			t.Fatalf("10 renewals made %d listings", n)
		}
		for conns, id := range []string{"p", "q", "r", "s", "t", "u"} {
			names(node(id, int64(conns)))
		}
		time.Sleep(viewEvery)
		synctest.Wait()
		for id, want := range map[string]string{"a": "pqrst", "r": "pqstu", "f": "pqrst"} {
			if got := names(node(id, 99)); got != want {
				t.Errorf("%s is named %q, want %q", id, got, want)
			}
		}
		lease, err := r.Renew(t.Context(), node("a", 50))
		want := rpc.LeaseNode{ID: "q", Host: "q.example", TCPPort: 1, WSPort: 2, WSSPort: 3, Conns: 1, Max: 100}
		if err != nil || lease.Nodes[1] != want {
			t.Errorf("got %+v, %v; want %+v", lease.Nodes, err, want)
		}
		time.Sleep(2 * cluster.LeaseTTL)
		synctest.Wait()
		if got := names(node("a", 50)); got != "" {
			t.Errorf("named %q, whose leases have ended", got)
		}
	})
}
