package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// row is a metric of all runs of a part.
type row struct {
	name   string
	kind   metricKind
	values map[string][]float64 // of a target, run by run; NaN where a run has none
}

// fill makes the rows of all that any run has: each behind the one that it follows
// in its run, so that a row that some runs lack is where it belongs.
func (p *part) fill() {
	for _, target := range p.targets {
		for i, r := range p.runs[target] {
			at := 0
			for _, m := range metricsOf(r) {
				at = p.place(m, at)
				p.rows[at].values[target][i] = m.value
				at++
			}
		}
	}
	p.rows = slices.DeleteFunc(p.rows, (*row).faultless)
}

// place finds the row of a metric, or puts a new one at a place.
func (p *part) place(m metric, at int) int {
	if i := slices.IndexFunc(p.rows, func(x *row) bool { return x.name == m.name }); i >= 0 {
		return i
	}
	x := &row{name: m.name, kind: m.kind, values: map[string][]float64{}}
	for _, target := range p.targets {
		x.values[target] = slices.Repeat([]float64{math.NaN()}, len(p.runs[target]))
	}
	p.rows = slices.Insert(p.rows, at, x)
	return at
}

// faultless is true of a fault that no run has.
func (x *row) faultless() bool {
	if x.kind != fault {
		return false
	}
	for _, values := range x.values {
		if slices.ContainsFunc(values, func(v float64) bool { return v > 0 }) {
			return false
		}
	}
	return true
}

// spread is where the values of several runs lie.
type spread struct {
	median, least, most float64
	n                   int
}

// spreadOf leaves out what is missing.
func spreadOf(values []float64) spread {
	known := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(known) == 0 {
		return spread{}
	}
	return spread{median(known), slices.Min(known), slices.Max(known), len(known)}
}

// cell is what a table shows of a target.
func (x *row) cell(target string) string {
	values := x.values[target]
	s := spreadOf(values)
	switch {
	case s.n == 0:
		return "–"
	case x.kind == fault:
		return faultCell(values)
	case s.n == 1 && len(values) == 1:
		return figure(s.median)
	case s.n == 1:
		return fmt.Sprintf("%s (1 of %d runs)", figure(s.median), len(values))
	}
	return fmt.Sprintf("%s (%s–%s of %d)", figure(s.median), figure(s.least), figure(s.most), s.n)
}

// faultCell is the sum: a median could be zero though there were some.
func faultCell(values []float64) string {
	all, runs := 0.0, 0
	for _, v := range values {
		if v > 0 {
			all += v
			runs++
		}
	}
	if runs == 0 {
		return "0"
	}
	return fmt.Sprintf("**%s**, in %d of %s", number(all), runs, plural(len(values), "run"))
}

// ratios divides the i-th run of a by the i-th of b. A pair that lacks a value, or
// would divide by zero, is left out; those behind it stay pairs.
func (x *row) ratios(a, b string) (list []float64) {
	for i := range min(len(x.values[a]), len(x.values[b])) {
		if q := x.values[a][i] / x.values[b][i]; !math.IsNaN(q) && !math.IsInf(q, 0) {
			list = append(list, q)
		}
	}
	return list
}

// ratioCell is what a table shows of a to b, and how many pairs have it if not all.
func (x *row) ratioCell(a, b string) (text string) {
	pairs, s := min(len(x.values[a]), len(x.values[b])), spreadOf(x.ratios(a, b))
	switch {
	case x.kind == fault:
		return ""
	case s.n == 0:
		return "–"
	case s.n == 1:
		text = figure(s.median)
	default:
		text = fmt.Sprintf("%s ×(%s–%s)", figure(s.median), figure(s.least), figure(s.most))
	}
	if s.n < pairs {
		text += fmt.Sprintf(", %d of %s", s.n, plural(pairs, "pair"))
	}
	return text
}

// figure is a number with three digits that count, or as many as it has before the
// point.
func figure(x float64) string {
	if x == 0 || math.Abs(x) >= 0.9995 { // 0.9996 is 1.00
		return rate(x)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(x))))
	return strconv.FormatFloat(x, 'f', min(digits, 6), 64)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}
