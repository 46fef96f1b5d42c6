package job

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// torture is a job among gateways that fail at random.
type torture struct {
	*rig
	rng   *rand.Rand
	nodes []*chaosGateway // stay; their leases stand
	guest *chaosGateway   // comes and goes
	life  cluster.Epoch   // of the guest
	rooms int
}

// The great one: 100,000 messages to three gateways that are busy, late and lose
// their streams, while generations end in the middle, rooms are joined, and a
// fourth gateway comes and goes. Every one of the three gets everything it is
// owed, for the first time in order, repeats only as contiguous pieces; and no
// message of a room is missing that was read after the room was confirmed.
//
// It runs in a bubble: waits cost no time there, and goroutines that outlive it
// fail it.
func TestTorture(t *testing.T) {
	rng := newRand(t)
	for range 5 {
		inBubble(t, func(t *testing.T) { runTorture(t, rng) })
	}
}

func runTorture(t *testing.T, rng *rand.Rand) {
	const messages, partitions, rooms = 100_000, 5, 40
	w := &torture{rig: newRig(t, partitions, "gw0", "gw1", "gw2"), rng: rng, rooms: rooms}
	w.cfg.BatchBytes, w.cfg.Window, w.cfg.LaneBytes = 4<<10, 16<<10, 64<<10
	w.cfg.CommitEvery = 5 * time.Millisecond
	w.cfg.DrainTimeout = 20 * time.Millisecond
	sender := chaosSender{}
	for i := range 4 {
		g := newChaosGateway(fmt.Sprint("gw", i), w.queue, w.rng)
		sender[g.id] = g
		w.nodes = append(w.nodes, g)
	}
	w.nodes, w.guest = w.nodes[:3], w.nodes[3]
	w.guest.away = true
	w.startWith(Deps{Source: w.queue, Nodes: w.registry, Rooms: w.registry, Sender: sender})

	for n := 0; n < messages; {
		for range min(1+w.rng.IntN(200), messages-n) {
			w.publishOne()
			n++
		}
		w.disturb()
		testkit.Eventually(t, time.Minute, func() bool { return w.queue.waiting() < 3000 }, "the job keeps up")
	}
	for _, g := range append(w.nodes, w.guest) {
		g.mu.Lock()
		g.calm = true
		g.mu.Unlock()
	}
	testkit.Eventually(t, time.Minute, w.queue.done, "everything is committed")
	if err := w.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	w.verdict()
}

func (w *torture) room() string { return fmt.Sprint("live://", w.rng.IntN(w.rooms)) }

func (w *torture) publishOne() {
	switch w.rng.IntN(10) {
	case 0:
		w.queue.publish(push.BroadcastPartition(), toAll(0, "all"))
	case 1, 2, 3, 4:
		node := fmt.Sprint("gw", w.rng.IntN(4))
		epoch := cluster.Epoch(1)
		if node == w.guest.id {
			epoch = w.life
		}
		w.queue.publish(push.NodePartition(node, w.queue.Partitions()), keysTo(node, epoch, "key"))
	default:
		room := w.room()
		w.queue.publish(push.RoomPartition(room, w.queue.Partitions()), toRoom(room, "room"))
	}
}

// disturb does one of what happens to a cluster beside faults of gateways.
func (w *torture) disturb() {
	switch w.rng.IntN(40) {
	case 0:
		w.queue.reassign()
	case 1:
		w.guest.mu.Lock()
		w.guest.away = !w.guest.away
		away, st := w.guest.away, w.guest.cur
		w.guest.mu.Unlock()
		if away {
			w.registry.remove(w.guest.id)
			if st != nil {
				st.end()
			}
		} else {
			w.life++
			w.registry.add(w.guest.id, w.life)
		}
	case 2, 3, 4, 5, 6:
		w.nodes[w.rng.IntN(len(w.nodes))].join(w.room())
	}
}

func (w *torture) verdict() {
	t := w.t
	var faults [faultKinds]int
	repeats, owedRooms := 0, 0
	for _, g := range w.nodes {
		for p := range w.queue.Partitions() {
			repeats += g.check(t.Errorf, p, w.queue.logs[p])
		}
		for k, n := range g.faults {
			faults[k] += n
		}
		owedRooms += len(g.owed)
	}
	t.Logf("faults %v, generations %d, repeats %d, rooms %d, filtered %s, batches %s",
		faults, w.queue.gen, repeats, owedRooms, w.metric(`halley_job_messages_dropped_total{reason="no_members"}`),
		w.metric("halley_job_batches_total"))
	for k, n := range faults {
		if n < 25 {
			t.Errorf("only %d faults of kind %d", n, k)
		}
	}
	if w.queue.gen < 3 || repeats == 0 || owedRooms < w.rooms {
		t.Errorf("%d generations, %d repeats, %d rooms joined: that is no torture", w.queue.gen, repeats, owedRooms)
	}
}
