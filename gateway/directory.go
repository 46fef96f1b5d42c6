package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// ref is a session as other goroutines may know it. It may be stale: only the
// loop can tell.
type ref struct {
	loop  *loop
	id    sessionID
	stamp cluster.Stamp // of the session's route
}

// directory says which session of this node holds a key: the one thing that
// loops share. It is sharded so that connects on several loops and deliveries
// seldom meet.
type directory struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu sync.RWMutex
	// guards below
	keys   map[string]ref
	graves map[string]grave // of keys that are connected elsewhere
	buried []string         // keys of graves, oldest first
}

// grave says that up to stamp nobody here may hold the key: a newer connection
// was made on another gateway while the one here was still on its way.
type grave struct {
	stamp cluster.Stamp
	until time.Time
}

// graveTime is longer than any client may take from logic's answer to op 8.
const graveTime = 2 * time.Minute

func newDirectory() *directory {
	d := &directory{seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].keys = map[string]ref{}
		d.shards[i].graves = map[string]grave{}
	}
	return d
}

func (d *directory) shard(key string) *shard {
	return &d.shards[maphash.String(d.seed, key)%uint64(len(d.shards))]
}

// put makes r the holder of key unless a newer one holds it. It returns the
// other of the two, which must be closed; its loop is nil when there is none.
func (d *directory) put(key string, r ref) (loser ref) {
	sh := d.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old, ok := sh.keys[key]
	if ok && old.stamp > r.stamp || sh.graves[key].stamp >= r.stamp {
		return r
	}
	sh.keys[key] = r
	if ok {
		return old
	}
	return ref{}
}

// replaced says that elsewhere a connection newer than stamp holds key. It returns
// the one here that must be closed, if there is one.
func (d *directory) replaced(key string, stamp cluster.Stamp, now time.Time) (loser ref) {
	sh := d.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for len(sh.buried) > 0 && sh.graves[sh.buried[0]].until.Before(now) {
		delete(sh.graves, sh.buried[0])
		sh.buried = sh.buried[1:]
	}
	held := sh.keys[key]
	switch {
	case held.loop != nil && held.stamp == stamp:
		return held
	case held.loop == nil || held.stamp < stamp:
		if _, ok := sh.graves[key]; !ok {
			sh.buried = append(sh.buried, key)
		}
		sh.graves[key] = grave{stamp, now.Add(graveTime)}
	}
	return ref{}
}

// get returns the holder of key; its loop is nil when there is none.
func (d *directory) get(key string) ref {
	sh := d.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.keys[key]
}

// remove forgets key if r still holds it.
func (d *directory) remove(key string, r ref) {
	sh := d.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.keys[key] == r {
		delete(sh.keys, key)
	}
}
