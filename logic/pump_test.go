package logic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/spool"
	"github.com/halley-im/halley/pkg/testkit"
)

// brief is what of a message the tests look at, in short.
func brief(m push.Message) string {
	return fmt.Sprintf("%s %s@%s/%d %s %q", m.To.Kind, strings.Join(m.To.Keys, ","), m.To.Node, m.To.Epoch, m.To.Room, m.App)
}

func briefs(msgs []push.Message) []string {
	var out []string
	for _, m := range msgs {
		out = append(out, brief(m))
	}
	slices.Sort(out)
	return out
}

// expect pushes m and compares what of it is on the queue then.
func (r *rig) expect(m push.Message, want ...string) {
	r.t.Helper()
	slices.Sort(want)
	before := len(r.queue.messages())
	id := r.push(m)
	r.mustQueue(id)
	var got []push.Message
	for _, x := range r.queue.messages() {
		if x.ID.Index == id.Index {
			got = append(got, x)
		}
	}
	if len(r.queue.messages())-before != len(want) || !slices.Equal(briefs(got), want) {
		r.t.Fatalf("got %q\nwant %q", briefs(got), want)
	}
	parts := map[uint32]bool{}
	for _, x := range got {
		parts[x.ID.Part] = true
		if int(x.ID.Part) >= len(got) || x.ID.Spool != id.Spool || string(x.Body) != "hi" || x.Op != 1000 || x.Accepted == 0 || x.To.Mids != nil {
			r.t.Fatalf("message %+v", x)
		}
	}
	if len(parts) != len(got) {
		r.t.Fatalf("parts %v of %d messages", parts, len(got))
	}
}

func TestPumpGroupsByGateway(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil).start()
	a, b := r.gateway("a"), r.gateway("b")
	r.route(a, "k1", "1")
	r.route(b, "k2", "1")
	r.route(a, "k3", "2")
	r.route(a, cluster.Scope("shop", "k1"), cluster.Scope("shop", "1"))

	f := r.expect
	on := func(l life) string { return fmt.Sprintf("@%s/%d  %q", l.node, l.epoch, "") }
	f(toKeys("k1"), "keys k1"+on(a))
	f(toKeys("k3", "k2", "k1"), "keys k3,k1"+on(a), "keys k2"+on(b))
	// A repeated key is delivered twice, a repeated mid once.
	f(toKeys("k1", "k1", "", "unknown"), "keys k1,k1"+on(a))
	f(toMids(2, 2), "keys k3"+on(a))
	f(toMids(1, 0, -1, 1, 77), "keys k1"+on(a), "keys k2"+on(b))
	// Nobody is there: done, nothing sent.
	f(toKeys("unknown"))
	f(toKeys(""))
	f(toKeys())
	f(toMids(99))
	f(toMids(0))
	// Another app's names are other names; what travels is App and plain names.
	shop := toKeys("k1", "k2")
	shop.App = "shop"
	f(shop, fmt.Sprintf("keys k1@a/%d  %q", a.epoch, "shop"))
	shop = toMids(1, 2)
	shop.App = "shop"
	f(shop, fmt.Sprintf("keys k1@a/%d  %q", a.epoch, "shop"))
	shop = toRoom("live://1")
	shop.App = "shop"
	f(shop, `room @/0 live://1 "shop"`)
	f(toRoom("live://1"), `room @/0 live://1 ""`)
	f(toAll(), `all @/0  ""`)

	if n := r.m.offline.Get(); n != 5 {
		t.Fatalf("%d pushes counted offline, want 5", n)
	}
}

func TestPumpPartitions(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil).start()
	a := r.gateway("gw-a")
	r.route(a, "k", "")
	shop := toRoom("live://1")
	shop.App = "shop"
	r.mustQueue(r.push(toKeys("k")), r.push(toRoom("live://1")), r.push(shop), r.push(toAll()))
	f := func(partition int32, want string) {
		t.Helper()
		if got := briefs(r.queue.partition(partition)); !slices.Contains(got, want) {
			t.Fatalf("partition %d has %q, want %q", partition, got, want)
		}
	}
	f(push.NodePartition("gw-a", testPartitions), brief(push.Message{To: push.Target{Kind: push.Keys, Keys: []string{"k"}, Node: "gw-a", Epoch: uint64(a.epoch)}}))
	f(push.RoomPartition("live://1", testPartitions), `room @/0 live://1 ""`)
	f(push.RoomPartition(cluster.Scope("shop", "live://1"), testPartitions), `room @/0 live://1 "shop"`)
	f(push.BroadcastPartition(), `all @/0  ""`)
	if got := r.queue.partition(push.BroadcastPartition())[0]; got.To.Speed != 7 {
		t.Fatalf("speed %d, want 7", got.To.Speed)
	}
}

