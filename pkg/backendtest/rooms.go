package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// RoomsBackend is job.Rooms and logic.Rooms, whose comments are the contract
// tested.
type RoomsBackend interface {
	Put(ctx context.Context, partition int32, counts []cluster.RoomCount, all bool) error
	Counts(ctx context.Context, rooms []string) ([]int32, error)
	Top(ctx context.Context, prefix string, limit int) ([]cluster.RoomCount, error)
}

// RoomPartitions is the number of partitions that Rooms tests with.
const RoomPartitions = 5

// Rooms tests room counts. open returns an empty backend for RoomPartitions
// partitions for each test and cleans up after it through t.
func Rooms(t *testing.T, open func(t testing.TB) RoomsBackend) {
	for _, c := range []struct {
		name string
		run  func(r rooms)
	}{
		{"counts", roomCounts},
		{"all replaces one partition", roomsAll},
		{"all is never half done", roomsAllAtomic},
		{"top", roomsTop},
		{"top of many", roomsTopMany},
		{"top of unequal partitions", roomsTopUnequal},
		{"top while counts change", roomsTopChanging},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(rooms{t, open(t)}) })
	}
}

type rooms struct {
	t testing.TB
	b RoomsBackend
}

func (r rooms) put(partition int32, all bool, counts ...cluster.RoomCount) {
	r.t.Helper()
	if err := r.b.Put(r.t.Context(), partition, counts, all); err != nil {
		r.t.Fatalf("put: %v", err)
	}
}

// spread puts each room into its partition.
func (r rooms) spread(counts ...cluster.RoomCount) {
	r.t.Helper()
	by := make(map[int32][]cluster.RoomCount)
	for _, c := range counts {
		p := push.RoomPartition(c.Room, RoomPartitions)
		by[p] = append(by[p], c)
	}
	for p, some := range by {
		r.put(p, false, some...)
	}
}

func (r rooms) counts(names ...string) []int32 {
	r.t.Helper()
	counts, err := r.b.Counts(r.t.Context(), names)
	if err != nil {
		r.t.Fatalf("counts: %v", err)
	}
	if len(counts) != len(names) {
		r.t.Fatalf("counts of %d rooms: %d answers", len(names), len(counts))
	}
	return counts
}

func (r rooms) top(prefix string, limit int) []cluster.RoomCount {
	r.t.Helper()
	top, err := r.b.Top(r.t.Context(), prefix, limit)
	if err != nil {
		r.t.Fatalf("top: %v", err)
	}
	return top
}

// roomIn makes up the i-th room of a partition.
func roomIn(partition int32, i int) string { return kindIn("live", partition, i) }

// kindIn is roomIn for another type.
func kindIn(kind string, partition int32, i int) string {
	for j := 0; ; j++ {
		room := fmt.Sprintf("%s://%d-%d", kind, i, j)
		if push.RoomPartition(room, RoomPartitions) == partition {
			return room
		}
	}
}

func roomCounts(r rooms) {
	want(r.t, "no rooms", r.counts(), []int32{})
	want(r.t, "unknown", r.counts("live://1"), []int32{0})
	odd := []string{"live://1", "live://a b", "live://{x}", "app\x1flive://1", "комната://1", "a\x00b", "live://1\xff"}
	var all []cluster.RoomCount
	var is []int32
	for i, room := range odd {
		all = append(all, cluster.RoomCount{Room: room, Count: int32(i + 1)})
		is = append(is, int32(i+1))
	}
	r.spread(all...)
	want(r.t, "counts", r.counts(odd...), is)
	want(r.t, "repeated", r.counts("live://1", "x", "live://1"), []int32{1, 0, 1})

	r.spread(cluster.RoomCount{Room: odd[0], Count: 1<<31 - 1}, cluster.RoomCount{Room: odd[1], Count: 0}, cluster.RoomCount{Room: odd[2], Count: -1})
	want(r.t, "changed", r.counts(odd[:4]...), []int32{1<<31 - 1, 0, 0, 4})
	want(r.t, "top", r.top("live://", 9), []cluster.RoomCount{{Room: odd[0], Count: 1<<31 - 1}, {Room: odd[6], Count: 7}})

	// The last word in one call counts.
	r.spread(cluster.RoomCount{Room: odd[0], Count: 5}, cluster.RoomCount{Room: odd[0], Count: 0}, cluster.RoomCount{Room: odd[0], Count: 6},
		cluster.RoomCount{Room: odd[3], Count: 5}, cluster.RoomCount{Room: odd[3], Count: 0})
	want(r.t, "said twice", r.counts(odd[0], odd[3]), []int32{6, 0})
}

