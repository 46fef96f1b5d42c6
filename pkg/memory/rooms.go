package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/halley-im/halley/pkg/cluster"
)

type roomCount struct {
	partition int32
	count     int32
}

// Put stores the counts of rooms of a partition; see job.Rooms.
func (r *Registry) Put(_ context.Context, partition int32, counts []cluster.RoomCount, all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if all {
		for room, c := range r.rooms {
			if c.partition == partition {
				delete(r.rooms, room)
			}
		}
	}
	for _, c := range counts {
		if c.Count > 0 {
			r.rooms[c.Room] = roomCount{partition, c.Count}
		} else {
			delete(r.rooms, c.Room)
		}
	}
	return nil
}

// Counts returns the counts of rooms; see logic.Rooms.
func (r *Registry) Counts(_ context.Context, rooms []string) ([]int32, error) {
	out := make([]int32, len(rooms))
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i, room := range rooms {
		out[i] = r.rooms[room].count
	}
	return out, nil
}

// Top returns the biggest rooms; see logic.Rooms. It looks at every room.
func (r *Registry) Top(_ context.Context, prefix string, limit int) ([]cluster.RoomCount, error) {
	r.mu.RLock()
	var out []cluster.RoomCount
	for room, c := range r.rooms {
		if strings.HasPrefix(room, prefix) {
			out = append(out, cluster.RoomCount{Room: room, Count: c.count})
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(out, func(a, b cluster.RoomCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Room, b.Room))
	})
	return out[:min(max(limit, 0), len(out))], nil
}
