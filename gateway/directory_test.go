package gateway

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"github.com/halley-im/halley/pkg/cluster"
)

// What is there once per connection has the size that the documents say.
func TestSizesPerConnection(t *testing.T) {
	for _, x := range []struct {
		name      string
		got, want uintptr
	}{
		{"session", unsafe.Sizeof(session{}), 64},
		{"record", unsafe.Sizeof(record{}), 24},
	} {
		if x.got != x.want {
			t.Errorf("a %s has %d bytes, want %d", x.name, x.got, x.want)
		}
	}
}

// A directory does what a map does, over connects, replacements and ends in any
// order, with keys of every form.
func TestDirectoryModel(t *testing.T) {
	loops := []*loop{{index: 0}, {index: 1}, {index: 2}}
	d := newDirectory(loops)
	type holder struct {
		key, mid string
		ref
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	names := make([]string, 300)
	for i := range names {
		switch i % 4 {
		case 0:
			names[i] = uuid.NewString()
		case 1:
			names[i] = strings.ToUpper(uuid.NewString()) // not canonical
		case 2:
			names[i] = cluster.Scope("app", fmt.Sprint("key ", i))
		default:
			names[i] = strings.Repeat("k", 1+i)
		}
	}
	holds := map[string]handle{} // by key
	open := map[handle]holder{}
	for step := range 50_000 {
		if rnd.IntN(100) < 52 {
			h := holder{names[rnd.IntN(len(names))], fmt.Sprint(rnd.Uint32()), ref{}}
			h.ref = ref{loops[rnd.IntN(3)], sessionID{uint32(step), 1}, cluster.Stamp(rnd.IntN(1000) + 1)}
			held, ok := holds[h.key]
			want := ref{}
			if ok {
				if want = open[held].ref; want.stamp > h.stamp {
					want = h.ref
				}
			}
			got, loser := d.put(h.key, h.mid, h.ref)
			if loser != want {
				t.Fatalf("step %d: the loser is %+v, want %+v", step, loser, want)
			}
			if open[got] != (holder{}) {
				t.Fatalf("step %d: handle %d is in use", step, got)
			}
			open[got] = h
			if loser != h.ref {
				holds[h.key] = got
			}
		} else {
			for h, want := range open { // any
				key, mid, stamp := d.remove(h)
				if key != want.key || mid != want.mid || stamp != want.stamp {
					t.Fatalf("step %d: removed %q %q %d, want %+v", step, key, mid, stamp, want)
				}
				delete(open, h)
				if holds[key] == h {
					delete(holds, key)
				}
				break
			}
		}
		key := names[rnd.IntN(len(names))]
		if got, want := d.get(key), open[holds[key]].ref; got != want {
			t.Fatalf("step %d: %q is held by %+v, want %+v", step, key, got, want)
		}
	}
	for h := range open {
		d.remove(h)
	}
	for i := range d.shards {
		if k := &d.shards[i].keys; cap(k.text)+cap(k.records)+cap(k.index) > 0 {
			t.Errorf("shard %d holds memory for nobody: %d bytes of text, %d records", i, cap(k.text), cap(k.records))
		}
	}
}

// Text of keys that have gone is not kept: many come and go while some stay.
func TestDirectoryChurn(t *testing.T) {
	d := newDirectory([]*loop{{}})
	r := ref{d.loops[0], sessionID{1, 1}, 1}
	for i := range 1000 {
		d.put(fmt.Sprint("stays ", i), "", r)
	}
	for i := range 100_000 {
		h, _ := d.put(fmt.Sprint("comes and goes ", i), "1234567890", r)
		d.remove(h)
	}
	text := 0
	for i := range d.shards {
		text += cap(d.shards[i].keys.text)
	}
	if text > 1000*11*2+shards*3*4096 {
		t.Errorf("%d bytes of text for 1,000 keys of 10", text)
	}
	for i := range 1000 {
		if d.get(fmt.Sprint("stays ", i)).loop == nil {
			t.Fatalf("key %d is lost", i)
		}
	}
}

// BenchmarkDirectoryBytes is the heap that a key takes: a UUID, with a mid of ten
// digits. The map that was here before took 170.
func BenchmarkDirectoryBytes(b *testing.B) {
	const n = 20_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		d := newDirectory([]*loop{{}})
		for i := range n {
			d.put(uuid.NewString(), "1234567890", ref{d.loops[0], sessionID{uint32(i), 1}, 1})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(d)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
}

// BenchmarkDirectoryGet is the look-up of one key among 20,000.
func BenchmarkDirectoryGet(b *testing.B) {
	d := newDirectory([]*loop{{}})
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = uuid.NewString()
		d.put(keys[i], "1", ref{d.loops[0], sessionID{uint32(i), 1}, 1})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if d.get(keys[i%len(keys)]).loop == nil {
			b.Fatal("lost")
		}
	}
}

// Word of two connections elsewhere may come in any order.
func TestGraveKeepsNewest(t *testing.T) {
	loops := []*loop{{index: 0}}
	d, now := newDirectory(loops), time.Now()
	d.replaced("k", 10, now)
	d.replaced("k", 5, now)
	me := ref{loops[0], sessionID{1, 1}, 10}
	if _, loser := d.put("k", "", me); loser != me {
		t.Error("stamp 10 got in though it was replaced")
	}
}

// A grave that is renewed again and again does not keep the others.
func TestRenewedGraves(t *testing.T) {
	d, now := newDirectory([]*loop{{index: 0}}), time.Now()
	sh, _ := d.shard("flapping")
	d.replaced("flapping", 1, now)
	most, made := 0, 0
	for i := range 100_000 {
		k := fmt.Sprint("key", i)
		if of, _ := d.shard(k); of != sh {
			continue
		}
		now = now.Add(graveTime / 1000)
		d.replaced(k, 1, now)
		if sh.graves["flapping"].stamp == 0 {
			t.Fatal("the one that is renewed is forgotten")
		}
		if made%100 == 0 {
			d.replaced("flapping", cluster.Stamp(i+2), now)
		}
		most, made = max(most, len(sh.graves), len(sh.buried)), made+1
	}
	if made < 5000 || most > 1010 {
		t.Errorf("%d graves of %d", most, made)
	}
}
