package chart

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
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
	if s := string(b.SVG()); strings.Contains(s, long) || strings.Count(s, "…") != 4 || !strings.Contains(s, ">short<") {
		t.Error(s)
	}
}

// What is measured too narrow would be drawn over its neighbour.
func TestChartWidthOfText(t *testing.T) {
	f := func(s string, bold bool, least, most float64) {
		t.Helper()
		if got := (style{size: 1000, bold: bold}).width(s); got < least || got > most {
			t.Errorf("%q is %v wide, want %v to %v", s, got, least, most)
		}
	}
	f("", false, 0, 0)
	f("~", false, 584, 620) // the last of the table
	f("1,000", false, 2502, 2700)
	f("halley (3 runs)", false, 6281, 6700)
	f("halley (3 runs)", true, 6893, 7700)
	f("漢字…", false, 3000, 3300)
}

func TestChartHatchingStaysInItsBar(t *testing.T) {
	const x0, y0, x1, y1 = 10, 20, 40, 70
	for _, l := range looks {
		if l.hatch == 0 {
			continue
		}
		c, lines := &canvas{}, 0
		c.hatch(l, x0, y0, x1, y1)
		for line := range strings.Lines(c.svg.String()) {
			var a, b point
			if _, err := fmt.Sscanf(line, `<line x1="%f" y1="%f" x2="%f" y2="%f"`, &a.x, &a.y, &b.x, &b.y); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			for _, p := range []point{a, b} {
				if p.x < x0 || p.x > x1 || p.y < y0 || p.y > y1 {
					t.Errorf("rise %v: %v is outside", l.hatch, p)
				}
			}
			if rise := (a.y - b.y) / (b.x - a.x); math.Abs(rise-l.hatch) > 0.05*math.Abs(l.hatch) {
				t.Errorf("rise %v, want %v", rise, l.hatch)
			}
			lines++
		}
		if lines < 5 {
			t.Errorf("rise %v: %d lines", l.hatch, lines)
		}
	}
}

// All looks, and characters that no XML may have.
func TestChartIsXML(t *testing.T) {
	l := Lines{Title: "<a> & \x00\"b'\xff", X: Axis{Label: "x"}, Y: Axis{Label: "y]]>", Log: true}}
	b := Bars{Title: l.Title, Groups: []string{"-->"}}
	for i := range 9 {
		name := strconv.Itoa(i)
		l.Series = append(l.Series, Series{Name: name, Look: i, Lines: [][]Point{{{1, 2, 1, 3}, {2, 0, 0, 0}, {3, 4, 4, 4}, {4, 4, 4, 4}}, {}}})
		b.Series = append(b.Series, BarSeries{Name: name, Look: i, Bars: []Bar{{Y: float64(i), Label: "<"}}})
	}
	for _, text := range [][]byte{l.SVG(), b.SVG()} {
		var got struct {
			Texts []string `xml:"text"`
		}
		if err := xml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if want := "<a> & \ufffd\"b'\ufffd"; got.Texts[0] != want {
			t.Errorf("title %q, want %q", got.Texts[0], want)
		}
		if s := string(text); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Error(s)
		}
	}
}