// A push to many keys goes out in parts that are small enough for gateways and for
// the queue, numbered in the order in which they stand in the partition.
func TestPumpCutsParts(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil).start()
	a := r.gateway("a")
	var keys []string
	for i := range 2500 {
		keys = append(keys, fmt.Sprintf("%0200d", i))
		r.route(a, keys[i], "")
	}
	f := func(body int) {
		t.Helper()
		m := toKeys(keys...)
		m.Body = make([]byte, body)
		id := r.push(m)
		r.mustQueue(id)
		var all []string
		next := uint32(0)
		for _, x := range r.queue.partition(push.NodePartition("a", testPartitions)) {
			if x.ID.Index != id.Index {
				continue
			}
			if x.ID.Part != next {
				t.Fatalf("part %d behind part %d", x.ID.Part, next)
			}
			next++
			if len(x.To.Keys) > maxPartKeys {
				t.Fatalf("a part of %d keys", len(x.To.Keys))
			}
			if wire := push.AppendMessage(nil, &x); len(wire) > maxMessage+minPartBytes || len(wire)-body > maxPartBytes {
				t.Fatalf("a part of %d bytes with a body of %d", len(wire), body)
			}
			all = append(all, x.To.Keys...)
		}
		if !slices.Equal(all, keys) {
			t.Fatalf("%d keys arrived, want %d in order", len(all), len(keys))
		}
	}
	f(10)
	f(1_000_000)
}

// The queue fails again and again, sometimes having taken a part of the call, and
// still each partition holds the log's order, but for repeats of the same
// messages, which readers recognise by their identity.
func TestPumpKeepsOrderAcrossRetries(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	r.queue.fail = func(_ int, _ int32, msgs []push.Message) (int, error) {
		if rnd.IntN(3) == 0 {
			return rnd.IntN(len(msgs) + 1), errAway
		}
		return 0, nil
	}
	r.start()
	for i := range 4 {
		at := r.gateway(fmt.Sprint("gw", i))
		r.route(at, fmt.Sprint("k", i), fmt.Sprint(i+1))
	}
	var ids []push.ID
	for i := range 600 {
		switch i % 3 {
		case 0:
			ids = append(ids, r.push(toKeys("k0", "k1", "k2")))
		case 1:
			ids = append(ids, r.push(toRoom(fmt.Sprint("live://", i%7))))
		default:
			ids = append(ids, r.push(toMids(1, 2, 3, 4)))
		}
	}
	testkit.Eventually(t, 30*time.Second, func() bool { n, _ := r.deps.Spool.Depth(); return n == 0 }, "the log is empty")
	once := map[push.ID]bool{}
	for p := range int32(testPartitions) {
		var high push.ID
		for _, m := range r.queue.partition(p) {
			if once[m.ID] {
				continue
			}
			once[m.ID] = true
			if m.ID.Index < high.Index || m.ID.Index == high.Index && m.ID.Part <= high.Part {
				t.Fatalf("partition %d: %v/%d behind %v/%d", p, m.ID, m.ID.Part, high, high.Part)
			}
			high = m.ID
		}
	}
	want := 200*3 + 200 + 200*4
	if len(once) != want {
		t.Fatalf("%d parts on the queue, want %d", len(once), want)
	}
	if r.m.publishErrors.Get() == 0 {
		t.Fatal("the queue never failed: nothing was tested")
	}
	r.mustQueue(ids...)
}

func TestPumpWaitsForRegistry(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	at := r.gateway("a")
	r.route(at, "k", "")
	r.registry.setAway(true)
	r.start()
	first := r.push(toKeys("k"))
	testkit.Eventually(t, 5*time.Second, func() bool { return r.m.registryErrs.Get() > 1 }, "the registry was asked and failed")
	second := r.push(toRoom("live://1"))
	if n, _ := r.deps.Spool.Depth(); n != 2 || len(r.queue.messages()) != 0 {
		t.Fatalf("%d in the log and %d on the queue, want 2 and 0", n, len(r.queue.messages()))
	}
	r.registry.setAway(false)
	r.mustQueue(first, second)
	testkit.Eventually(t, 5*time.Second, func() bool { n, _ := r.deps.Spool.Depth(); return n == 0 }, "the log is empty")
}

