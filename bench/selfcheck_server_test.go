package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/pkg/testkit"
)

const (
	goimBusy  = `{"code":-500,"message":"kafka: no broker"}`
	goimWrong = `{"code":-400,"message":""}`
)

// What becomes of a push is accepted, refused or unknown by its answer, and what is
// delivered is held against that.
func checkAnswers(t *testing.T) {
	t.Parallel()
	const total = 60
	f := func(name string, refused, unknown int64, w want, pushes map[int]answer, args ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newFake(t, plan{pushes: pushes})
			args := append([]string{"-n3", "--total=60", "--lanes=1"}, args...)
			x := server.bench(t, "push", args...)
			w.check(t, server, x)
			p := x.Flows[0]
			if p.Sent != total || p.Refused != refused || p.Unknown != unknown || p.Accepted != total-refused-unknown {
				t.Errorf("sent %d, accepted %d, refused %d, unknown %d, want %d refused, %d unknown; %v", p.Sent, p.Accepted, p.Refused, p.Unknown, refused, unknown, p.Why)
			}
			why := int64(0)
			for _, n := range p.Why {
				why += n
			}
			if why != refused+unknown {
				t.Errorf("reasons %v, want %d", p.Why, refused+unknown)
			}
		})
	}
	f("refused", 4, 0, want{}, map[int]answer{
		5: {status: 503}, 7: {status: 503}, 9: {body: goimWrong}, 60: {status: 400, body: goimWrong},
	})
	f("refused and delivered", 2, 0, want{faults: swarm.Faults{Unsent: 6}, failures: []string{"6 messages delivered though refused"}},
		map[int]answer{7: {status: 503, deliver: true}, 60: {body: goimWrong, deliver: true}})
	f("unknown", 0, 9, want{}, map[int]answer{
		3: {body: goimBusy}, 5: {body: goimBusy, deliver: true}, 7: {status: 500}, 9: {status: 500, deliver: true},
		11: {how: hangUp}, 13: {how: hangUp, deliver: true}, 15: {body: "{}"}, 17: {status: 404}, 59: {status: 429, deliver: true},
	})
	f("silent", 0, 2, want{}, map[int]answer{20: {how: silent}, 40: {how: silent, deliver: true}}, "--patience=2s")
	f("im", 1, 1, want{}, map[int]answer{20: {body: `{"msg":"\u7f3a","data":[],"code":1}`}, 40: {status: 500, deliver: true}}, "--api=im")
	f("all refused", 60, 0, want{failures: []string{"pushes: none of 60 pushes was accepted: map[HTTP 503 busy:60]"}}, func() map[int]answer {
		m := map[int]answer{}
		for k := range total + 1 {
			m[k] = answer{status: 503, body: "busy"}
		}
		return m
	}())
}

// A message lost and another one delivered though it was refused: as many have come as
// should have, and they are not those.
func checkRefusedInPlaceOfLost(t *testing.T) {
	t.Parallel()
	server := newFake(t, plan{
		pushes:   map[int]answer{7: {status: 503, deliver: true}},
		messages: map[place]lie{{0, 12}: {what: dropped}, {1, 12}: {what: dropped}, {2, 12}: {what: dropped}},
	})
	want{
		faults: swarm.Faults{Lost: 3, Unsent: 3}, did: deeds{dropped: 3},
		failures: []string{"3 messages lost", "3 messages delivered though refused", "3 clients lack messages, 0 lack none"},
	}.check(t, server, server.bench(t, "push", "-n3", "--total=60", "--lanes=1"))
}

// Clients that do not get in are counted, with the reason, and miss nothing.
func checkRefusedClients(t *testing.T) {
	t.Parallel()
	f := func(name string, p plan, refused map[string]int, did deeds, args ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newFake(t, p)
			x := server.bench(t, "push", append([]string{"-n9", "--total=50", "--lanes=1"}, args...)...)
			n := 0
			for why, k := range refused {
				n += k
				found := 0
				for got, k := range x.Connect.Refused {
					if strings.HasPrefix(got, why) {
						found += k
					}
				}
				if found != k {
					t.Errorf("refused %v, want %d times %q", x.Connect.Refused, k, why)
				}
			}
			if sum(x.Connect.Refused) != n || len(x.Failures) != 1 || !strings.HasPrefix(x.Failures[0], number(n)+" of 9 clients did not get in: ") {
				t.Errorf("refused %v, failures %q", x.Connect.Refused, x.Failures)
			}
			want{failures: x.Failures, did: did}.check(t, server, x)
			if got := x.Deliver.Messages; got != 50*int64(9-n) {
				t.Errorf("%d messages, want %d", got, 50*(9-n))
			}
		})
	}
	f("503", plan{refuse: 4}, map[string]int{"upgrade refused: ": 4}, deeds{refused: 4})
	f("TLS", plan{rude: true}, map[string]int{"TLS: connection reset by peer": 3}, deeds{})
	f("no answer", plan{mute: map[int]bool{0: true, 1: true, 5: true}}, map[string]int{"no answer in time while joining": 3}, deeds{muted: 3}, "--patience=3s")
}

// Whoever leaves all clients without an answer to heartbeats is found out too.
func checkDeaf(t *testing.T) {
	t.Parallel()
	server := newFake(t, plan{deaf: true})
	x := server.bench(t, "mixed", "-n6", "--rooms=2", "--warm-up=0s", "-d1s", "--heartbeat=100ms", "--churn=0")
	want{}.check(t, server, x)
	if a, b := x.Figures["heartbeats answered"], x.Figures["heartbeats not answered in time"]; a != 0 || b < 6 {
		t.Errorf("%v answered, %v not", a, b)
	}
}

