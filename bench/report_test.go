package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/swarm"
)

// sampleRun is the n-th run of a target, which delivers so much.
func sampleRun(target string, n int, perSecond float64) *Result {
	return &Result{
		Scenario: "fanout", Target: target, Version: "v1", Time: time.Date(2026, 11, 1, 12, n, 0, 0, time.UTC),
		Command: []string{"bench", "fanout", "--server-pid", "all=4711", "--json", target + ".json", "--label", "it's one"},
		Machine: Machine{Kernel: "6.1", CPU: "a CPU", Cores: 2, Memory: 8e9, Go: "go1.26"},
		Clients: Clients{Connections: 500, RoomSize: 500},
		Connect: &Connect{PerSecond: 1000, Latency: Percentiles{Count: 500, P50: 1, P90: 2, P99: 3, Max: 4}},
		Flows:   []Flow{{Name: "pushes", Offered: 50, Sent: 500, Accepted: 500, PerSecond: 50, Answer: Percentiles{Count: 50, P50: 5, P90: 6, Max: 7}}},
		Deliver: &Deliver{Messages: 1000, PerSecond: perSecond, Latency: Percentiles{Count: 1000, P50: 10, P90: 20, P99: 30, P999: 40, Max: 60}},
		Servers: []Server{{Name: "all", CPU: 2, Cores: 0.5, PerCPU: 500, PerWrite: 2, Memory: Memory{RSS: 30e6}, PerConn: 800}},
		Series:  []Point{{Second: 1, PerSecond: perSecond, P99: 30, Cores: 0.5}, {Second: 2, PerSecond: perSecond, P99: 20, Cores: 0.4}},
	}
}

// markdownOf is what report prints of runs, which come in order of time.
func markdownOf(t *testing.T, runs ...*Result) string {
	t.Helper()
	var out bytes.Buffer
	if err := newReport(runs).print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// cells are those of the row of that name in the first table that has it; nil if none has.
func cells(text, name string) (list []string) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "| "+name+" |"); ok {
			for _, cell := range strings.Split(strings.TrimSuffix(rest, "|\n"), "|") {
				list = append(list, strings.TrimSpace(cell))
			}
			return list
		}
	}
	return nil
}

func wantCells(t *testing.T, text, name string, want ...string) {
	t.Helper()
	if got := cells(text, name); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: cells %q, want %q", name, got, want)
	}
}

func TestReportPairsRunsInOrderOfTime(t *testing.T) {
	text := markdownOf(t,
		sampleRun("goim", 1, 100), sampleRun("halley", 2, 200),
		sampleRun("goim", 3, 400), sampleRun("halley", 4, 400),
		sampleRun("goim", 5, 200), sampleRun("halley", 6, 600),
		sampleRun("halley", 7, 1000)) // has no partner
	if head := "\n| | halley, 4 runs | goim, 3 runs | halley / goim, 3 pairs |\n"; !strings.Contains(text, head) {
		t.Errorf("no %q in:\n%s", head, text)
	}
	// 200/100, 400/400, 600/200: not one median by the other, which would be 2.50.
	wantCells(t, text, "delivered/s", "500 (200–1,000 of 4)", "200 (100–400 of 3)", "2.00 ×(1.00–3.00)")
}

func TestReportKeepsPairsWhereAValueIsMissing(t *testing.T) {
	first := sampleRun("halley", 1, 100)
	first.Deliver.Latency.Count = 99 // too few for a p99
	text := markdownOf(t, first, sampleRun("goim", 2, 100), sampleRun("halley", 3, 100), sampleRun("goim", 4, 100))
	wantCells(t, text, "latency p99, ms", "30.0 (1 of 2 runs)", "30.0 (30.0–30.0 of 2)", "1.00, 1 of 2 pairs")
	wantCells(t, text, "latency p90, ms", "20.0 (20.0–20.0 of 2)", "20.0 (20.0–20.0 of 2)", "1.00 ×(1.00–1.00)")
}

