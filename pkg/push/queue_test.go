package push

import (
	"fmt"
	"testing"
)

// The partition of a name is part of the contract between logic and job, and
// between versions: these numbers never change.
func TestPartitionGolden(t *testing.T) {
	counts := []int32{-1, 0, 1, 2, 3, 8, 64, 1000}
	f := func(name string, want ...int32) {
		t.Helper()
		for i, n := range counts {
			if got := RoomPartition(name, n); got != want[i] {
				t.Fatalf("RoomPartition(%q, %d) = %d, want %d", name, n, got, want[i])
			}
			if got := NodePartition(name, n); got != want[i] {
				t.Fatalf("NodePartition(%q, %d) = %d, want %d", name, n, got, want[i])
			}
		}
	}
	f("", 0, 0, 0, 1, 2, 3, 17, 566)
	f("live://1000", 0, 0, 0, 1, 1, 6, 48, 723)
	f("shop\x1flive://1000", 0, 0, 0, 1, 2, 4, 60, 654)
	f("mid://123", 0, 0, 0, 1, 2, 3, 10, 406)
	f("gw-1", 0, 0, 0, 1, 2, 5, 19, 505)
	f("gw-2", 0, 0, 0, 1, 1, 4, 4, 265)
	f("comet-1", 0, 0, 0, 1, 2, 6, 20, 146)
	f("ü", 0, 0, 0, 1, 1, 1, 50, 23)

	if BroadcastPartition() != 0 {
		t.Fatalf("BroadcastPartition() = %d, want 0", BroadcastPartition())
	}
}

// Rooms keep off the broadcasts' partition and use all the others about equally.
func TestPartitionSpread(t *testing.T) {
	const partitions, rooms = 64, 63 * 1000
	var count [partitions]int
	for i := range rooms {
		count[RoomPartition(fmt.Sprintf("live://%d", i), partitions)]++
	}
	if count[BroadcastPartition()] != 0 {
		t.Fatalf("%d rooms share the partition of broadcasts", count[BroadcastPartition()])
	}
	for p, n := range count[1:] {
		if n < 700 || n > 1300 {
			t.Fatalf("partition %d has %d rooms, want about 1000", p+1, n)
		}
	}
}

func TestPartitionAllocs(t *testing.T) {
	var sink int32
	if n := testing.AllocsPerRun(1000, func() { sink += RoomPartition("live://1000", 64) }); n != 0 {
		t.Fatalf("RoomPartition: %v allocs, want 0", n)
	}
}
