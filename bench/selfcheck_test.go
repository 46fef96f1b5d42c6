package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/pkg/testkit"
)

// The workers of a run are this program.
func TestMain(m *testing.M) {
	if len(os.Args) < 4 || os.Args[1] != "bench" || os.Args[2] != "worker" {
		// Runs wait more than they work.
		flag.Parse()
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	c := Cmd{Worker: workerCmd{Role: os.Args[3]}}
	if err := c.Run(context.Background(), "worker", Env{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// outcome is what a run has shown: its result, what it has printed, and its error.
type outcome struct {
	*Result
	text string
	err  error
}

// bench runs a command line against f, as main would; options of f's come first, so
// that args may say otherwise.
func (f *fake) bench(t *testing.T, command string, args ...string) outcome {
	t.Helper()
	return f.benchUntil(context.Background(), t, command, args...)
}

// benchUntil is bench, cancelled with ctx.
func (f *fake) benchUntil(ctx context.Context, t *testing.T, command string, args ...string) outcome {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	// Clients take turns: client 0 is on WebSocket, 1 on TCP, 2 on TLS, and so on.
	args = append([]string{
		command, "--addr=" + strings.Join(f.addrs, ","), "--rest=" + f.rest, "--json=" + file, "--cool-down=1500ms",
	}, args...)
	var text bytes.Buffer
	err := runLine(ctx, args, &text)
	x := outcome{Result: &Result{}, text: text.String(), err: err}
	if err != nil && !errors.Is(err, ErrFailed) {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, x.Result)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// runLine is main for a command line of bench.
func runLine(ctx context.Context, args []string, out *bytes.Buffer) error {
	var c Cmd
	k, err := kong.New(&c)
	if err != nil {
		return err
	}
	parsed, err := k.Parse(args)
	if err != nil {
		return err
	}
	return c.Run(ctx, parsed.Selected().Name, Env{Args: args, Version: "test", Stdout: out, Stderr: &bytes.Buffer{}})
}

// want is what a run must have shown, all of it: what is not named must be zero.
type want struct {
	faults   swarm.Faults
	foreign  int64
	ended    map[string]int // reasons begin so
	failures []string       // each of them in this order
	did      deeds          // what the fake must have done, besides pushed and delivered
}

func (w want) check(t *testing.T, f *fake, x outcome) {
	t.Helper()
	did := f.deeds()
	delete(did, pushed)
	delete(did, delivered)
	if !maps.Equal(did, w.did) {
		t.Errorf("the fake has done %v, want %v: the test is wrong, not the harness", did, w.did)
	}
	if x.Faults != w.faults {
		t.Errorf("faults  %+v\n   want %+v", x.Faults, w.faults)
	}
	if x.Foreign != w.foreign {
		t.Errorf("%d foreign messages, want %d", x.Foreign, w.foreign)
	}
	if len(x.Ended) != len(w.ended) || !maps.Equal(x.Ended, w.ended) && sum(w.ended) > 0 {
		t.Errorf("ended %v, want %v", x.Ended, w.ended)
	}
	if !slices.Equal(x.Failures, w.failures) {
		t.Errorf("failures %q\n    want %q", x.Failures, w.failures)
	}
	if failed := errors.Is(x.err, ErrFailed); failed != (len(w.failures) > 0) {
		t.Errorf("error %v with %d failures", x.err, len(w.failures))
	}
	for _, s := range w.failures {
		if !strings.Contains(x.text, "FAILED: "+s+"\n") {
			t.Errorf("it has not printed %q:\n%s", s, x.text)
		}
	}
	if ok := strings.Contains(x.text, "checked: nothing lost"); ok != (len(w.failures) == 0) {
		t.Errorf("it has printed that all is well: %v, with %d failures", ok, len(w.failures))
	}
}

// The harness is checked against servers that do what the harness is there to find.
func TestSelfCheck(t *testing.T) {
	testkit.LeakCheck(t)
	for _, x := range []struct {
		name  string
		check func(t *testing.T)
	}{
		{"honest", checkHonest}, {"honest scenarios", checkHonestScenarios},
		{"lies", checkLies}, {"lies together", checkLiesTogether},
		{"answers", checkAnswers}, {"refused in place of lost", checkRefusedInPlaceOfLost},
		{"refused clients", checkRefusedClients}, {"deaf", checkDeaf}, {"nobody left", checkNobodyLeft},
		{"delay", checkDelay}, {"stall", checkStall}, {"stall at the end", checkStallAtTheEnd},
		{"cancelled", checkCancelled},
	} {
		t.Run(x.name, x.check)
	}
}

// A server that does nothing wrong is found to do nothing wrong, and every message is
// counted, whomever it is for and whichever API it comes by.
func checkHonest(t *testing.T) {
	t.Parallel()
	const clients, total = 12, 120
	f := func(name string, each int64, args ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newFake(t, plan{plain: slices.Contains(args, "--op=9")})
			x := server.bench(t, "push", append([]string{"-n12", "--total=120", "--lanes=7"}, args...)...)
			want{}.check(t, server, x)
			if n := server.deeds()[delivered]; x.Deliver == nil || x.Deliver.Messages != int64(n) || x.Deliver.Messages != each*total {
				t.Errorf("delivered %+v; the fake says %d, want %d", x.Deliver, n, each*total)
			}
			if p := x.Deliver.Latency; p.Count != each*total || p.P50 <= 0 || p.Max < p.P50 {
				t.Errorf("latency %+v", p)
			}
			if p := x.Flows[0]; p.Sent != total || p.Accepted != total || p.Refused+p.Unknown != 0 || p.Answer.Count != total || len(p.Why) > 0 {
				t.Errorf("flow %+v", p)
			}
			if x.Connect.Latency.Count != clients || len(x.Connect.Refused) > 0 {
				t.Errorf("connect %+v", x.Connect)
			}
			if h := x.Harness; h.CPU <= 0 || h.PerMessageUS <= 0 {
				t.Errorf("what the harness takes is not told: %+v", h)
			}
		})
	}
	f("room", 4, "--to=room", "--rooms=3")
	f("one room", 12, "--to=room", "--size=20")
	f("mids", 1, "--to=mids", "--procs=2", "--size=5000")
	f("keys", 1, "--to=keys", "--source-net=0")
	f("all", 12, "--to=all", "--rate=500", "--burst=5")
	f("im, room", 12, "--api=im")
	f("im, mids", 1, "--api=im", "--to=mids")
	f("im all the way", 1, "--api=im", "--op=9", "--to=keys")
}

// Likewise in the scenarios that do more than push.
func checkHonestScenarios(t *testing.T) {
	t.Parallel()
	f := func(command string, look func(t *testing.T, x outcome, did deeds), args ...string) {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			server := newFake(t, plan{})
			name, _, _ := strings.Cut(command, ",")
			x := server.bench(t, name, args...)
			did := server.deeds()
			want{did: deeds{beaten: did[beaten]}.without0()}.check(t, server, x)
			look(t, x, did)
		})
	}
	f("mixed", func(t *testing.T, x outcome, did deeds) {
		if len(x.Flows) != 4 || did[beaten] == 0 || x.Figures["heartbeats answered"] == 0 || x.Figures["heartbeats answered"] > float64(did[beaten]) {
			t.Errorf("%d flows, figures %v, did %v", len(x.Flows), x.Figures, did)
		}
	}, "-n30", "--rooms=3", "--warm-up=200ms", "-d1s", "--heartbeat=500ms", "--churn=50", "--stalled=10", "--churn-every=3", "--all-rate=20")
	f("mixed, one client", func(t *testing.T, x outcome, did deeds) {
		if len(x.Flows) != 2 || x.Flows[0].Accepted == 0 || x.Flows[1].Accepted == 0 {
			t.Errorf("flows %+v", x.Flows)
		}
	}, "-n1", "--rooms=1", "--warm-up=0s", "-d500ms", "--churn=0", "--heartbeat=0s", "--room-rate=0", "--all-rate=0")
	f("storm", func(t *testing.T, x outcome, _ deeds) {
		if len(x.Reach) != 1 || x.Reach[0].Reached != 30 || x.Reach[0].Clients != 30 || x.Figures["reconnects/s median"] <= 0 {
			t.Errorf("reach %+v, figures %v", x.Reach, x.Figures)
		}
	}, "-n30", "--room-size=10", "--rounds=2", "--pause=50ms")
	f("connect", func(t *testing.T, x outcome, did deeds) {
		if len(x.Reach) != 2 || x.Reach[0].Reached != 30 || x.Reach[1].Reached != 10 || did[beaten] == 0 || did[pushed] != 2 {
			t.Errorf("reach %+v, did %v", x.Reach, did)
		}
	}, "-n30", "--room-size=10", "--hold=300ms", "--heartbeat=100ms", "--connect-rate=300")
	f("fanout", func(t *testing.T, x outcome, did deeds) {
		if len(x.Flows) != 2 || x.Crowd == nil || x.Crowd.Latency.Count == 0 || x.Deliver.Latency.Count == 0 {
			t.Errorf("flows %+v, crowd %+v", x.Flows, x.Crowd)
		}
	}, "-n30", "--rooms=5", "--warm-up=0s", "-d1s", "--stalled=10", "--crowd=20", "--crowd-rate=50")
	f("floor", func(t *testing.T, x outcome, _ deeds) {
		if f := x.Floor; f == nil || len(f.Server) != 3 || len(f.Floor) != 3 || slices.Min(f.Floor) <= 0 || x.Figures["floor µs/write"] <= 0 || x.Servers[0].Memory.RSS == 0 {
			t.Errorf("floor %+v, figures %v, servers %+v", f, x.Figures, x.Servers)
		}
	}, "-n20", "--rate=20", "--block=500ms", "--pairs=3", fmt.Sprintf("--server-pid=fake=%d", os.Getpid()))
	f("latency", func(t *testing.T, x outcome, did deeds) {
		if len(x.Flows) != 1 || x.Deliver.Latency.Count == 0 {
			t.Errorf("flows %+v, delivered %+v", x.Flows, x.Deliver)
		}
	}, "-n4", "--to=mids", "--warm-up=0s", "-d500ms", "-r50")
}

func (d deeds) without0() deeds {
	maps.DeleteFunc(d, func(_ deed, n int) bool { return n == 0 })
	return d
}

// Each lie is told to a client on WebSocket, one on TCP and one on TLS, and reported as
// what it is, and nothing else is.
func checkLies(t *testing.T) {
	t.Parallel()
	// Clients 0, 1 and 2 are of room 0; 3, 4 and 5 of room 1. All get 150 messages.
	f := func(name string, w want, lies ...lie) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := plan{messages: map[place]lie{}}
			for client := range 3 {
				for i, x := range lies {
					k := 20 + i + 5*client
					if x.last {
						k = 150
					}
					p.messages[place{client, k}] = x
				}
			}
			server := newFake(t, p)
			want := w
			want.did = deeds{}
			for _, x := range lies {
				want.did[x.what] += 3
			}
			want.check(t, server, server.bench(t, "push", "-n6", "--rooms=2", "--total=300", "--lanes=1"))
		})
	}
	lack := "3 clients lack messages, 3 lack none"
	f("dropped", want{faults: swarm.Faults{Lost: 6}, failures: []string{"6 messages lost", lack}}, lie{what: dropped}, lie{what: dropped})
	f("doubled", want{faults: swarm.Faults{Doubled: 3}, failures: []string{"3 messages doubled"}}, lie{what: doubled})
	f("doubled late", want{faults: swarm.Faults{Doubled: 3}, failures: []string{"3 messages doubled"}}, lie{what: echoed, last: true, wait: 300 * time.Millisecond})
	f("doubled 63 later", want{faults: swarm.Faults{Doubled: 3}, failures: []string{"3 messages doubled"}}, lie{what: echoed, behind: 63})
	f("doubled 64 later", want{faults: swarm.Faults{Stale: 3}, failures: []string{"3 messages doubled or reordered"}}, lie{what: echoed, behind: 64})
	f("swapped", want{faults: swarm.Faults{Reordered: 3}, failures: []string{"3 messages reordered"}}, lie{what: swapped, behind: 1})
	f("swapped by 63", want{faults: swarm.Faults{Reordered: 3}, failures: []string{"3 messages reordered"}}, lie{what: swapped, behind: 63})
	f("swapped by 100", want{faults: swarm.Faults{Stale: 3, Lost: 3}, failures: []string{"3 messages lost", "3 messages doubled or reordered", lack}},
		lie{what: swapped, behind: 100})
	f("copied", want{faults: swarm.Faults{Misdelivered: 3}, failures: []string{"3 messages misdelivered"}}, lie{what: copied, to: 4})
	f("moved", want{faults: swarm.Faults{Misdelivered: 3, Lost: 3}, failures: []string{"3 messages lost", "3 messages misdelivered", lack}},
		lie{what: moved, to: 5})
	f("replaced", want{faults: swarm.Faults{Lost: 3}, foreign: 3, failures: []string{"3 messages lost", lack}}, lie{what: replaced})
	f("cut", want{faults: swarm.Faults{Corrupt: 6, Lost: 9}, foreign: 3, failures: []string{"9 messages lost", "6 messages corrupt", lack}},
		lie{what: cut, at: 29}, lie{what: cut, at: 20}, lie{what: cut, at: 19})
	var everywhere []lie
	for at := range 30 {
		everywhere = append(everywhere, lie{what: corrupted, at: at})
	}
	f("corrupted", want{faults: swarm.Faults{Corrupt: 90, Lost: 90}, failures: []string{"90 messages lost", "90 messages corrupt", lack}}, everywhere...)
	f("garbled", want{
		faults: swarm.Faults{Broken: 3}, ended: map[string]int{"broken": 3},
		failures: []string{"3 connections on which something came that the protocol does not allow", "3 open connections ended: broken (3)"},
	}, lie{what: garbled})
	f("closed", want{
		ended: map[string]int{"closed by the server": 3}, failures: []string{"3 open connections ended: closed by the server (3)"},
	}, lie{what: closed})
	f("told to go", want{
		ended:    map[string]int{"close code 1001": 2, "closed by the server": 1},
		failures: []string{"3 open connections ended: close code 1001 (2), and 1 other reasons"},
	}, lie{what: closed, at: 1001})
}