func TestReportOmitsWhatNoRunHas(t *testing.T) {
	text := markdownOf(t, sampleRun("halley", 1, 100))
	wantCells(t, text, "latency p99.9, ms", "40.0")
	wantCells(t, text, "refused", "0")
	wantCells(t, text, "all servers: messages per CPU-second", "500")
	for _, name := range []string{
		"latency p99.99, ms", "answer p99, ms", "messages per frame", "kernel: slab bytes per connection", "all: cores", "lost", "runs failed",
	} {
		if got := cells(text, name); got != nil {
			t.Errorf("%s is shown: %q", name, got)
		}
	}
	if !strings.Contains(text, "No run has failed.") {
		t.Error("it is not said that nothing has failed")
	}
}

func TestReportOfServersWithSeveralNames(t *testing.T) {
	goim := sampleRun("goim", 2, 100)
	goim.Servers = []Server{
		{Name: "comet", CPU: 3, Cores: 0.75, PerCPU: 300, PerWrite: 1, Memory: Memory{RSS: 20e6}},
		{Name: "logic", CPU: 1, Cores: 0.25, PerCPU: 900, PerWrite: 9, Memory: Memory{RSS: 10e6}},
	}
	text := markdownOf(t, sampleRun("halley", 1, 100), goim)
	wantCells(t, text, "all servers: cores", "0.500", "1.00", "0.500")
	wantCells(t, text, "all servers: messages per CPU-second", "500", "225", "2.22")
	wantCells(t, text, "all servers: messages per write", "2.00", "0.900", "2.22")
	wantCells(t, text, "comet: cores", "–", "0.750", "–")
}

// Every fault that a result can have is in the table, even where the median is zero.
func TestReportNeverHidesFaults(t *testing.T) {
	kinds := reflect.TypeFor[swarm.Faults]().NumField()
	clean := strings.Count(markdownOf(t, sampleRun("halley", 1, 100)), "\n| ")
	for i := range kinds {
		bad := sampleRun("halley", 2, 100)
		reflect.ValueOf(&bad.Faults).Elem().Field(i).SetInt(7)
		text := markdownOf(t, sampleRun("halley", 1, 100), bad, sampleRun("halley", 3, 100))
		if !strings.Contains(text, "| **7**, in 1 of 3 runs |") || strings.Count(text, "\n| ") != clean+1 {
			t.Errorf("%s is not shown:\n%s", reflect.TypeFor[swarm.Faults]().Field(i).Name, text)
		}
	}
	bad := sampleRun("halley", 2, 100)
	bad.Deliver.Messages, bad.Deliver.PerSecond, bad.Deliver.Latency = 0, 0, Percentiles{}
	bad.Connect.Refused, bad.Ended = map[string]int{"refused": 2}, map[string]int{"reset": 3, "eof": 1}
	bad.Flows[0].Unknown, bad.Foreign, bad.Cancelled = 5, 6, true
	bad.Reach = []Reach{{To: "one push to all", Clients: 500, Reached: 492}}
	bad.Failures = []string{"4 open connections ended: reset (3), and 1 other reasons | *"}
	text := markdownOf(t, sampleRun("halley", 1, 100), bad)
	wantCells(t, text, "delivered/s", "50.0 (0–100 of 2)")
	wantCells(t, text, "clients that did not get in", "**2**, in 1 of 2 runs")
	wantCells(t, text, "connections that ended", "**4**, in 1 of 2 runs")
	wantCells(t, text, "pushes without an answer", "**5**, in 1 of 2 runs")
	wantCells(t, text, "messages of somebody else", "**6**, in 1 of 2 runs")
	wantCells(t, text, "one push to all: clients not reached", "**8**, in 1 of 2 runs")
	wantCells(t, text, "runs cancelled", "**1**, in 1 of 2 runs")
	wantCells(t, text, "runs failed", "**1**, in 1 of 2 runs")
	if !strings.Contains(text, "\nhalley, run 2 (12:02:00): "+bad.Failures[0]+"\n") {
		t.Errorf("the failure is not there as it is:\n%s", text)
	}
}

func TestReportCountsWarnings(t *testing.T) {
	var runs []*Result
	for i, used := range []string{"91", "99.5", "1,000"} {
		r := sampleRun("halley", i, 100)
		r.Warnings = []string{"client-bound: a process of clients used " + used + " % of a CPU"}
		runs = append(runs, r)
	}
	runs[2].Target = "goim"
	if text := markdownOf(t, runs...); !strings.Contains(text, "- 3 times (halley 2, goim 1): client-bound: a process of clients used 91 % of a CPU\n") {
		t.Error(text)
	}
}

