package logic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
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
		`{"mid":5,"key":"k","room_id":"live://1","platform":"web","accepts":[1000]}`,
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
		{Mid: 5, Key: "k", Room: "live://1", Platform: "web", Accepts: []int32{1000}},
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
