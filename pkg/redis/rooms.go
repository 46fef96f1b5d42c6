package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// topScanned is how many rooms one Top looks at in all; about 3 MB of
	// answers from Redis.
	topScanned = 1 << 16
	// topPage is how many rooms of a partition are read at once, at most.
	topPage = 1024
	// preparedKept removes a list that was prepared and never put in place,
	// because its job died in between.
	preparedKept = time.Minute
)

// Rooms holds the room counts of a cluster: a sorted set for each partition of
// the queue, so that a job that takes a partition over can replace what the one
// before has left. All methods may be called concurrently.
type Rooms struct {
	// Static after construction.
	client     *Client
	partitions int32
}

// NewRooms returns the room counts for a queue of that many partitions, at
// least 1: the number that PinPartitions returned.
func NewRooms(c *Client, partitions int32) *Rooms {
	return &Rooms{client: c, partitions: partitions}
}

// listName is the sorted set of a partition. The braces are a hash tag: lists in
// preparation are in the same slot.
func (r *Rooms) listName(partition int32) string {
	return r.client.name("rooms", "{"+strconv.Itoa(int(partition))+"}")
}

// Put stores counts; see job.Rooms. The rooms are those of the partition by
// push.RoomPartition: others would not be found. With all set, readers see the
// list as it was or as it is given, nothing between.
func (r *Rooms) Put(ctx context.Context, partition int32, counts []cluster.RoomCount, all bool) error {
	put := r.change
	if all {
		put = r.replace
	}
	if err := put(ctx, r.listName(partition), counts); err != nil {
		return fmt.Errorf("put %d room counts of partition %d: %w", len(counts), partition, err)
	}
	return nil
}

// change sets and removes single rooms.
func (r *Rooms) change(ctx context.Context, list string, counts []cluster.RoomCount) error {
	for batch := range slices.Chunk(counts, maxBatch) {
		// The last word on a room counts.
		set, gone := make(map[string]int32, len(batch)), []any(nil)
		for _, c := range batch {
			set[c.Room] = c.Count
		}
		var members []goredis.Z
		for room, n := range set {
			if n > 0 {
				members = append(members, member(room, n))
			} else {
				gone = append(gone, room)
			}
		}
		_, err := r.client.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
			if len(members) > 0 {
				p.ZAdd(ctx, list, members...)
			}
			if len(gone) > 0 {
				p.ZRem(ctx, list, gone...)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replace prepares a new list and puts it in place in one step.
func (r *Rooms) replace(ctx context.Context, list string, counts []cluster.RoomCount) error {
	token := rand.Text()
	prepared, old := list+":new:"+token, list+":old:"+token
	rdb := r.client.rdb
	for batch := range slices.Chunk(counts, maxBatch) {
		if err := r.change(ctx, prepared, batch); err != nil {
			return err
		}
		if err := rdb.PExpire(ctx, prepared, preparedKept).Err(); err != nil {
			return err
		}
	}
	return replaceRooms.Run(ctx, rdb, []string{list, prepared, old}).Err()
}

// member is an entry of a list. Scores are negative so that Redis' own order,
// ascending by score and then by name, is that of Top.
func member(room string, n int32) goredis.Z { return goredis.Z{Score: -float64(n), Member: room} }

// Counts returns the counts of rooms; see logic.Rooms.
func (r *Rooms) Counts(ctx context.Context, rooms []string) ([]int32, error) {
	byPartition := make(map[int32][]int) // indexes of rooms
	for i, room := range rooms {
		p := push.RoomPartition(room, r.partitions)
		byPartition[p] = append(byPartition[p], i)
	}
	out := make([]int32, len(rooms))
	pipe := r.client.rdb.Pipeline()
	var read []func()
	for p, all := range byPartition {
		for some := range slices.Chunk(all, maxBatch) {
			names := make([]string, len(some))
			for i, at := range some {
				names[i] = rooms[at]
			}
			cmd := pipe.ZMScore(ctx, r.listName(p), names...)
			read = append(read, func() {
				for i, score := range cmd.Val() {
					out[some[i]] = int32(-score)
				}
			})
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count %d rooms: %w", len(rooms), err)
	}
	for _, f := range read {
		f()
	}
	return out, nil
}

// Top returns the biggest rooms; see logic.Rooms. It reads the partitions' lists
// from the top, page by page, for as long as they can hold one of them, but no
// more than 65,536 rooms: of a prefix with few and small rooms among very many
// bigger ones it may not find all. Rooms that change meanwhile may be missed.
func (r *Rooms) Top(ctx context.Context, prefix string, limit int) ([]cluster.RoomCount, error) {
	if limit <= 0 {
		return nil, nil
	}
	s := topSearch{prefix: prefix, limit: limit, seen: make(map[string]struct{})}
	page := min(max(limit, 64), topPage, max(1, topScanned/int(r.partitions)))
	open := make([]int32, r.partitions)
	for p := range open {
		open[p] = int32(p)
	}
	for from := 0; len(open) > 0 && s.scanned < topScanned; from += page {
		pages, err := r.pages(ctx, open, from, page)
		if err != nil {
			return nil, fmt.Errorf("find top rooms: %w", err)
		}
		for _, p := range pages {
			s.add(p)
		}
		s.cut()
		rest := open[:0]
		for i, p := range pages {
			if len(p) == page && s.mayFollow(roomOf(p[page-1])) {
				rest = append(rest, open[i])
			}
		}
		open = rest
	}
	return s.best, nil
}

// pages reads a page of each partition's list.
func (r *Rooms) pages(ctx context.Context, partitions []int32, from, n int) ([][]goredis.Z, error) {
	pipe := r.client.rdb.Pipeline()
	cmds := make([]*goredis.ZSliceCmd, len(partitions))
	for i, p := range partitions {
		cmds[i] = pipe.ZRangeWithScores(ctx, r.listName(p), int64(from), int64(from+n-1))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	out := make([][]goredis.Z, len(cmds))
	for i, cmd := range cmds {
		out[i] = cmd.Val()
	}
	return out, nil
}

func roomOf(z goredis.Z) cluster.RoomCount {
	room, _ := z.Member.(string)
	return cluster.RoomCount{Room: room, Count: int32(-z.Score)}
}

// topSearch collects the best rooms from pages.
type topSearch struct {
	prefix  string
	limit   int
	best    []cluster.RoomCount // sorted by cut
	seen    map[string]struct{} // in best: a room that falls while pages are read comes twice
	scanned int
}

func (s *topSearch) add(page []goredis.Z) {
	s.scanned += len(page)
	for _, z := range page {
		c := roomOf(z)
		if _, twice := s.seen[c.Room]; twice || !strings.HasPrefix(c.Room, s.prefix) {
			continue
		}
		s.seen[c.Room] = struct{}{}
		s.best = append(s.best, c)
	}
}

// cut keeps the best.
func (s *topSearch) cut() {
	slices.SortFunc(s.best, moreMembers)
	if len(s.best) <= s.limit {
		return
	}
	for _, c := range s.best[s.limit:] {
		delete(s.seen, c.Room)
	}
	s.best = s.best[:s.limit]
}

// mayFollow says whether one of the best may stand behind c in its list.
func (s *topSearch) mayFollow(c cluster.RoomCount) bool {
	return len(s.best) < s.limit || moreMembers(c, s.best[s.limit-1]) < 0
}

func moreMembers(a, b cluster.RoomCount) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Room, b.Room))
}
