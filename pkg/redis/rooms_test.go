package redis

import (
	"fmt"
	"slices"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/halley-im/halley/pkg/cluster"
)

// TestRoomsLeaveNothing: of replacing a list only the list is left, for good.
func TestRoomsLeaveNothing(t *testing.T) {
	c := openClient(t)
	r := NewRooms(c, 1)
	counts := []cluster.RoomCount{{Room: "live://1", Count: 1}, {Room: "live://2", Count: 2}}
	for range 3 {
		if err := r.Put(t.Context(), 0, counts, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.countKeys(t); n != 1 {
		t.Fatalf("%d Redis keys, want the list alone", n)
	}
	if ttl := c.rdb.TTL(t.Context(), r.listName(0)).Val(); ttl != -1 {
		t.Fatalf("the list ends in %v", ttl)
	}
	if err := r.Put(t.Context(), 0, nil, true); err != nil {
		t.Fatal(err)
	}
	if n := c.countKeys(t); n != 0 {
		t.Fatalf("%d Redis keys are left", n)
	}
}

// TestTopBound: behind 65,536 bigger rooms Top does not look further.
func TestTopBound(t *testing.T) {
	r := NewRooms(openClient(t), 1)
	counts := []cluster.RoomCount{{Room: "small://1", Count: 1}}
	for i := range topScanned - 1 {
		counts = append(counts, cluster.RoomCount{Room: fmt.Sprint("big://", i), Count: 2})
	}
	f := func(want int) {
		t.Helper()
		top, err := r.Top(t.Context(), "small://", 10)
		if err != nil || len(top) != want {
			t.Fatalf("%+v, %v, want %d", top, err, want)
		}
	}
	if err := r.Put(t.Context(), 0, counts, true); err != nil {
		t.Fatal(err)
	}
	f(1)
	if err := r.Put(t.Context(), 0, []cluster.RoomCount{{Room: "big://one more", Count: 2}}, false); err != nil {
		t.Fatal(err)
	}
	f(0)
}

// TestTopSearch: a room that falls to a later page while pages are read comes
// once, and one that was cut off may come back.
func TestTopSearch(t *testing.T) {
	z := func(room string, n int32) goredis.Z { return member(room, n) }
	s := topSearch{prefix: "a", limit: 2, seen: make(map[string]struct{})}
	f := func(page []goredis.Z, want ...cluster.RoomCount) {
		t.Helper()
		s.add(page)
		if s.cut(); !slices.Equal(s.best, want) {
			t.Fatalf("best %+v, want %+v", s.best, want)
		}
	}
	a1, a2, a3 := cluster.RoomCount{Room: "a1", Count: 9}, cluster.RoomCount{Room: "a2", Count: 8}, cluster.RoomCount{Room: "a3", Count: 10}
	f([]goredis.Z{z("a1", 9), z("b", 9)}, a1)
	f([]goredis.Z{z("a1", 7), z("b", 6)}, a1)
	f([]goredis.Z{z("a2", 8), z("a0", 1)}, a1, a2)
	f([]goredis.Z{z("a3", 10)}, a3, a1)
	f([]goredis.Z{z("a2", 10)}, cluster.RoomCount{Room: "a2", Count: 10}, a3)
	if !s.mayFollow(cluster.RoomCount{Room: "a2", Count: 10}) || s.mayFollow(a3) {
		t.Fatal("mayFollow does not stop at the last of the best")
	}
}