// The log is committed as far as all is acknowledged, and no further.
func TestPumpCommitsContiguously(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	slow := push.RoomPartition("live://slow", testPartitions)
	other := "live://0"
	for i := 0; push.RoomPartition(other, testPartitions) == slow; i++ {
		other = fmt.Sprint("live://", i)
	}
	away := true
	r.queue.fail = func(_ int, partition int32, _ []push.Message) (int, error) {
		if away && partition == slow {
			return 0, errAway
		}
		return 0, nil
	}
	r.start()
	depth := func() int { n, _ := r.deps.Spool.Depth(); return n }
	r.mustQueue(r.push(toRoom(other)))
	testkit.Eventually(t, 5*time.Second, func() bool { return depth() == 0 }, "the first push is committed")
	held := r.push(toRoom("live://slow"))
	r.mustQueue(r.push(toRoom(other)), r.push(toRoom(other)))
	if depth() != 3 {
		t.Fatalf("%d in the log, want 3: one is not acknowledged, and it is the oldest", depth())
	}
	r.queue.mu.Lock()
	away = false
	r.queue.mu.Unlock()
	r.mustQueue(held)
	testkit.Eventually(t, 5*time.Second, func() bool { return depth() == 0 }, "all is committed")
}

func TestPushSpoolFull(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, func(_ *Config, d *Deps) { d.Spool = spool.NewMemory(3, 1<<20) })
	release := r.queue.hold()
	defer release()
	r.start()
	r.push(toRoom("live://1"))
	two := []push.Message{toRoom("live://2"), toRoom("live://2"), toRoom("live://2")}
	if err := r.Push(two); !errors.Is(err, ErrSpoolFull) || !Busy(err) {
		t.Fatalf("got %v, want ErrSpoolFull", err)
	}
	if n, _ := r.deps.Spool.Depth(); n != 1 {
		t.Fatalf("%d in the log, want 1: a call is taken over whole or not at all", n)
	}
	if n := r.m.full.Get(); n != 3 {
		t.Fatalf("%d counted as refused, want 3", n)
	}
	release()
	testkit.Eventually(t, 5*time.Second, func() bool { return r.Push(two) == nil }, "there is room again")
}

// What the queue will never take is dropped and counted; what stands around it is
// delivered.
func TestPumpDropsTooLarge(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	r.queue.tooLarge = 100
	release := r.queue.hold() // so that all go out in one call
	r.start()
	large := toRoom("live://1")
	large.Body = make([]byte, 100)
	msgs := []push.Message{toRoom("live://1"), toRoom("live://1"), large, toRoom("live://1")}
	if err := r.Push(msgs); err != nil {
		t.Fatal(err)
	}
	release()
	if err := r.queued(msgs[2].ID); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	if err := r.queued(msgs[2].ID); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("asked again: got %v, want ErrTooLarge", err)
	}
	r.mustQueue(msgs[0].ID, msgs[1].ID, msgs[3].ID)
	if err := r.queued(msgs[0].ID, msgs[2].ID); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("in company: got %v, want ErrTooLarge", err)
	}
	var got []uint64
	for _, m := range r.queue.messages() {
		got = append(got, m.ID.Index)
	}
	if want := []uint64{1, 2, 4}; !reflect.DeepEqual(got, want) {
		t.Fatalf("on the queue: %v, want %v", got, want)
	}
	if r.m.tooLarge.Get() != 1 || r.m.enqueued.Get() != 3 {
		t.Fatalf("counted %d too large, %d enqueued; want 1, 3", r.m.tooLarge.Get(), r.m.enqueued.Get())
	}
}

// More than flight holds is accepted while the queue is held back: the pump stops
// taking up, nothing grows but the log, and all of it goes out afterwards.
func TestPumpIsBounded(t *testing.T) {
	testkit.LeakCheck(t)
	r := newRig(t, nil)
	release := r.queue.hold()
	defer release()
	r.start()
	const n = maxFlight + 1000
	msgs := make([]push.Message, n)
	for i := range msgs {
		msgs[i] = toRoom(fmt.Sprint("live://", i%50))
	}
	if err := r.Push(msgs); err != nil {
		t.Fatal(err)
	}
	r.Wake()
	testkit.Eventually(t, 10*time.Second, func() bool { return !r.flight.room() }, "flight is full")
	if d, _ := r.deps.Spool.Depth(); d != n {
		t.Fatalf("%d in the log, want %d", d, n)
	}
	release()
	testkit.Eventually(t, 20*time.Second, func() bool { d, _ := r.deps.Spool.Depth(); return d == 0 }, "the log is empty")
	if got := len(r.queue.messages()); got != n {
		t.Fatalf("%d on the queue, want %d", got, n)
	}
}