func roomsAll(r rooms) {
	a, b, c, other := roomIn(1, 1), roomIn(1, 2), roomIn(1, 3), roomIn(2, 4)
	r.put(1, false, cluster.RoomCount{Room: a, Count: 1}, cluster.RoomCount{Room: b, Count: 2})
	r.put(2, false, cluster.RoomCount{Room: other, Count: 9})
	r.put(1, true, cluster.RoomCount{Room: b, Count: 3}, cluster.RoomCount{Room: c, Count: 4}, cluster.RoomCount{Room: a, Count: 0})
	want(r.t, "counts", r.counts(a, b, c, other), []int32{0, 3, 4, 9})
	want(r.t, "top", r.top("", 9), []cluster.RoomCount{{Room: other, Count: 9}, {Room: c, Count: 4}, {Room: b, Count: 3}})
	r.put(1, true)
	want(r.t, "counts", r.counts(a, b, c, other), []int32{0, 0, 0, 9})
	r.put(1, true) // of nothing
	r.put(3, true, cluster.RoomCount{Room: roomIn(3, 5), Count: 1})
	want(r.t, "counts", r.counts(roomIn(3, 5)), []int32{1})

	var many []cluster.RoomCount // more than any backend sends at once
	for i := range 1500 {
		many = append(many, cluster.RoomCount{Room: roomIn(1, i), Count: int32(1 + i)})
	}
	r.put(1, true, many...)
	for i, n := range r.counts(names(many)...) {
		want(r.t, many[i].Room, n, many[i].Count)
	}
	r.put(1, true, many[:1000]...)
	want(r.t, "counts", r.counts(many[999].Room, many[1000].Room), []int32{1000, 0})
}

func names(counts []cluster.RoomCount) []string {
	out := make([]string, len(counts))
	for i, c := range counts {
		out[i] = c.Room
	}
	return out
}

// roomsAllAtomic: who reads while a partition is replaced sees the list before
// or the list after.
func roomsAllAtomic(r rooms) {
	const n = 40
	var lists [2][]cluster.RoomCount
	for i := range n {
		for k := range lists {
			lists[k] = append(lists[k], cluster.RoomCount{Room: roomIn(1, i), Count: int32(k + 1)})
		}
	}
	r.put(1, true, lists[0]...)
	rooms := names(lists[0])
	var done atomic.Bool
	parallel(2, func(i int) {
		if i == 0 {
			defer done.Store(true)
			for k := range 200 {
				if err := r.b.Put(r.t.Context(), 1, lists[k%2], true); err != nil {
					r.t.Errorf("put: %v", err)
				}
			}
			return
		}
		for !done.Load() {
			counts, err := r.b.Counts(r.t.Context(), rooms)
			if err != nil || counts[0] == 0 || slices.Min(counts) != slices.Max(counts) {
				r.t.Errorf("counts %v, %v: want all 1 or all 2", counts, err)
				return
			}
		}
	})
}

