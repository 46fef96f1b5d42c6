package bench

import (
	"bytes"
	"strings"
	"testing"
)

// What is wrong with a command line is said before anything is started: the error names
// the flag and says what is allowed.
func TestOptionErrors(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		args := strings.Fields(line)
		if !strings.Contains(line, "--addr") {
			args = append(args, "--addr=tcp://127.0.0.1:1") // where nobody is, if it is not seen that something is wrong
		}
		err := runLine(t.Context(), args, &bytes.Buffer{})
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %v, want one with %q", line, err, w)
			}
		}
	}
	f("fanout --addr=http://127.0.0.1:1", "--addr", "ws://HOST:PORT/sub")
	f("fanout --addr=", "--addr", "at least one")
	f("fanout --rest=127.0.0.1:3111", "--rest", "http://HOST:PORT")
	f("fanout --rest=https://127.0.0.1:3111", "--rest", "http://HOST:PORT")
	f("fanout --api=x", "--api", `"goim","im"`)
	f("fanout --ack=later", "--ack", "accepted or queued")
	f("fanout --server-pid=x", "--server-pid", "NAME=PID")
	f("fanout --procs=-1", "--procs from 0")
	f("fanout --per-source=0", "--per-source from 1")
	f("fanout --source-net=201", "--source-net from -1 to 200")
	f("fanout --patience=0s", "--patience", "above zero")
	f("fanout --cool-down=0s", "--cool-down", "above zero")
	f("fanout --op=0", "--op", "above zero")
	f("fanout --mid-base=0", "--mid-base", "above zero")
	f("fanout --connect-rate=-1", "--connect-rate", "not below")
	f("fanout --duration=1ms", "--duration", "at least 100ms")
	f("fanout --warm-up=-1s", "--warm-up", "not below zero")
	f("fanout --rate=0", "--rate 0", "more than zero")
	f("fanout --stalled=-1", "--stalled -1", "zero or more")
	f("fanout --crowd=-1", "--crowd -1", "zero or more")
	f("fanout --crowd=5 --crowd-rate=0", "--crowd-rate", "more than zero")
	f("fanout --heartbeat=-1s", "--heartbeat -1s", "zero or more")
	f("fanout -n10 --rooms=3", "--connections 10, --rooms 3", "same size")
	f("fanout -n0", "--connections 0")
	f("fanout --to=nobody", "--to", `"room","mids","keys","all"`)
	f("fanout --size=19", "--size", "20 to 65536")
	f("fanout --burst=0", "--burst", "at least one")
	f("fanout --lanes=65", "--lanes", "at most 64")
	f("latency --rate=-1", "--rate -1")
	f("push --total=0", "--total from 1")
	f("push --rate=-1", "--rate not below zero")
	f("connect --reach=some", `--reach "some"`, "all, room or none")
	f("connect -n0", "--connections from 1")
	f("storm --rounds=0", "--rounds from 1")
	f("mixed --churn-every=0", "--churn-every from 1")
	f("mixed --heartbeat=-1s", "--heartbeat -1s", "zero or more")
	f("mixed --room-rate=-1", "--room-rate", "not below zero")
	f("mixed --room-rate=0 --mid-rate=0 --key-rate=0 --all-rate=0", "no rate")
	f("floor", "--server-pid")
	f("floor --server-pid=1 --pairs=2", "--pairs 2", "3 to 64")
	f("floor --server-pid=1 --rate=0", "--rate above zero")
	f("nothing", "nothing")
}

// How many processes clients need.
func TestProcesses(t *testing.T) {
	f := func(o options, n, want int) {
		t.Helper()
		if got, err := o.processes(n); got != want || err != nil {
			t.Errorf("%d clients, --procs %d: %d processes, %v; want %d", n, o.Procs, got, err, want)
		}
	}
	f(options{}, 1, 1)
	f(options{Procs: 3}, 10, 3)
	f(options{Procs: 20}, 10, 10)
	if _, err := (&options{Procs: 1}).processes(1 << 30); err == nil || !strings.Contains(err.Error(), "--procs 1") {
		t.Errorf("error %v", err)
	}
}

// Clients on this machine have source addresses of their own, others have not.
func TestNet(t *testing.T) {
	f := func(want, net int, addrs ...string) {
		t.Helper()
		if got := (&options{SourceNet: net, Addr: addrs}).net(); got != want {
			t.Errorf("--source-net %d, %v: %d, want %d", net, addrs, got, want)
		}
	}
	f(64, -1, "ws://127.0.0.1:1/sub", "tcp://localhost:2", "wss://127.3.2.1:3/sub")
	f(0, -1, "ws://127.0.0.1:1/sub", "tcp://10.0.0.1:2")
	f(0, 0, "ws://127.0.0.1:1/sub")
	f(7, 7, "ws://10.0.0.1:1/sub")
}
