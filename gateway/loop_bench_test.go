package gateway

import (
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
)

// BenchmarkDeliverRoom is one message to a room of 1,000 members, from the
// admission of its batch to the writes, which go nowhere.
func BenchmarkDeliverRoom(b *testing.B) {
	l, r, _ := fakeRoom(b, 1000)
	m := testMessage("thirty bytes of a chat message")
	b.ReportAllocs()
	for b.Loop() {
		l.toRoom(r.node, m)
		settle(l)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/member")
}

// settle has l write all that is pending.
func settle(l *loop) {
	for l.settle() {
	}
}

// BenchmarkDeliverRoom20 is 20 messages that came together.
func BenchmarkDeliverRoom20(b *testing.B) {
	l, r, _ := fakeRoom(b, 1000)
	m := testMessage("thirty bytes of a chat message")
	b.ReportAllocs()
	for b.Loop() {
		for range 20 {
			l.toRoom(r.node, m)
		}
		settle(l)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20_000, "ns/message")
}

// BenchmarkDeliverKey is one message to one session by its key.
func BenchmarkDeliverKey(b *testing.B) {
	l, _, conns := fakeRoom(b, 1)
	s := conns[0].ctx.(*session)
	m := testMessage("thirty bytes of a chat message")
	b.ReportAllocs()
	for b.Loop() {
		l.toSession(s.id(), m)
		settle(l)
	}
}

// BenchmarkHeartbeat is one heartbeat, from bytes to answer.
func BenchmarkHeartbeat(b *testing.B) {
	l, _, conns := fakeRoom(b, 2)
	s := conns[1].ctx.(*session) // TCP
	in := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpHeartbeat})
	b.ReportAllocs()
	for b.Loop() {
		l.input(s, in)
	}
}

// BenchmarkSplit is the admission of a batch of 100 messages to one room.
func BenchmarkSplit(b *testing.B) {
	l, _, _ := fakeRoom(b, 1)
	items := make([]push.Message, 100)
	for i := range items {
		items[i] = toRoom("live://1", "thirty bytes of a chat message")
	}
	p := &partition{marks: map[uint64]mark{}}
	b.ReportAllocs()
	for b.Loop() {
		l.srv.split(items, p)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/message")
}

// The paths that run per member, per heartbeat and per pushed message allocate
// nothing.
func TestNoAllocations(t *testing.T) {
	l, r, conns := fakeRoom(t, 100)
	m := testMessage("x")
	s := conns[1].ctx.(*session)
	beat := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpHeartbeat})
	f := func(what string, run func()) {
		t.Helper()
		run() // makes the scratch buffers
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations, want 0", what, n)
		}
	}
	f("a message to a room", func() { l.toRoom(r.node, m); settle(l) })
	f("a message to a session", func() { l.toSession(s.id(), m); settle(l) })
	f("both together", func() { l.toSession(s.id(), m); l.toRoom(r.node, m); settle(l) })
	f("a heartbeat", func() { l.input(s, beat) })
}
