package gateway

import (
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// Op 8 of the first member of a room waits until every job knows of the room.
func TestJoinWaitsForJobs(t *testing.T) {
	r := start(t, nil)
	j1, j2 := r.job(t), r.job(t)
	j1.mu.Lock()
	j1.silent = true
	j1.mu.Unlock()

	c := testkit.DialTCP(t, r.tcp)
	c.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k", "live://1", 1000))})
	knows := func(j *testJob) bool {
		return j.get(func(j *testJob) bool { _, ok := j.rooms["live://1"]; return ok })
	}
	testkit.Eventually(t, patience, func() bool { return knows(j1) && knows(j2) }, "both jobs are told")
	r.onLoop("k", func(_ *loop, s *session) {
		if s.state != stateWelcoming {
			t.Errorf("state %d while a job has not confirmed, want welcoming", s.state)
		}
	})
	j2.must(toRoom("live://1", "before op 8"), toKeys(1000, "before op 8", "k"), toAll(1000, "before op 8"))
	if err := j1.stream.Confirm(j1.lastSeen); err != nil {
		t.Fatal(err)
	}
	if p := c.Recv(); p.Op != protocol.OpAuthReply {
		t.Fatalf("got %v, want op 8", p)
	}

	// What came before may be delivered, but op 8 was first; what comes now must be.
	j2.must(toRoom("live://1", "after op 8"))
	for string(c.Push().Body) != "after op 8" {
	}

	// A second member need not wait, nor does one after the stream that is silent
	// has gone.
	testkit.DialWS(t, r.ws).Auth(token("k2", "live://1"))
	d := testkit.DialTCP(t, r.tcp)
	d.Send(protocol.Packet{Op: protocol.OpAuth, Body: []byte(token("k3", "live://2"))})
	testkit.Eventually(t, patience, func() bool {
		return j1.get(func(j *testJob) bool { _, ok := j.rooms["live://2"]; return ok })
	}, "the silent job is told")
	j1.stream.Close()
	if p := d.Recv(); p.Op != protocol.OpAuthReply {
		t.Fatalf("got %v, want op 8", p)
	}
}

// A stream gets the list of all rooms when it opens, then changes of counts.
func TestInterestAndCounts(t *testing.T) {
	r := start(t, nil)
	a, b := testkit.DialTCP(t, r.tcp), testkit.DialWS(t, r.ws)
	a.Auth(token("a", "live://1"))
	b.Auth(token("b", "live://1"))
	j := r.job(t)
	count := func(room string, n int32) func() bool {
		return func() bool { return j.get(func(j *testJob) bool { return j.rooms[room] == n && j.complete }) }
	}
	testkit.Eventually(t, patience, count("live://1", 2), "the list has two members")
	b.Close()
	testkit.Eventually(t, patience, count("live://1", 1), "a change is announced")

	// Members elsewhere count for the heartbeat.
	if err := j.stream.Counts([]cluster.RoomCount{{Room: "live://1", Count: 41}, {Room: "live://unknown", Count: 3}}); err != nil {
		t.Fatal(err)
	}
	if n := a.Heartbeat(); n != 42 {
		t.Errorf("heartbeat says %d, want 42", n)
	}
}

// An empty room stays announced for a while, then it is withdrawn.
func TestRoomLingers(t *testing.T) {
	in := newInterest()
	srv := &Server{interest: in}
	l := &loop{srv: srv}
	j := &testJob{t: t, rooms: map[string]int32{}}
	st := &stream{srv: srv, peer: j}
	in.open(st)
	room, _ := in.acquire("live://1", l)
	in.release(room, l)
	now := time.Now()
	in.sweep(now.Add(roomLinger / 2))
	if _, ok := j.rooms["live://1"]; !ok || in.get("live://1") != room {
		t.Fatal("the room was withdrawn too early")
	}
	again, ready := in.acquire("live://1", l)
	if again != room || ready {
		t.Fatalf("joined again: same %v ready %v, want the same room, still to be confirmed", again == room, ready)
	}
	in.release(room, l)
	in.sweep(now.Add(roomLinger + time.Second)) // the first entry is too old, the room is not
	if in.get("live://1") != room && in.get("live://1") != nil {
		t.Fatal("another room took its place")
	}
	in.sweep(now.Add(3 * roomLinger))
	if _, ok := j.rooms["live://1"]; ok || in.get("live://1") != nil {
		t.Fatal("the room was never withdrawn")
	}
	if len(in.empty) != 0 {
		t.Fatalf("%d entries are left", len(in.empty))
	}
}
