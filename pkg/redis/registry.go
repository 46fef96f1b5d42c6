package redis

import (
	"context"
	"fmt"
	"slices"

	"github.com/halley-im/halley/pkg/cluster"
)

// Connect stores routes; see logic.Registry. Up to 512 of them take three round
// trips: keys, mids, and a look whether the keys still stand.
//
// After an error it is not known which routes are stored. Repeating the call
// makes it good, but for one thing: what a route with Stamp 0 displaced in the
// failed call is not told again, it now displaces itself.
func (c *Client) Connect(ctx context.Context, routes []cluster.Route) ([]cluster.Registered, error) {
	out := make([]cluster.Registered, len(routes))
	done := 0
	for batch := range slices.Chunk(routes, maxBatch) {
		if err := c.connect(ctx, batch, out[done:done+len(batch)]); err != nil {
			return nil, fmt.Errorf("connect %d routes: %w", len(routes), err)
		}
		done += len(batch)
	}
	return out, nil
}

func (c *Client) connect(ctx context.Context, routes []cluster.Route, out []cluster.Registered) error {
	if err := c.putKeys(ctx, routes, out); err != nil {
		return err
	}
	if err := c.putMids(ctx, routes, out); err != nil {
		return err
	}
	return c.settle(ctx, routes, out)
}

// putKeys stores the routes under their keys and fills out.
func (c *Client) putKeys(ctx context.Context, routes []cluster.Route, out []cluster.Registered) error {
	calls := make([]call, len(routes))
	var buf []byte
	for i := range routes {
		r := &routes[i]
		if len(r.Node) > maxNodeID {
			return fmt.Errorf("node %q: %w", r.Node, errNodeID)
		}
		at := len(buf)
		buf = appendBehindStamp(buf, r)
		calls[i] = call{script: putKey, key: c.keyName(r.Key), arg: uint64(r.Stamp), value: buf[at:len(buf):len(buf)]}
	}
	replies, err := c.runScripts(ctx, calls)
	if err != nil {
		return fmt.Errorf("store keys: %w", err)
	}
	for i, reply := range replies {
		if out[i], err = registered(&routes[i], reply); err != nil {
			return fmt.Errorf("store key %q: %w", routes[i].Key, err)
		}
	}
	return nil
}

// registered reads the reply of putKey.
func registered(r *cluster.Route, reply string) (cluster.Registered, error) {
	if reply == "" {
		return cluster.Registered{}, nil
	}
	if len(reply) < 7 {
		return cluster.Registered{}, errMalformed
	}
	reg := cluster.Registered{Stamp: cluster.Stamp(uint56(reply))}
	if len(reply) == 7 {
		return reg, nil
	}
	old, err := parseValue(reply[7:])
	if err != nil {
		return cluster.Registered{}, err
	}
	old.Key = r.Key
	// The same registration once more displaces nobody, but may have left its
	// old mid, which putMids reads from here.
	reg.Displaced = old
	return reg, nil
}

// putMids stores the routes under their mids and removes the keys from the mids
// they had before.
func (c *Client) putMids(ctx context.Context, routes []cluster.Route, out []cluster.Registered) error {
	calls := make([]call, 0, len(routes))
	for i := range routes {
		reg := &out[i]
		if reg.Stamp == 0 {
			continue
		}
		r := routes[i]
		r.Stamp = reg.Stamp
		head := appendHead(nil, &r)
		if r.Mid != "" {
			calls = append(calls, call{script: putMid, key: c.midName(r.Mid), arg: r.Key, value: head})
		}
		old := reg.Displaced
		if old.Mid == r.Mid || old.Mid == "" {
			continue
		}
		if sameRoute(&old, &r) {
			calls = append(calls, call{script: cutMid, key: c.midName(old.Mid), arg: r.Key, value: head})
		} else {
			calls = append(calls, call{script: dropOlder, key: c.midName(old.Mid), arg: r.Key, value: head})
		}
	}
	if _, err := c.runScripts(ctx, calls); err != nil {
		return fmt.Errorf("store mids: %w", err)
	}
	for i := range out {
		if d := &out[i].Displaced; d.Stamp == out[i].Stamp {
			*d = cluster.Route{}
		}
	}
	return nil
}

// settle looks whether the keys still stand as they were stored, and removes
// what putMids has stored for those that do not. Without it this could happen:
// a key is connected with mid x and, elsewhere, with mid y; the newer one finds
// nothing to remove under x, because the older one stores it only then.
func (c *Client) settle(ctx context.Context, routes []cluster.Route, out []cluster.Registered) error {
	var names []string
	var at []int // index in routes of each name
	for i := range routes {
		if out[i].Stamp != 0 && routes[i].Mid != "" {
			names = append(names, c.keyName(routes[i].Key))
			at = append(at, i)
		}
	}
	values, err := c.gets(ctx, names)
	if err != nil {
		return fmt.Errorf("look at stored keys: %w", err)
	}
	var stale []call
	for i, v := range values {
		r := routes[at[i]]
		r.Stamp = out[at[i]].Stamp
		if got, err := parseValue(v); err == nil && sameRoute(&got, &r) && got.Mid == r.Mid {
			continue
		}
		stale = append(stale, call{script: cutMid, key: c.midName(r.Mid), arg: r.Key, value: appendHead(nil, &r)})
	}
	if _, err := c.runScripts(ctx, stale); err != nil {
		return fmt.Errorf("remove replaced mids: %w", err)
	}
	return nil
}

// Disconnect removes the routes that still stand as given; see logic.Registry.
// Up to 512 of them take one round trip.
func (c *Client) Disconnect(ctx context.Context, routes []cluster.Route) error {
	for batch := range slices.Chunk(routes, maxBatch) {
		if err := c.disconnect(ctx, batch); err != nil {
			return fmt.Errorf("disconnect %d routes: %w", len(routes), err)
		}
	}
	return nil
}

func (c *Client) disconnect(ctx context.Context, routes []cluster.Route) error {
	calls := make([]call, 0, 2*len(routes))
	keyAt := make([]int, len(routes)) // index in calls of each route's cutKey
	for i := range routes {
		r := &routes[i]
		head := appendHead(nil, r)
		keyAt[i] = len(calls)
		calls = append(calls, call{script: cutKey, key: c.keyName(r.Key), arg: head})
		// Also when the key has a newer route: a call that failed half way may
		// have left this one under its mid.
		if r.Mid != "" {
			calls = append(calls, call{script: cutMid, key: c.midName(r.Mid), arg: r.Key, value: head})
		}
	}
	replies, err := c.runScripts(ctx, calls)
	if err != nil {
		return err
	}
	// The route was stored with another mid than the caller says.
	var more []call
	for i, at := range keyAt {
		if mid := replies[at]; mid != "" && mid != routes[i].Mid {
			more = append(more, call{script: cutMid, key: c.midName(mid), arg: routes[i].Key, value: appendHead(nil, &routes[i])})
		}
	}
	_, err = c.runScripts(ctx, more)
	return err
}
