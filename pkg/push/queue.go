package push

import (
	"context"
	"fmt"
)

// Record is a Message with its place in a partition of the queue.
type Record struct {
	Message
	Offset int64
}

// Assignment is the part of a queue that one member of a consumer group may
// read during one generation. Partitions are read independently of each other,
// each by one goroutine.
type Assignment interface {
	// Generation is higher than that of every earlier assignment of any of
	// these partitions in this group.
	Generation() int32
	// Partitions are the ones assigned; they do not change.
	Partitions() []int32
	// Read blocks until the partition has records behind those read before, or
	// behind the committed offset at first, and returns some of them in order
	// of their offsets: all that is there without waiting further, up to the
	// backend's own bound. The error is ctx's when ctx ends.
	Read(ctx context.Context, partition int32) ([]Record, error)
	// Commit stores for each partition the offset from which the next
	// assignment shall read. Offsets never go back within an assignment.
	Commit(ctx context.Context, next map[int32]int64) error
}

// TooLargeError says that the queue will never take a message, however often the
// call is repeated. Those before Index are on the queue then, those behind it are
// not: the caller drops it, counts it, and goes on behind it.
type TooLargeError struct {
	Index int // in the messages of the call
	Size  int // of that message, in bytes
	Max   int // what the queue takes, in bytes; 0 when only the backend knows
}

func (e *TooLargeError) Error() string {
	if e.Max == 0 {
		return fmt.Sprintf("message %d of %d bytes is larger than the queue takes", e.Index, e.Size)
	}
	return fmt.Sprintf("message %d of %d bytes is larger than the queue takes (%d bytes)", e.Index, e.Size, e.Max)
}

// Fixed partitions. With one partition all is 0.
const broadcastPartition = 0

// RoomPartition is the partition of the messages to a scoped room.
func RoomPartition(room string, partitions int32) int32 { return hashed(room, partitions) }

// NodePartition is the partition of the messages to keys held by a gateway: one
// part per gateway, so that a slow gateway is confined to one.
func NodePartition(node string, partitions int32) int32 { return hashed(node, partitions) }

// BroadcastPartition is the partition of the messages to everybody. It is kept
// apart from rooms and keys where there is more than one.
func BroadcastPartition() int32 { return broadcastPartition }

// hashed spreads names over all partitions but the broadcast's, by FNV-1a. The
// function is part of the contract between logic and job: it never changes.
func hashed(name string, partitions int32) int32 {
	if partitions < 2 {
		return 0
	}
	h := uint32(2166136261)
	for i := 0; i < len(name); i++ {
		h ^= uint32(name[i])
		h *= 16777619
	}
	return 1 + int32(h%uint32(partitions-1))
}
