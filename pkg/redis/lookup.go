package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/halley-im/halley/pkg/cluster"
)

// Keys looks keys up; see logic.Registry. Up to 512 of them take one round trip.
func (c *Client) Keys(ctx context.Context, keys []string) ([]cluster.Route, error) {
	out := make([]cluster.Route, 0, len(keys))
	for batch := range slices.Chunk(keys, maxBatch) {
		var err error
		if out, err = c.appendKeys(ctx, out, batch); err != nil {
			return nil, fmt.Errorf("look up %d keys: %w", len(keys), err)
		}
	}
	return out, nil
}

// appendKeys appends the route of each key.
func (c *Client) appendKeys(ctx context.Context, dst []cluster.Route, keys []string) ([]cluster.Route, error) {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = c.keyName(key)
	}
	values, err := c.gets(ctx, names)
	if err != nil {
		return dst, err
	}
	for i, v := range values {
		var r cluster.Route
		if v != "" {
			if r, err = parseValue(v); err != nil {
				return dst, fmt.Errorf("key %q: %w", keys[i], err)
			}
			r.Key = keys[i]
		}
		dst = append(dst, r)
	}
	return dst, nil
}

// Mids looks mids up; see logic.Registry. Up to 512 of them take one round trip.
func (c *Client) Mids(ctx context.Context, mids []string) ([][]cluster.Route, error) {
	out := make([][]cluster.Route, 0, len(mids))
	for batch := range slices.Chunk(mids, maxBatch) {
		var err error
		if out, err = c.appendMids(ctx, out, batch); err != nil {
			return nil, fmt.Errorf("look up %d mids: %w", len(mids), err)
		}
	}
	return out, nil
}

// appendMids appends the routes of each mid.
func (c *Client) appendMids(ctx context.Context, dst [][]cluster.Route, mids []string) ([][]cluster.Route, error) {
	pipe := c.rdb.Pipeline()
	cmds := make([]*goredis.MapStringStringCmd, len(mids))
	for i, mid := range mids {
		cmds[i] = pipe.HGetAll(ctx, c.midName(mid))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return dst, err
	}
	for i, cmd := range cmds {
		var routes []cluster.Route
		for key, v := range cmd.Val() {
			r, err := parseValue(v)
			if err != nil {
				return dst, fmt.Errorf("key %q of mid %q: %w", key, mids[i], err)
			}
			r.Key, r.Mid = key, mids[i]
			routes = append(routes, r)
		}
		dst = append(dst, routes)
	}
	return dst, nil
}

// Cursors of Scan: which master in the high bits, Redis' own cursor of it below.
// Redis counts its cursor up to the size of its table, and above 14 bits of slot
// in a cluster: 2^56 are enough for 2^42 keys on one master.
const (
	cursorBits = 56
	maxMasters = 1 << (64 - cursorBits)
)

// Scan visits routes; see logic.Registry. It visits the entries of the mids as
// well as those of the keys, so that an entry that stands only under a mid,
// after a call that failed half way, is seen too: a route with a mid is seen
// twice. A mid with many keys makes for more than n.
//
// In a Redis Cluster it visits one master after another. A round during which
// slots are moved or masters change may miss routes; the next one sees them.
func (c *Client) Scan(ctx context.Context, cursor uint64, n int) ([]cluster.Route, uint64, error) {
	routes, next, err := c.scan(ctx, cursor, n)
	if err != nil {
		return nil, 0, fmt.Errorf("scan routes: %w", err)
	}
	return routes, next, nil
}

func (c *Client) scan(ctx context.Context, cursor uint64, n int) ([]cluster.Route, uint64, error) {
	masters, err := c.masters(ctx)
	if err != nil {
		return nil, 0, err
	}
	at := cursor >> cursorBits
	if at >= uint64(len(masters)) {
		return nil, 0, nil // there are fewer masters than when the round began
	}
	names, next, err := masters[at].Scan(ctx, cursor&(1<<cursorBits-1), c.prefix+":[km]*", int64(max(n, 1))).Result()
	if err != nil {
		return nil, 0, err
	}
	var keys, mids []string
	for _, name := range names {
		if key, ok := strings.CutPrefix(name, c.keyName("")); ok {
			keys = append(keys, key)
		} else if mid, ok := strings.CutPrefix(name, c.midName("")); ok {
			mids = append(mids, mid)
		}
	}
	routes, err := c.routesOf(ctx, keys, mids)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case next>>cursorBits != 0:
		return nil, 0, fmt.Errorf("redis answered with a cursor of more than %d bits: %d", cursorBits, next)
	case next != 0:
		return routes, at<<cursorBits | next, nil
	case at+1 < uint64(len(masters)):
		return routes, (at + 1) << cursorBits, nil
	}
	return routes, 0, nil
}

// routesOf returns all routes of keys and of mids.
func (c *Client) routesOf(ctx context.Context, keys, mids []string) ([]cluster.Route, error) {
	found, err := c.Keys(ctx, keys)
	if err != nil {
		return nil, err
	}
	ofMids, err := c.Mids(ctx, mids)
	if err != nil {
		return nil, err
	}
	// A key may have gone since the names were read.
	routes := slices.DeleteFunc(found, func(r cluster.Route) bool { return r.Node == "" })
	for _, some := range ofMids {
		routes = append(routes, some...)
	}
	return routes, nil
}

// masters returns the nodes that hold keys, in the same order while they are the
// same.
func (c *Client) masters(ctx context.Context) ([]*goredis.Client, error) {
	switch rdb := c.rdb.(type) {
	case *goredis.Client:
		return []*goredis.Client{rdb}, nil
	case *goredis.ClusterClient:
		var mu sync.Mutex
		var out []*goredis.Client
		err := rdb.ForEachMaster(ctx, func(_ context.Context, m *goredis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			out = append(out, m)
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(out) > maxMasters {
			return nil, fmt.Errorf("%d masters, at most %d can be scanned", len(out), maxMasters)
		}
		slices.SortFunc(out, func(a, b *goredis.Client) int { return cmp.Compare(a.Options().Addr, b.Options().Addr) })
		return out, nil
	}
	panic(fmt.Sprintf("BUG: redis client of type %T", c.rdb))
}
