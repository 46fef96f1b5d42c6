package rest_test

import (
	"testing"
	"time"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/spool"
	"github.com/halley-im/halley/pkg/testkit"
)

// The log of accepted pushes is full: nothing is taken over, in anybody's words.
func TestGoldenFull(t *testing.T) {
	testkit.LeakCheck(t)
	r := ready(start(t, options{deps: func(d *logic.Deps) { d.Spool = spool.NewMemory(0, 0) }}))
	golden(t, r, "full",
		"POST /goim/push/keys?keys=a\n\nhi",
		"POST /goim/push/mids?mids=1\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1\n\nhi",
		"POST /goim/push/all?operation=1&ack=queued\n\nhi",
		"POST /goim/push/all?operation=1\nX-Push-Id: order-1\n\nhi",
		"POST /im/push/all"+form+"msg=hi",
		"POST /v1/push/batch\n\n"+`{"pushes":[{"op":1,"all":true,"body":"hi"}]}`,
	)
	if n := r.counter(`halley_logic_pushes_refused_total{reason="spool_full"}`); n != 7 {
		t.Fatalf("%d counted as refused, want 7", n)
	}
}

// The registry is away: questions fail, and pushes that wait for the queue are
// given up.
func TestGoldenRegistryAway(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{
		cfg: func(c *logic.Config) { c.QueuedTimeout, c.DrainTimeout = 50*time.Millisecond, time.Millisecond },
		deps: func(d *logic.Deps) {
			away := awayRegistry{d.Registry.(*memory.Registry)}
			d.Registry, d.Rooms = away, away
		},
	})), "registry_away",
		"GET /goim/online/top?type=live&limit=1",
		"GET /goim/online/room?type=live&rooms=1",
		"GET /im/online/top?type=live&limit=1",
		"GET /im/online/room?type=live&rooms=1",
		"POST /goim/push/keys?keys=a&ack=queued\n\nhi",
		"POST /goim/push/mids?mids=1&ack=queued\n\nhi",
		"POST /v1/push/batch?ack=queued\n\n"+`{"pushes":[{"op":1,"all":true,"body":"hi"}]}`,
	)
}

// The queue hangs: what became of a push that waits for it is not known. It also
// shows logic.goim_ack.
func TestGoldenQueueAway(t *testing.T) {
	testkit.LeakCheck(t)
	r := ready(start(t, options{cfg: func(c *logic.Config) {
		c.QueuedTimeout, c.GoimAck = time.Second, logic.AckQueued
	}}))
	r.queue.hold()
	golden(t, r, "queue_away",
		"POST /goim/push/all?operation=1\n\nhi",
		"POST /goim/push/all?operation=1&ack=accepted\n\nhi",
		"POST /v1/push/batch?ack=queued\n\n"+`{"pushes":[{"op":1,"room":"live://1","body":"hi"}]}`,
	)
}

func TestGoldenPanic(t *testing.T) {
	testkit.LeakCheck(t)
	r := ready(start(t, options{deps: func(d *logic.Deps) { d.Rooms = brokenRooms{} }}))
	golden(t, r, "panic", "GET /goim/online/top?type=live&limit=1", "GET /im/online/room?type=live&rooms=1", "GET /goim/online/total")
	if n := r.counter("halley_logic_http_panics_total"); n != 2 {
		t.Fatalf("%d panics counted, want 2", n)
	}
	if n := r.counter(`halley_logic_http_answers_total{api="goim",status="500"}`); n != 1 {
		t.Fatalf("%d answers with 500 counted, want 1", n)
	}
}
