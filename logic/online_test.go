package logic

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

func (r *rig) put(counts ...cluster.RoomCount) {
	r.t.Helper()
	if err := r.registry.Put(context.Background(), 0, counts, false); err != nil {
		r.t.Fatal(err)
	}
}

func TestTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		if r.Ready() == nil {
			t.Fatal("ready before the leases were listed")
		}
		r.start()
		synctest.Wait()
		if err := r.Ready(); err != nil {
			t.Fatal(err)
		}
		f := func(conns, ips int64) {
			t.Helper()
			time.Sleep(viewEvery)
			synctest.Wait()
			if c, i := r.Total(); c != conns || i != ips {
				t.Fatalf("got %d, %d; want %d, %d", c, i, conns, ips)
			}
		}
		f(0, 0)
		r.renew(cluster.Node{ID: "a", Conns: 5, IPs: 3})
		r.renew(cluster.Node{ID: "b", Conns: 7, IPs: 4, Draining: true})
		f(12, 7)
		r.registry.setAway(true) // the last view is kept
		f(12, 7)
		r.registry.setAway(false)
		time.Sleep(cluster.LeaseTTL)
		f(0, 0)
	})
}

func TestRoomCounts(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, nil)
	r.put(cluster.RoomCount{Room: "live://1", Count: 3}, cluster.RoomCount{Room: cluster.Scope("shop", "live://1"), Count: 9})
	got, err := r.RoomCounts(ctx, "", []string{"live://1", "live://2", "live://1"})
	if err != nil || !reflect.DeepEqual(got, []int32{3, 0, 3}) {
		t.Fatalf("got %v, %v", got, err)
	}
	got, err = r.RoomCounts(ctx, "shop", []string{"live://1"})
	if err != nil || !reflect.DeepEqual(got, []int32{9}) {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestTopRooms(t *testing.T) {
	r := newRig(t, nil)
	for i := range 10 {
		r.put(
			cluster.RoomCount{Room: cluster.Scope("live2", fmt.Sprint("live://", i)), Count: int32(100 + i)},
			cluster.RoomCount{Room: fmt.Sprint("live://", i), Count: int32(50 + i)},
		)
	}
	r.put(cluster.RoomCount{Room: "live://a:b", Count: 77}, cluster.RoomCount{Room: "chat://1", Count: 99})
	f := func(app, prefix string, limit int, want ...cluster.RoomCount) {
		t.Helper()
		got, err := r.TopRooms(context.Background(), app, prefix, limit)
		if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %v, %v\nwant %v", got, err, want)
		}
	}
	// Rooms of app live2 begin with "live" too and are bigger; live://a:b is no URL.
	f("", "live", 2, cluster.RoomCount{Room: "live://9", Count: 59}, cluster.RoomCount{Room: "live://8", Count: 58})
	f("", "li", 1, cluster.RoomCount{Room: "live://9", Count: 59})
	f("", "", 1, cluster.RoomCount{Room: "chat://1", Count: 99})
	f("live2", "live", 1, cluster.RoomCount{Room: "live://9", Count: 109})
	f("", "none", 5)
	f("", "live", 0)
	f("", "live", -1)
	got, err := r.TopRooms(context.Background(), "", "live", 1<<40)
	if err != nil || len(got) != 10 {
		t.Fatalf("%d rooms, %v; want 10", len(got), err)
	}
}

func TestRoomID(t *testing.T) {
	f := func(name, want string, ok bool) {
		t.Helper()
		if id, is := RoomID(name); id != want || is != ok {
			t.Fatalf("%q: got %q, %v; want %q, %v", name, id, is, want, ok)
		}
	}
	f("live://1000", "1000", true)
	f("live://a/b", "a", true)
	f("live://a:80", "a:80", true)
	f("live://a:b", "", false)
	f("9ive://1", "", false)
	f("://1", "", false)
	f("live", "", true)
	f("live://", "", true)
	f("live://a?b#c", "a", true)
	f("live://a b", "", false)
}

func TestWeighted(t *testing.T) {
	f := func(want string, nodes ...cluster.Node) {
		t.Helper()
		got := ""
		for _, n := range newBalancer().choose(nodes) {
			got += n.ID
		}
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	node := func(id string, weight int, conns int64) cluster.Node {
		return cluster.Node{ID: id, PublicHost: id + ".example", Weight: weight, Conns: conns, TCPPort: 3101}
	}
	f("")
	f("ba", node("a", 1, 10), node("b", 1, 5))
	f("ab", node("a", 10, 50), node("b", 1, 10))
	f("ba", node("a", 1, 0), node("b", 10, 0)) // nobody anywhere: the stronger one
	f("ab", node("a", 0, 1), node("b", -5, 2))
	f("abcde", node("a", 1, 1), node("b", 1, 2), node("c", 1, 3), node("d", 1, 4), node("e", 1, 5), node("f", 1, 6))
	draining, hidden, other := node("b", 1, 0), node("c", 1, 0), node("d", 1, 9)
	draining.Draining, hidden.PublicHost, other.TCPPort = true, "", 4101
	f("a", node("a", 1, 5), draining, hidden, other)
	// Those that take nobody come in only where there are no others, and the
	// draining ones last.
	full, counted := node("e", 1, 0), node("g", 1, 7)
	full.Full, counted.MaxConns = true, 7
	f("a", node("a", 1, 99), draining, full, counted)
	f("eg", draining, counted, full)
	f("b", draining)
	f("b", draining, hidden)
	counted.MaxConns = 8 // room for one
	f("g", full, counted)
	gone := full
	gone.Draining = true
	f("be", draining, gone, hidden)
	f("d", node("a", 1, 10), other) // one set of ports: the best one's
}

// Between renewals newcomers are spread by weight, and a renewal counts afresh.
func TestWeightedSpreads(t *testing.T) {
	b := newBalancer()
	nodes := []cluster.Node{
		{ID: "a", PublicHost: "a", Weight: 1, Conns: 100, Renewed: 1},
		{ID: "b", PublicHost: "b", Weight: 3, Conns: 300, Renewed: 1},
	}
	count := func() map[string]int {
		n := map[string]int{}
		for range 400 {
			n[b.choose(nodes)[0].ID]++
		}
		return n
	}
	if got := count(); got["a"] != 100 || got["b"] != 300 {
		t.Fatalf("got %v, want 100 and 300", got)
	}
	// Nobody is sent where there is no room for one more until the next renewal.
	nodes[1].Renewed, nodes[1].MaxConns = 3, 310
	if got := count(); got["b"] != 10 {
		t.Fatalf("got %v, b had room for 10", got)
	}
	nodes[0].Renewed, nodes[0].Conns = 2, 0 // a was restarted
	if got := count(); got["a"] < 190 {
		t.Fatalf("got %v: the empty one is not preferred", got)
	}
	for i := range 100 {
		b.choose([]cluster.Node{{ID: fmt.Sprint(i), PublicHost: "x"}})
	}
	if n := len(b.sent); n > 20 {
		t.Fatalf("%d gateways remembered", n)
	}
}
