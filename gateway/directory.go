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
	loops  []*loop // by index; read-only
	seed   maphash.Seed
	shards [shards]shard
}

const (
	shardBits = 4
	shards    = 1 << shardBits
)

type shard struct {
	mu sync.RWMutex
	// guards below
	keys   keys
	graves map[string]grave // of keys that are connected elsewhere
	buried []mound          // of graves, oldest first
}

// grave says that up to stamp nobody here may hold the key: a newer connection
// was made on another gateway while the one here was still on its way.
type grave struct {
	stamp cluster.Stamp
	until time.Time
}

// mound is where a grave is in the order of time.
type mound struct {
	key   string
	until time.Time // of the grave when it was put here; it may have been renewed
}

// graveTime is longer than any client may take from logic's answer to op 8.
const graveTime = 2 * time.Minute

// handle is a session's record in the directory: the shard in the low bits, its
// number there above. 0 is none.
type handle uint32

func newDirectory(loops []*loop) *directory {
	d := &directory{loops: loops, seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].keys.seed = maphash.MakeSeed()
		d.shards[i].graves = map[string]grave{}
	}
	return d
}

func (d *directory) shard(key string) (sh *shard, number int) {
	number = int(maphash.String(d.seed, key) % shards)
	return &d.shards[number], number
}

func (d *directory) ref(r *record) ref {
	if r == nil {
		return ref{}
	}
	return ref{d.loops[r.loop], r.id, r.stamp}
}

// put records r as a session with key and mid, and as the holder of key unless a
// newer one holds it. It returns the handle, and the other of the two, which must
// be closed; its loop is nil when there is none. The caller lets go of the handle
// by remove in any case. It panics for keys that auth does not let pass.
func (d *directory) put(key, mid string, r ref) (h handle, loser ref) {
	var p packed
	if !p.pack(key) || len(mid) > 255 {
		panic("BUG: a key or mid that is too long")
	}
	sh, number := d.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	k := &sh.keys
	held := d.ref(k.get(&p))
	n := k.add(&p, mid, record{stamp: r.stamp, id: r.id, loop: uint8(r.loop.index)})
	h = handle(n<<shardBits | uint32(number))
	if held.loop != nil && held.stamp > r.stamp || sh.graves[key].stamp >= r.stamp {
		return h, r
	}
	k.link(&p, n)
	return h, held
}

// remove lets go of a handle and forgets its key if it still holds it. It returns
// what it stood for.
func (d *directory) remove(h handle) (key, mid string, stamp cluster.Stamp) {
	sh := &d.shards[h%shards]
	n := uint32(h >> shardBits)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	k := &sh.keys
	r := &k.records[n]
	key, mid, stamp = k.unpack(r), k.mid(r), r.stamp
	k.unlink(n)
	k.drop(n)
	return key, mid, stamp
}

// replaced says that elsewhere a connection newer than stamp holds key. It returns
// the one here that must be closed, if there is one.
func (d *directory) replaced(key string, stamp cluster.Stamp, now time.Time) (loser ref) {
	var p packed
	if !p.pack(key) {
		return ref{}
	}
	sh, _ := d.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.forget(now)
	held := d.ref(sh.keys.get(&p))
	switch {
	case held.loop != nil && held.stamp == stamp:
		return held
	case held.loop == nil || held.stamp < stamp:
		sh.bury(key, stamp, now.Add(graveTime))
	}
	return ref{}
}

// bury makes a grave, or renews it: word of two connections may come in any order.
func (sh *shard) bury(key string, stamp cluster.Stamp, until time.Time) {
	old, ok := sh.graves[key]
	if !ok {
		sh.buried = append(sh.buried, mound{key, until})
	}
	sh.graves[key] = grave{max(old.stamp, stamp), until}
}

// forget removes the graves whose time is over.
func (sh *shard) forget(now time.Time) {
	for len(sh.buried) > 0 && sh.buried[0].until.Before(now) {
		m := sh.buried[0]
		sh.buried = sh.buried[1:]
		if g := sh.graves[m.key]; g.until.After(m.until) {
			sh.buried = append(sh.buried, mound{m.key, g.until})
		} else {
			delete(sh.graves, m.key)
		}
	}
}

// get returns the holder of key; its loop is nil when there is none.
func (d *directory) get(key string) ref {
	var p packed
	if !p.pack(key) {
		return ref{}
	}
	sh, _ := d.shard(key)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return d.ref(sh.keys.get(&p))
}

// app is the namespace of a handle's key.
func (d *directory) app(h handle) string {
	sh := &d.shards[h%shards]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	app, _ := cluster.Unscope(sh.keys.unpack(&sh.keys.records[h>>shardBits]))
	return app
}
