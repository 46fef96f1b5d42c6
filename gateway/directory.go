package gateway

import (
	"hash/maphash"
	"sync"

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
	mu   sync.RWMutex
	keys map[string]ref // guarded by mu
}

func newDirectory() *directory {
	d := &directory{seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].keys = map[string]ref{}
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
	if ok && old.stamp > r.stamp {
		return r
	}
	sh.keys[key] = r
	if ok {
		return old
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
