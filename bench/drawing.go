package bench

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/halley-im/halley/bench/chart"
)

// chartFile is a chart that was drawn.
type chartFile struct{ title, link string }

// drawer writes charts into a directory.
type drawer struct {
	dir     string
	targets []string        // of all results: each looks the same in all charts
	taken   map[string]bool // names of files
}

// svg is a kind of chart.
type svg interface{ SVG() []byte }

// draw draws all charts of a report.
func (rep *report) draw(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d := &drawer{dir: dir, targets: rep.targets, taken: map[string]bool{}}
	for _, s := range rep.sections {
		if s.charts, err = d.bars(s); err != nil {
			return err
		}
		for _, p := range s.parts {
			if p.charts, err = d.lines(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes a chart to a file named by words.
func (d *drawer) write(title string, c svg, words ...string) (f chartFile, err error) {
	base := fileName(words...)
	name := base
	for i := 2; d.taken[name]; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	d.taken[name] = true
	file := filepath.Join(d.dir, name+".svg")
	if err := os.WriteFile(file, c.SVG(), 0o644); err != nil {
		return f, err
	}
	return chartFile{title, (&url.URL{Path: filepath.ToSlash(file)}).String()}, nil
}

// fileName is words in small letters with dashes for all that is neither letter nor
// digit.
func fileName(words ...string) string {
	parts := strings.FieldsFunc(strings.ToLower(strings.Join(words, " ")), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return strings.Join(parts, "-")
}

// barChart is a row that is drawn as bars.
type barChart struct{ row, title, unit, file string }

// rates are how fast scenarios are, where that is not the messages delivered.
var rates = map[string]barChart{
	"connect": {"connects/s", "clients that get in", "connects per second", "connects"},
	"storm":   {"reconnects/s median", "clients that come back", "connects per second", "reconnects"},
	"push":    {"accepted/s", "pushes accepted", "pushes per second", "accepted"},
	"floor":   {"server µs/write", "CPU of a write", "µs of the server", "write"},
}

// barCharts are a scenario's, a few: all else is in the tables.
func barCharts(scenario string) []barChart {
	rate, ok := rates[scenario]
	if !ok {
		rate = barChart{"delivered/s", "messages delivered", "messages per second", "delivered"}
	}
	return []barChart{
		rate,
		{"all servers: messages per CPU-second", "messages to a second of the servers' CPU", "messages per CPU-second", "per-cpu"},
		{"all servers: bytes per connection", "memory of the servers", "bytes per connection", "memory-per-connection"},
	}
}

// bars draws the main rows of a scenario: the parts beside each other, in each a bar
// for every target.
func (d *drawer) bars(s *section) (files []chartFile, err error) {
	for _, x := range barCharts(s.scenario) {
		parts := slices.DeleteFunc(slices.Clone(s.parts), func(p *part) bool { return p.row(x.row) == nil })
		if len(parts) == 0 {
			continue
		}
		b := &chart.Bars{Title: s.scenario + ": " + x.title, Y: chart.Axis{Label: x.unit}}
		for _, p := range parts {
			name := p.label
			if name == "" && len(parts) > 1 {
				name = unlabelled
			}
			b.Groups = append(b.Groups, name)
		}
		for look, target := range d.targets {
			if bars := barsOf(parts, x.row, target); bars != nil {
				b.Series = append(b.Series, chart.BarSeries{Name: target, Look: look, Bars: bars})
			}
		}
		f, err := d.write(b.Title, b, s.scenario, x.file)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// barsOf are a target's bars, one for each part; nil if it has none.
func barsOf(parts []*part, name, target string) []chart.Bar {
	bars, some := make([]chart.Bar, len(parts)), false
	for i, p := range parts {
		if v := spreadOf(p.row(name).values[target]); v.n > 0 {
			bars[i], some = chart.Bar{Y: v.median, Low: v.least, High: v.most, Label: figure(v.median)}, true
		}
	}
	if !some {
		return nil
	}
	return bars
}

func (p *part) row(name string) *row {
	for _, x := range p.rows {
		if x.name == name {
			return x
		}
	}
	return nil
}

// lines draws the distributions and the time series of a part.
func (d *drawer) lines(p *part) (files []chartFile, err error) {
	for _, c := range append(d.distributions(p), d.overTime(p)) {
		if !anyPoint(c.Series) {
			continue
		}
		f, err := d.write(c.Title, c.Lines, p.scenario, p.label, c.file)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// lineChart is a chart and the end of its file's name.
type lineChart struct {
	*chart.Lines
	file string
}

// anyPoint says whether there is something to draw: zeros alone are what was not
// measured.
func anyPoint(list []chart.Series) bool {
	for _, s := range list {
		for _, line := range s.Lines {
			for _, p := range line {
				if p.Y > 0 {
					return true
				}
			}
		}
	}
	return false
}

// distributions are latencies by percentile: of a target's runs the median, with
// whiskers. Times to get in and of answers are drawn where they are what it is about.
func (d *drawer) distributions(p *part) (list []lineChart) {
	for _, x := range []struct {
		title, file string
		scenarios   []string // nil is all
		of          func(*Result) Percentiles
	}{
		{"time from due to delivered", "latency", nil, func(r *Result) Percentiles { return deliverTimes(r.Deliver) }},
		{"time until a push is answered", "answer-time", []string{"push"}, answers},
		{"time to get in", "connect-time", []string{"connect", "storm"}, func(r *Result) Percentiles { return connects(r.Connect) }},
	} {
		if x.scenarios != nil && !slices.Contains(x.scenarios, p.scenario) {
			continue
		}
		c := &chart.Lines{
			Title: p.title() + ": " + x.title + ", by percentile",
			X:     chart.Axis{Label: "percentile", Ticks: nines()}, Y: chart.Axis{Label: "ms", Log: true},
		}
		for _, target := range p.targets {
			if points := distribution(p.runs[target], x.of); len(points) > 0 {
				c.Series = append(c.Series, chart.Series{Name: p.runsOf(target), Look: slices.Index(d.targets, target), Lines: [][]chart.Point{points}})
			}
		}
		list = append(list, lineChart{c, x.file})
	}
	return list
}

func deliverTimes(d *Deliver) Percentiles {
	if d == nil || d.Messages == 0 {
		return Percentiles{}
	}
	return d.Latency
}

// answers are those of the only flow: of several each has its own in the table.
func answers(r *Result) Percentiles {
	if len(r.Flows) != 1 || single(r.Flows[0]) {
		return Percentiles{}
	}
	return r.Flows[0].Answer
}

func connects(c *Connect) Percentiles {
	if c == nil {
		return Percentiles{}
	}
	return c.Latency
}

// nine is where a part of all is on an axis on which each nine takes as much: 0.9 is
// at 1 and 0.99 at 2.
func nine(part float64) float64 { return -math.Log10(1 - part) }

func nines() (list []chart.Tick) {
	for _, percent := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		list = append(list, chart.Tick{At: nine(percent / 100), Label: chart.Number(percent) + " %"})
	}
	return list
}

func distribution(runs []*Result, of func(*Result) Percentiles) (points []chart.Point) {
	values := map[float64][]float64{}
	var parts []float64
	for _, r := range runs {
		for _, q := range of(r).supported() {
			if q.part == 1 {
				continue // the maximum would be behind infinitely many nines
			}
			if values[q.part] == nil {
				parts = append(parts, q.part)
			}
			values[q.part] = append(values[q.part], q.value)
		}
	}
	for _, part := range parts { // they grow: a run that has one has those before it
		s := spreadOf(values[part])
		points = append(points, chart.Point{X: nine(part), Y: s.median, Low: s.least, High: s.most})
	}
	return points
}

// overTime is the p99 of latencies second by second, a line for each run.
func (d *drawer) overTime(p *part) lineChart {
	c := &chart.Lines{
		Title: p.title() + ": p99 of the time from due to delivered, over time",
		X:     chart.Axis{Label: "seconds since measuring began"}, Y: chart.Axis{Label: "ms", Log: true},
	}
	for _, target := range p.targets {
		s := chart.Series{Name: p.runsOf(target), Look: slices.Index(d.targets, target)}
		for _, r := range p.runs[target] {
			var line []chart.Point
			for _, at := range r.Series {
				line = append(line, chart.Point{X: at.Second, Y: at.P99})
			}
			s.Lines = append(s.Lines, line)
		}
		c.Series = append(c.Series, s)
	}
	return lineChart{c, "p99-over-time"}
}

// runsOf is a target's entry in a legend.
func (p *part) runsOf(target string) string {
	return fmt.Sprintf("%s (%s)", target, plural(len(p.runs[target]), "run"))
}