func TestReportSetsLabelsAndSizesApart(t *testing.T) {
	labelled, larger := sampleRun("halley", 2, 300), sampleRun("halley", 3, 100)
	labelled.Label, larger.Clients.Connections = "a|b", 5000
	text := markdownOf(t, sampleRun("halley", 1, 100), labelled, larger)
	for _, want := range []string{"## fanout\n", "### no label\n", "### a\\|b\n", "**Runs of different size are in this table**", "5,000 clients, 500 to a room"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Count(text, "different size") != 1 {
		t.Error("runs of one size are said to be of several")
	}
}

func TestReportHeader(t *testing.T) {
	other := sampleRun("halley", 30, 100)
	other.Command[3] = "all=815,9"
	text := markdownOf(t, sampleRun("halley", 1, 100), other)
	for _, want := range []string{
		"| machine | a CPU, 2 cores, 8.0 GB, Linux 6.1 |", "| Go | go1.26 |", "| halley bench | v1 |",
		"| runs | 2, 2026-11-01 12:01:00 to 2026-11-01 12:30:00 UTC |",
		"\nhalley bench fanout --server-pid all=PID --label 'it'\\''s one'\n", "\nhalley bench fanout --server-pid all=PID,PID --label",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	other.Machine.Cores = 64
	if text := markdownOf(t, sampleRun("halley", 1, 100), other); !strings.Contains(text, "different machines") {
		t.Error("two machines are not told apart")
	}
}

// What servers are called and where they listen may differ each time.
func TestReportCommandsAreShort(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got := command(args); got != "halley "+want {
			t.Errorf("%q is %q, want %q", args, got, want)
		}
	}
	f("push --addr tcp://a:1,tcp://b:2,tcp://c:3 -n 5", "push", "--addr", "tcp://a:1,tcp://b:2,tcp://c:3", "-n", "5")
	f("push --addr tcp://a:1,…", "push", "--addr", "tcp://a:1,tcp://b:2,tcp://c:3,tcp://d:4")
	f("push --addr=tcp://a:1,… --rest=http://a:1,…", "push", "--addr=tcp://a:1,b,c,d", "--json=x", "--rest=http://a:1,b,c,d,e")
	f("push --server-pid logic=PID,gateway=PID,…", "push", "--server-pid", "logic=1,gateway=2,gateway=3,gateway=4", "--json", "x")
	f("push --server-pid=all=PID,PID", "push", "--server-pid=all=7,8")
	f("push --label a,b,c,d,e", "push", "--label", "a,b,c,d,e")
}

// Where it is about getting in or about answers, their times are drawn.
func TestReportChartsOfScenarios(t *testing.T) {
	f := func(scenario string, want ...string) {
		t.Helper()
		r := sampleRun("halley", 1, 100)
		r.Scenario, r.Figures = scenario, map[string]float64{"reconnects/s median": 7}
		dir := t.TempDir()
		if err := newReport([]*Result{r}).draw(dir); err != nil {
			t.Fatal(err)
		}
		var got []string
		charts, _ := filepath.Glob(dir + "/*")
		for _, name := range charts {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), scenario+"-"), ".svg"))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: charts %q, want %q", scenario, got, want)
		}
	}
	f("latency", "delivered", "latency", "memory-per-connection", "p99-over-time", "per-cpu")
	f("push", "accepted", "answer-time", "latency", "memory-per-connection", "p99-over-time", "per-cpu")
	f("connect", "connect-time", "connects", "latency", "memory-per-connection", "p99-over-time", "per-cpu")
	f("storm", "connect-time", "latency", "memory-per-connection", "p99-over-time", "per-cpu", "reconnects")
}

