package chart

import (
	"image/color"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bars is a bar chart: groups of bars, in each one of every series.
type Bars struct {
	Title  string
	Y      Axis
	Groups []string // the names below them
	Series []BarSeries
}

// BarSeries is what has one look: a bar in each group.
type BarSeries struct {
	Name string
	Look int // colour and hatching by number
	Bars []Bar
}

// Bar is one bar; a whisker goes from Low to High if they are not the same. Without
// a Label there is none.
type Bar struct {
	Y, Low, High float64
	Label        string
}

const (
	widestBar  = 70
	groupLines = 2 // of a group's name
)

// SVG draws the chart. It needs at least one bar.
func (b *Bars) SVG() ([]byte, error) {
	c := newCanvas()
	var legend []entry
	high := 0.0
	for _, s := range b.Series {
		legend = append(legend, entry{s.Name, func(at vg.Point) { c.bar(lookOf(s.Look), at.X, at.Y-4, at.X+sample, at.Y+4) }})
		for _, x := range s.Bars {
			high = max(high, x.Y, x.High)
		}
	}
	const room = 1.04 // for the label of the highest bar
	f := c.newFrame(b.Title, legend, scale{}, newScale(b.Y, 0, high*room), (groupLines-1)*tickSize)
	f.yAxis(b.Y.Label)
	f.xAxis("", nil)
	slot := (f.x.to - f.x.from) / vg.Length(len(b.Groups))
	for i, name := range b.Groups {
		middle := f.x.from + (vg.Length(i)+0.5)*slot
		f.group(name, middle, slot)
		b.drawGroup(f, i, middle, slot)
	}
	return c.bytes()
}

// drawGroup draws the bars of group i.
func (b *Bars) drawGroup(f *frame, i int, middle, slot vg.Length) {
	n := vg.Length(len(b.Series))
	each := min(widestBar, slot*0.8/n)
	for j, s := range b.Series {
		bar := s.Bars[i]
		if bar.Label == "" {
			continue
		}
		x, top := middle+(vg.Length(j)-n/2)*each, f.y.at(bar.Y)
		f.bar(lookOf(s.Look), x+each*0.04, f.y.from, x+each*0.96, top)
		if bar.Low != bar.High {
			for _, st := range []draw.LineStyle{{Color: color.White, Width: 2.5}, {Color: ink, Width: 1}} { // seen on any colour
				f.whisker(st, x+each/2, f.y.at(bar.Low), f.y.at(bar.High))
			}
			top = max(top, f.y.at(bar.High))
		}
		st := style(tickSize, draw.XCenter, draw.YBottom)
		if st.Width(bar.Label) <= each { // else it would cover its neighbour's
			f.write(st, x+each/2, top+2, bar.Label)
		}
	}
}

// bar draws a bar: hatched ones are lighter, with lines over them.
func (c *canvas) bar(l look, x0, y0, x1, y1 vg.Length) {
	fill := l.color
	if l.hatch != 0 {
		fill = lighter(fill)
	}
	area := box(x0, y0, x1, y1)
	c.FillPolygon(fill, area)
	if l.hatch != 0 {
		c.hatch(l, x0, y0, x1, y1)
	}
	c.StrokeLines(l.solid(1), append(area, area[0]))
}

// hatch draws parallel lines over a box.
func (c *canvas) hatch(l look, x0, y0, x1, y1 vg.Length) {
	const apart = 5
	rise := vg.Length(l.hatch) * (x1 - x0)
	step := apart * vg.Length(max(1, l.hatch, -l.hatch))
	within := draw.Canvas{Canvas: c.Canvas.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x0, Y: y0}, Max: vg.Point{X: x1, Y: y1}}}
	for y := y0 - max(rise, 0); y < y1-min(rise, 0); y += step {
		c.StrokeLines(l.solid(0.75), within.ClipLinesXY([]vg.Point{{X: x0, Y: y}, {X: x1, Y: y + rise}})...)
	}
}

// lighter is c mixed with two parts of white.
func lighter(c color.RGBA) color.RGBA {
	mix := func(x uint8) uint8 { return uint8((int(x) + 2*0xff) / 3) }
	return color.RGBA{mix(c.R), mix(c.G), mix(c.B), c.A}
}

// group writes the name of a group below it, in two lines if it must be.
func (f *frame) group(name string, middle, slot vg.Length) {
	st := style(tickSize, draw.XCenter, draw.YTop)
	room := slot * 0.95
	lines := []string{name}
	if words := strings.Fields(name); st.Width(name) > room && len(words) > 1 {
		n := 1
		for n < len(words)-1 && st.Width(strings.Join(words[:n+1], " ")) <= room {
			n++
		}
		lines = []string{strings.Join(words[:n], " "), strings.Join(words[n:], " ")}
	}
	for i, line := range lines {
		f.write(st, middle, f.y.from-gap-vg.Length(i)*(tickSize+1), fit(line, st, room))
	}
}