func roomsTop(r rooms) {
	want(r.t, "of nothing", r.top("", 10), nil)
	shop := cluster.Scope("shop", "live://1")
	all := []cluster.RoomCount{
		{Room: "live://c", Count: 30}, {Room: "live://b", Count: 20}, {Room: "live://d", Count: 20}, {Room: "live://a", Count: 10},
		{Room: "liver://x", Count: 25}, {Room: "chat://a", Count: 40}, {Room: shop, Count: 50},
	}
	r.spread(all...)
	f := func(prefix string, limit int, is ...cluster.RoomCount) {
		r.t.Helper()
		want(r.t, fmt.Sprintf("top %d of %q", limit, prefix), r.top(prefix, limit), is)
	}
	f("live://", 10, all[0], all[1], all[2], all[3])
	f("live://", 2, all[0], all[1])
	f("live://", 1, all[0])
	f("live://", 0)
	f("live://", -1)
	f("live", 3, all[0], all[4], all[1])
	f("shop\x1f", 3, all[6])
	f("shop\x1fchat", 3)
	f("", 3, all[6], all[5], all[0])
	f("none", 3)
}

// roomsTopMany compares with sorting everything.
func roomsTopMany(r rooms) {
	rng := rand.New(rand.NewPCG(1, 0))
	var all []cluster.RoomCount
	for i := range 6000 {
		kind := "live://"
		if i%20 == 0 {
			kind = "rare://"
		}
		all = append(all, cluster.RoomCount{Room: fmt.Sprint(kind, i), Count: int32(1 + rng.IntN(100))})
	}
	r.spread(all...)
	slices.SortFunc(all, func(a, b cluster.RoomCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Room, b.Room))
	})
	for _, prefix := range []string{"live://", "rare://", "rare://1", "", "live://12"} {
		var is []cluster.RoomCount
		for _, c := range all {
			if strings.HasPrefix(c.Room, prefix) {
				is = append(is, c)
			}
		}
		for _, limit := range []int{1, 10, 100, 1500, 10_000} {
			want(r.t, fmt.Sprintf("top %d of %q", limit, prefix), r.top(prefix, limit), is[:min(limit, len(is))])
		}
	}
}

// roomsTopUnequal: one partition has enough rooms of the prefix at once, but
// those of the other, far behind bigger rooms, have more members.
func roomsTopUnequal(r rooms) {
	var few, many, best []cluster.RoomCount
	for i := range 10 {
		few = append(few, cluster.RoomCount{Room: kindIn("rare", 1, i), Count: 5})
		best = append(best, cluster.RoomCount{Room: kindIn("rare", 2, i), Count: int32(100 - i)})
	}
	for i := range 3000 {
		many = append(many, cluster.RoomCount{Room: roomIn(2, i), Count: 1000})
	}
	r.put(1, false, few...)
	r.put(2, false, append(many, best...)...)
	want(r.t, "top", r.top("rare://", 10), best)
}

// roomsTopChanging: no room comes twice, whatever happens meanwhile.
func roomsTopChanging(r rooms) {
	var all []cluster.RoomCount
	for i := range 400 {
		all = append(all, cluster.RoomCount{Room: roomIn(1, i), Count: int32(1 + i)})
	}
	r.put(1, true, all...)
	var done atomic.Bool
	parallel(2, func(i int) {
		if i == 0 {
			defer done.Store(true)
			for k := range 200 {
				c := cluster.RoomCount{Room: all[k].Room, Count: int32(1 + (k*7919)%400)}
				if err := r.b.Put(r.t.Context(), 1, []cluster.RoomCount{c}, false); err != nil {
					r.t.Errorf("put: %v", err)
				}
			}
			return
		}
		for !done.Load() {
			top, err := r.b.Top(r.t.Context(), "live://", 390)
			if err != nil || len(top) < 300 {
				r.t.Errorf("%d rooms, %v", len(top), err)
				return
			}
			seen := make(map[string]bool)
			for _, c := range top {
				if seen[c.Room] {
					r.t.Errorf("%s comes twice", c.Room)
				}
				seen[c.Room] = true
			}
		}
	})
}