// A run in which everybody has stopped reading, or was cut off, has shown nothing.
func checkNobodyLeft(t *testing.T) {
	t.Parallel()
	server := newFake(t, plan{})
	want{failures: []string{"nothing was checked: there is no client left that counts"}}.check(t, server,
		server.bench(t, "fanout", "-n6", "--stalled=1", "--warm-up=0s", "-d200ms"))
	server = newFake(t, plan{messages: map[place]lie{{0, 1}: {what: closed}, {1, 1}: {what: closed}, {2, 1}: {what: closed}}})
	want{
		ended: map[string]int{"closed by the server": 3}, did: deeds{closed: 3},
		failures: []string{"nothing was checked: there is no client left that counts", "3 open connections ended: closed by the server (3)"},
	}.check(t, server, server.bench(t, "push", "-n3", "--total=10", "--lanes=1"))
}

// What a server delays shows: lower bounds of latency are facts, however loaded the
// machine is.
func checkDelay(t *testing.T) {
	t.Parallel()
	server := newFake(t, plan{delay: 300 * time.Millisecond, messages: map[place]lie{{1, 50}: {what: delayed, wait: time.Second}}})
	x := server.bench(t, "push", "-n3", "--total=100", "--rate=500", "--lanes=8")
	want{did: deeds{delayed: 1}}.check(t, server, x)
	// A connection is a queue: the messages behind the late one are as late.
	if p := x.Deliver.Latency; p.Count != 300 || p.P50 < 300 || p.Max < 1300 {
		t.Errorf("latency %+v", p)
	}
	if p := x.Flows[0].Answer; p.Count != 100 || p.P50 <= 0 {
		t.Errorf("answers %+v", p)
	}
}

// A server that stalls for a second, when 100 messages are due: an open loop counts
// each of them from when it was due, a closed one sees one that was late.
func checkStall(t *testing.T) {
	t.Parallel()
	const total, at, gap = 300, 100, 10 * time.Millisecond
	p := plan{pushes: map[int]answer{at: {stall: time.Second, deliver: true}}}
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		server := newFake(t, p)
		x := server.bench(t, "push", "-n3", "--total=300", "--lanes=1", "--rate=100")
		want{did: deeds{stalled: 1}}.check(t, server, x)
		for k, due := range server.dues {
			if k > 0 && (due-server.dues[k-1]-gap).Abs() > time.Microsecond {
				t.Fatalf("message %d was due %v after the one before it, want %v", k+1, due-server.dues[k-1], gap)
			}
		}
		// Message at+i is at least 1 s - i·10 ms late: a tenth of all are behind i = 30.
		if p := x.Deliver.Latency; p.Count != 3*total || p.P90 < 700 || p.P99 < 970 || p.Max < 1000 {
			t.Errorf("latency %+v", p)
		}
		if p := x.Flows[0].Answer; p.Count != total || p.P90 < 700 || p.Max < 1000 {
			t.Errorf("answers %+v", p)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		server := newFake(t, p)
		x := server.bench(t, "push", "-n3", "--total=300", "--lanes=1")
		want{did: deeds{stalled: 1}}.check(t, server, x)
		if wait := server.dues[at] - server.dues[at-1]; wait < time.Second {
			t.Errorf("the next message was due %v after the one that was stalled", wait)
		}
		if p := x.Deliver.Latency; p.Count != 3*total || p.Max < 1000 {
			t.Errorf("latency %+v", p)
		}
	})
}

// A server that stalls until the end: what was due and could not be sent any more is in
// no percentile, so it is told.
func checkStallAtTheEnd(t *testing.T) {
	t.Parallel()
	server := newFake(t, plan{pushes: map[int]answer{5: {stall: 4 * time.Second, deliver: true}}})
	x := server.bench(t, "fanout", "-n3", "--lanes=1", "-r100", "--warm-up=0s", "-d1s", "--cool-down=5s")
	want{did: deeds{stalled: 1}}.check(t, server, x)
	// At least 1 s had passed since the flow began but for 10 ms; 5 were sent.
	p := x.Flows[0]
	if p.Sent != 5 || p.Behind < 94 || !slices.ContainsFunc(x.Warnings, func(s string) bool { return strings.Contains(s, number(p.Behind)+" that were due had not been sent") }) {
		t.Errorf("sent %d, behind %d, warnings %q", p.Sent, p.Behind, x.Warnings)
	}
}

// A run that is cancelled while it is measured checks and reports what it has.
func checkCancelled(t *testing.T) {
	t.Parallel()
	for command, args := range map[string][]string{
		"fanout": {"-n6", "--rate=100", "--warm-up=0s", "-d10m"},
		"push":   {"-n6", "--lanes=2", "--total=100000000"},
	} {
		server := newFake(t, plan{})
		ctx, cancel := context.WithCancel(context.Background())
		go func() { // ends when the run does, which needs it
			testkit.Eventually(t, time.Minute, func() bool { return server.deeds()[pushed] > 50 }, "50 pushes")
			cancel()
		}()
		x := server.benchUntil(ctx, t, command, args...)
		cancel()
		want{}.check(t, server, x)
		if !x.Cancelled || !strings.Contains(x.text, "cancelled after") || x.Flows[0].Accepted < 50 {
			t.Errorf("cancelled: %v, %d accepted:\n%s", x.Cancelled, x.Flows[0].Accepted, x.text)
		}
	}
}
