package chart

import (
	"strings"
	"testing"
)

func labels(ticks []Tick) string {
	var list []string
	for _, t := range ticks {
		list = append(list, t.Label)
	}
	return strings.Join(list, " ")
}

func TestChartTicksOfLinearAxes(t *testing.T) {
	f := func(high float64, want string) {
		t.Helper()
		if got := labels(linearTicks(high)); got != want {
			t.Errorf("to %v: %q, want %q", high, got, want)
		}
	}
	f(0, "0.0 0.2 0.4 0.6 0.8 1.0")
	f(0.33, "0.00 0.05 0.10 0.15 0.20 0.25 0.30 0.35")
	f(1, "0.0 0.2 0.4 0.6 0.8 1.0")
	f(3, "0.0 0.5 1.0 1.5 2.0 2.5 3.0")
	f(9.5, "0 1 2 3 4 5 6 7 8 9 10")
	f(120, "0 20 40 60 80 100 120")
	f(2.1e6, "0 500,000 1,000,000 1,500,000 2,000,000 2,500,000")
}

func TestChartTicksOfLogarithmicAxes(t *testing.T) {
	f := func(low, high float64, want string) {
		t.Helper()
		if got := labels(logTicks(low, high)); got != want {
			t.Errorf("%v to %v: %q, want %q", low, high, got, want)
		}
	}
	f(3, 3, "2 5")
	f(1, 1, "1 2")
	f(7, 210, "5 10 20 50 100 200 500")
	f(0.02, 900, "0.01 0.1 1 10 100 1,000")
}

func TestChartCutsWhatDoesNotFit(t *testing.T) {
	long := strings.Repeat("a name without an end ", 20)
	b := Bars{Title: long, Y: Axis{Label: long}, Groups: []string{long, "short"}, Series: []BarSeries{
		{Name: long, Bars: []Bar{{Y: 1, Low: 0.5, High: 2, Label: "1"}, {}}},
		{Name: "other", Look: 1, Bars: []Bar{{Y: 3, Low: 3, High: 3, Label: "3"}, {Y: 0, Label: "0"}}},
	}}
	text, err := b.SVG()
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); strings.Contains(s, long) || strings.Count(s, "…") != 4 || !strings.Contains(s, ">short<") {
		t.Error(s)
	}
}
