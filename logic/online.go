package logic

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/halley-im/halley/pkg/cluster"
)

// MaxTop is how many rooms TopRooms answers at most.
const MaxTop = 10_000

// Gateways are the gateways whose leases stand, by id, as of at most a few seconds
// ago; nobody may change them.
func (l *Logic) Gateways() []cluster.Node { return l.view.nodes() }

// Total is how many sessions are open in the whole cluster, and the sum over the
// gateways of their distinct client addresses.
func (l *Logic) Total() (conns, ips int64) {
	for _, n := range l.view.nodes() {
		conns += n.Conns
		ips += n.IPs
	}
	return conns, ips
}

// RoomCounts is how many members each room of an app has, in the same order.
func (l *Logic) RoomCounts(ctx context.Context, app string, rooms []string) ([]int32, error) {
	scoped := make([]string, len(rooms))
	for i, room := range rooms {
		scoped[i] = cluster.Scope(app, room)
	}
	counts, err := l.deps.Rooms.Counts(ctx, scoped)
	if err == nil && len(counts) != len(rooms) {
		err = errAnswers
	}
	if err != nil {
		l.m.registryErrs.Inc()
		return nil, fmt.Errorf("count rooms: %w", err)
	}
	return counts, nil
}

// TopRooms are the rooms of an app with the most members whose names begin with
// prefix and have a RoomID, most first, at most limit and MaxTop. Names in the
// answer are not scoped.
func (l *Logic) TopRooms(ctx context.Context, app, prefix string, limit int) ([]cluster.RoomCount, error) {
	limit = max(0, min(limit, MaxTop))
	// A prefix of the empty app may also begin names of other apps: ask for more
	// until enough are left.
	for ask := limit; ; ask *= 2 {
		rooms, err := l.deps.Rooms.Top(ctx, cluster.Scope(app, prefix), ask)
		if err != nil {
			l.m.registryErrs.Inc()
			return nil, fmt.Errorf("top rooms: %w", err)
		}
		top := make([]cluster.RoomCount, 0, limit)
		for _, r := range rooms {
			of, name := cluster.Unscope(r.Room)
			if _, ok := RoomID(name); ok && of == app && len(top) < limit {
				top = append(top, cluster.RoomCount{Room: name, Count: r.Count})
			}
		}
		if len(top) == limit || len(rooms) < ask {
			return top, nil
		}
	}
}

// RoomID is what goim's online/top calls a room: the host of its name taken for a
// URL (goim internal/logic/model/room.go:14), "1000" of live://1000. A name that
// is no URL is left out there.
func RoomID(name string) (id string, ok bool) {
	// Fast path - type://id of plain characters.
	if typ, id, found := strings.Cut(name, "://"); found && plain(typ) && plain(id) && typ[0] > '9' {
		return id, true
	}
	u, err := url.Parse(name)
	if err != nil {
		return "", false
	}
	return u.Host, true
}

// plain says whether s is not empty and letters and digits only.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
