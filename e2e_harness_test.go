package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// harness: every command of halley bench, small, over every transport. What it checks
// itself, that everybody gets everything once and in order, is the test.
func harness(t *testing.T, s *system) {
	g := s.gateways[len(s.gateways)-1].ready.Gateway
	ws, tcp, wss := "ws://"+g["ws_addr"]+"/sub", "tcp://"+g["tcp_addr"], "wss://"+g["wss_addr"]+"/sub"
	short := []string{"--warm-up", "100ms", "-d", "500ms"}
	for _, c := range []struct {
		name string
		addr []string
		args []string
		want func(r benchResult) bool // what must be in the result besides
	}{
		{"connect", []string{ws, tcp, wss}, []string{"-n", "60", "--hold", "500ms", "--heartbeat", "200ms"},
			func(r benchResult) bool {
				return len(r.Reach) == 2 && r.Reach[0].Reached == 60 && r.Reach[1].Reached == 60
			}},
		{"connect", []string{ws}, []string{"-n", "60", "--procs", "3", "--hold", "0s", "--connect-rate", "200"},
			func(r benchResult) bool { return r.Clients.Processes == 3 && r.Reach[1].Reached == 60 }},
		{"storm", []string{ws}, []string{"-n", "60", "--rounds", "2", "--pause", "10ms"},
			func(r benchResult) bool { return r.Figures["reconnects/s median"] > 0 && r.Reach[0].Reached == 60 }},
		{"fanout", []string{ws}, append([]string{"-n", "60", "--rooms", "3", "-r", "60", "--burst", "5"}, short...), delivered},
		{"latency", []string{tcp}, append([]string{"-n", "20", "--to", "keys", "-r", "50", "--crowd", "40", "--crowd-rate", "5"}, short...),
			func(r benchResult) bool { return delivered(r) && r.Crowd.Messages > 0 }},
		{"push", []string{wss}, []string{"-n", "20", "--to", "mids", "--lanes", "5", "--total", "200"},
			func(r benchResult) bool { return r.Flows[0].Accepted == 200 && r.Deliver.Messages == 200 }},
		{"push", []string{ws}, []string{"-n", "20", "--to", "all", "--api", "im", "--lanes", "3", "--total", "30"},
			func(r benchResult) bool { return r.Flows[0].Accepted == 30 && r.Deliver.Messages == 600 }},
		{"mixed", []string{ws, tcp}, append([]string{"-n", "60", "--rooms", "6", "--churn", "20", "--heartbeat", "1s"}, short...),
			func(r benchResult) bool { return delivered(r) && len(r.Flows) == 4 }},
		{"floor", []string{ws}, []string{"-n", "40", "--pairs", "3", "-r", "20", "--block", "500ms"},
			func(r benchResult) bool { return len(r.Floor.Ratio) == 3 }},
	} {
		args := append([]string{c.name, "--addr", strings.Join(c.addr, ",")}, c.args...)
		if r := s.bench(t, args); !c.want(r) {
			t.Errorf("bench %v: %+v", args, r)
		}
	}
}

// benchResult is of a result what is looked at here.
type benchResult struct {
	Clients struct{ Processes int }
	Flows   []struct{ Accepted, Sent int64 }
	Deliver struct{ Messages int64 }
	Crowd   struct{ Messages int64 }
	Reach   []struct{ Reached int64 }
	Floor   struct{ Ratio []float64 }
	Figures map[string]float64
	Servers []struct {
		Name   string
		Memory struct{ RSS int64 }
	}
}

func delivered(r benchResult) bool { return r.Deliver.Messages > 0 && r.Flows[0].Accepted > 0 }

// bench runs halley bench against s; it must find no fault.
func (s *system) bench(t *testing.T, args []string) (r benchResult) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "result.json")
	args = append(append([]string{"bench"}, args...), "--rest", "http://"+s.logics[0].ready.Logic["rest_addr"], "--quiet", "--json", file,
		"--server-pid", fmt.Sprint("gateway=", s.gateways[0].cmd.Process.Pid))
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("halley %v: %v\n%s", args, err, out)
	}
	if !strings.Contains(string(out), "checked: nothing lost") {
		t.Errorf("halley %v:\n%s", args, out)
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || r.Servers[0].Memory.RSS == 0 {
		t.Fatalf("%s: %v\n%s", file, err, text)
	}
	return r
}