// writeRuns writes results into a new directory.
func writeRuns(t *testing.T, runs ...*Result) string {
	t.Helper()
	dir := t.TempDir()
	for _, r := range runs {
		if err := r.write(filepath.Join(dir, r.Target+r.Time.Format("0405")+".json")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReportErrorsNameTheFile(t *testing.T) {
	f := func(want, content string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		err := (&reportCmd{File: []string{file}}).show(io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: error %v, want %q and the file", content, err, want)
		}
	}
	f("not a result", "")
	f("not a result", "[]")
	f("not a result", "{}")
	f("not a result", `{"scenario": "fanout", "target": "halley"}`)
	empty := t.TempDir()
	for _, files := range [][]string{{empty}, {filepath.Join(empty, "absent.json")}} {
		if err := (&reportCmd{File: files}).show(io.Discard); err == nil || !strings.Contains(err.Error(), files[0]) {
			t.Errorf("%s: error %v", files, err)
		}
	}
	if err := (&reportCmd{}).show(io.Discard); err == nil {
		t.Error("a report of nothing")
	}
}

func TestReportReadsEachFileOnce(t *testing.T) {
	dir := writeRuns(t, sampleRun("halley", 1, 100), sampleRun("halley", 2, 200))
	runs, err := readResults([]string{filepath.Join(dir, "halley0200.json"), dir, dir + "/./halley0100.json"})
	if err != nil || len(runs) != 2 || !runs[0].Time.Before(runs[1].Time) {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	want, _ := json.Marshal(sampleRun("halley", 1, 100))
	if got, _ := json.Marshal(runs[0]); !bytes.Equal(got, want) {
		t.Errorf("read %s\nwant %s", got, want)
	}
}

// The same results make the same text and the same charts, which are XML with all
// that is written in them.
func TestReportChartsAreTheSameEachTime(t *testing.T) {
	slow := sampleRun("goim", 2, 50)
	slow.Deliver.Latency.P99, slow.Label = 90, ""
	dir := writeRuns(t, sampleRun("halley", 1, 100), slow, sampleRun("halley", 3, 120), sampleRun("goim & co <1>", 4, 60))
	t.Chdir(t.TempDir())
	var before map[string]string
	for range 5 {
		var out bytes.Buffer
		if err := (&reportCmd{File: []string{dir}, Dir: "my charts"}).show(&out); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"": out.String()}
		charts, _ := filepath.Glob("my charts/*")
		for _, name := range charts {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(text)
			if link := "](my%20charts/" + filepath.Base(name) + ")"; !strings.Contains(files[""], link) {
				t.Errorf("no link %s", link)
			}
		}
		if before != nil && !reflect.DeepEqual(files, before) {
			t.Fatal("the same results have made something else")
		}
		before = files
	}
	f := func(file string, want ...string) {
		t.Helper()
		got := svgTexts(t, before["my charts/"+file])
		for _, w := range want {
			if !strings.Contains(got, "\n"+w+"\n") {
				t.Errorf("%s: no %q in %q", file, w, got)
			}
		}
	}
	f("fanout-latency.svg", "fanout: time from due to delivered, by percentile", "percentile", "ms", "99.99 %", "halley (2 runs)", "goim & co <1> (1 run)")
	f("fanout-p99-over-time.svg", "fanout: p99 of the time from due to delivered, over time", "seconds since measuring began", "ms", "goim (1 run)")
	f("fanout-delivered.svg", "fanout: messages delivered", "messages per second", "halley", "110")
	f("fanout-per-cpu.svg", "messages per CPU-second")
	f("fanout-memory-per-connection.svg", "bytes per connection")
	if len(before) != 1+5 {
		t.Errorf("%d charts, want 5", len(before)-1)
	}
}

// svgTexts are the texts of an SVG, a line each; it must be XML.
func svgTexts(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n")
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && text != "" {
			return b.String()
		}
		if err != nil {
			t.Fatalf("no XML: %v in %q", err, text)
		}
		if chars, ok := token.(xml.CharData); ok {
			b.WriteString(strings.TrimSpace(string(chars)) + "\n")
		}
	}
}

func TestReportFigures(t *testing.T) {
	f := func(x float64, want string) {
		t.Helper()
		if got := figure(x); got != want {
			t.Errorf("%v is %q, want %q", x, got, want)
		}
	}
	f(0, "0")
	f(0.0123, "0.0123")
	f(0.5, "0.500")
	f(0.99996, "1.00")
	f(12.34, "12.3")
	f(12345.6, "12,345")
	if got := spreadOf([]float64{4, math.NaN(), 1, 2, 3}); got != (spread{2.5, 1, 4, 4}) {
		t.Errorf("spread %+v", got)
	}
}