// All at once is told apart.
func checkLiesTogether(t *testing.T) {
	t.Parallel()
	p := plan{messages: map[place]lie{
		{0, 10}: {what: dropped}, {1, 10}: {what: doubled}, {2, 10}: {what: swapped, behind: 3},
		{0, 12}: {what: moved, to: 3}, {1, 12}: {what: corrupted, at: 12}, {2, 12}: {what: copied, to: 4},
		{0, 30}: {what: doubled}, {1, 30}: {what: dropped}, {2, 30}: {what: replaced},
		{0, 40}: {what: swapped, behind: 1}, {1, 40}: {what: echoed, behind: 80}, {2, 40}: {what: cut, at: 25},
		{5, 50}: {what: closed},
	}}
	server := newFake(t, p)
	x := server.bench(t, "push", "-n6", "--rooms=2", "--total=300", "--lanes=1", "--procs=2")
	want{
		faults:  swarm.Faults{Lost: 6, Doubled: 2, Reordered: 2, Stale: 1, Misdelivered: 2, Corrupt: 2},
		foreign: 1, ended: map[string]int{"closed by the server": 1},
		failures: []string{
			"6 messages lost", "2 messages doubled", "2 messages reordered", "1 messages doubled or reordered",
			"2 messages misdelivered", "2 messages corrupt", "3 clients lack messages, 2 lack none",
			"1 open connections ended: closed by the server (1)",
		},
		did: deeds{dropped: 2, doubled: 2, swapped: 2, moved: 1, corrupted: 1, copied: 1, replaced: 1, echoed: 1, cut: 1, closed: 1},
	}.check(t, server, x)
	if len(x.Examples) == 0 || !strings.Contains(x.text, x.Examples[0]) {
		t.Errorf("no examples of faults: %q", x.Examples)
	}
}
