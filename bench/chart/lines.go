package chart

import "math"

// Lines is a line chart.
type Lines struct {
	Title  string
	X, Y   Axis
	Series []Series
}

// Series is what has one look and one entry in the legend: one line or several.
type Series struct {
	Name  string
	Look  int // colour, dash and marker by number: the same in every chart of a thing
	Lines [][]Point
}

// Point is a point of a line; a whisker goes from Low to High if they are not the
// same. With Log, points whose Y is not above zero are left out, and so is the line
// from and to them.
type Point struct{ X, Y, Low, High float64 }

// SVG draws the chart. It needs at least one point above zero.
func (l *Lines) SVG() []byte {
	c := newCanvas()
	var legend []entry
	for _, s := range l.Series {
		legend = append(legend, entry{s.Name, func(at point) {
			c.line(lookOf(s.Look).line(1.5), at, point{at.x + sample, at.y})
			c.marker(lookOf(s.Look), point{at.x + sample/2, at.y})
		}})
	}
	x, y := l.scales()
	f := c.newFrame(l.Title, legend, x, y, tickSize+gap)
	f.yAxis(l.Y.Label)
	f.xAxis(l.X.Label, f.x.ticks)
	for i, s := range l.Series {
		for _, line := range s.Lines {
			f.whiskers(lookOf(s.Look), line, dodge(i, len(l.Series)))
		}
	}
	for i, s := range l.Series {
		for _, line := range s.Lines {
			f.trace(lookOf(s.Look), line, dodge(i, len(l.Series)))
		}
	}
	return c.bytes()
}

// scales cover all points and whiskers.
func (l *Lines) scales() (x, y scale) {
	low, high, right := math.Inf(1), 0.0, 0.0
	for _, s := range l.Series {
		for _, line := range s.Lines {
			for _, p := range line {
				right = max(right, p.X)
				high = max(high, p.Y, p.High)
				for _, v := range []float64{p.Y, p.Low} {
					if v > 0 {
						low = min(low, v)
					}
				}
			}
		}
	}
	return newScale(l.X, 0, right), newScale(l.Y, min(low, high), high)
}

// dodge is how far the points of series i of n that have whiskers are moved aside, so
// that no whisker hides another.
func dodge(i, n int) float64 {
	const apart = 3.5
	return apart * (float64(i) - float64(n-1)/2)
}

// place is where a point is; false says that it is not on the axis.
func (f *frame) place(p Point, dodge float64) (at point, ok bool) {
	if f.y.log && p.Y <= 0 {
		return at, false
	}
	at = point{f.x.at(p.X), f.y.at(p.Y)}
	if p.Low != p.High {
		at.x += dodge
	}
	return at, true
}

func (f *frame) whiskers(l look, points []Point, dodge float64) {
	for _, p := range points {
		at, ok := f.place(p, dodge)
		if ok && p.Low != p.High && (p.Low > 0 || !f.y.log) {
			f.whisker(l.solid(0.75), at.x, f.y.at(p.Low), f.y.at(p.High))
		}
	}
}

// fewMarkers is how many markers a line has at most: more would hide it.
const fewMarkers = 12

func (f *frame) trace(l look, points []Point, dodge float64) {
	var path []point
	flush := func() {
		if len(path) > 1 {
			f.path(l.line(1.5), path)
		}
		path = nil
	}
	every := (len(points) + fewMarkers - 1) / fewMarkers
	for i, p := range points {
		at, ok := f.place(p, dodge)
		if !ok {
			flush()
			continue
		}
		path = append(path, at)
		if i%every == 0 {
			f.marker(l, at)
		}
	}
	flush()
}
