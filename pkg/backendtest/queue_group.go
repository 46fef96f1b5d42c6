package backendtest

import (
	"context"
	"slices"
	"testing"

	"github.com/halley-im/halley/pkg/push"
)

// QueueGroup checks what several members of one group share. open makes a new queue
// like that of Queue and two sources that are different members of its group.
func QueueGroup(t *testing.T, open func(t testing.TB) (QueuePublisher, [2]QueueSource)) {
	t.Run("ShareAndTakeOver", func(t *testing.T) {
		pub, src := open(t)
		groupShareAndTakeOver(t, pub, src)
	})
	t.Run("ManyGenerations", func(t *testing.T) {
		pub, src := open(t)
		groupManyGenerations(t, pub, src)
	})
}

// together waits until the two members share the partitions in one generation.
func together(t testing.TB, a, b *member) {
	t.Helper()
	x, y := a.assignment(), b.assignment()
	for x.Generation() != y.Generation() {
		if x.Generation() < y.Generation() {
			x = a.newer(x.Generation())
		} else {
			y = b.newer(y.Generation())
		}
	}
	all := append(partitions(x), partitions(y)...)
	slices.Sort(all)
	if len(x.Partitions()) == 0 || len(y.Partitions()) == 0 || !slices.Equal(all, []int32{0, 1, 2, 3}) {
		t.Fatalf("generation %d: the members have %v and %v", x.Generation(), x.Partitions(), y.Partitions())
	}
}

// groupShareAndTakeOver: two members share the partitions, an assignment that was
// replaced cannot commit, and when one leaves the other goes on exactly where it
// had committed.
func groupShareAndTakeOver(t *testing.T, pub QueuePublisher, src [2]QueueSource) {
	var sent [QueuePartitions][]push.Message
	for p := range sent {
		sent[p] = numbered(p, 40)
		publish(t, pub, int32(p), sent[p]...)
	}
	a := join(t, src[0])
	alone := a.assignment()
	if got := partitions(alone); !slices.Equal(got, []int32{0, 1, 2, 3}) {
		t.Fatalf("partitions of the only member: %v", got)
	}
	first := a.read(0, 1)
	b := join(t, src[1])
	together(t, a, b)
	if err := alone.Commit(context.Background(), map[int32]int64{0: first[0].Offset + 1}); err == nil {
		t.Fatal("an assignment that was replaced has committed")
	}

	clear(a.next) // nothing is committed, so all of it comes again
	for _, m := range []*member{a, b} {
		for _, p := range partitions(m.assignment()) {
			recs := m.read(p, len(sent[p]))
			expect(t, recs, sent[p])
			m.commit(p, recs[10*p].Offset+1)
		}
	}
	old := b.assignment().Generation()
	b.leave()
	if got := partitions(a.newer(old)); !slices.Equal(got, []int32{0, 1, 2, 3}) {
		t.Fatalf("partitions of the member that is left: %v", got)
	}
	clear(a.next)
	for p := range sent {
		rest := sent[p][10*p+1:]
		expect(t, a.read(int32(p), len(rest)), rest)
	}
}

// groupManyGenerations: while a second member comes and goes, the first reads and
// commits all the time; each message is committed by one of them, none is skipped.
func groupManyGenerations(t *testing.T, pub QueuePublisher, src [2]QueueSource) {
	const rounds, each = 4, 30
	a := join(t, src[0])
	want := make(map[int32]int) // how many of a partition are read and committed
	var sent [QueuePartitions][]push.Message
	for round := range rounds {
		members := []*member{a}
		if round%2 == 1 {
			b := join(t, src[1])
			together(t, a, b)
			members = append(members, b)
		}
		for p := range sent {
			more := numbered(100*round+p, each)
			publish(t, pub, int32(p), more...)
			sent[p] = append(sent[p], more...)
		}
		for _, m := range members {
			clear(m.next)
			for _, p := range partitions(m.assignment()) {
				recs := m.read(p, each)
				expect(t, recs, sent[p][want[p]:])
				m.commit(p, recs[each-1].Offset+1)
				want[p] += each
			}
		}
		if len(members) > 1 {
			old := members[1].assignment().Generation()
			members[1].leave()
			a.newer(old)
		}
	}
	for p, n := range want {
		if n != rounds*each {
			t.Errorf("partition %d: %d messages were read and committed, want %d", p, n, rounds*each)
		}
	}
}
