package chart

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	margin = 10
	gap    = 5
	sample = 26 // length of a line in the legend
	row    = 14 // height of a line of the legend
)

// frame is what is around the data: title, legend and axes. The legend is between
// title and data, so that it covers nothing.
type frame struct {
	*canvas
	x, y scale
}

// entry is a line of the legend: draw draws a sample, its left end at a point.
type entry struct {
	name string
	draw func(at vg.Point)
}

// newFrame draws title and legend and leaves room for the axes. Below the data there
// is room for so much, and the label of the axis.
func (c *canvas) newFrame(title string, legend []entry, x, y scale, below vg.Length) *frame {
	ts := titleStyle()
	c.write(ts, margin, height-margin, fit(title, ts, width-2*margin))
	top := c.legend(legend, height-margin-ts.Height(title)-gap)
	st, widest := style(tickSize, draw.XRight, draw.YCenter), vg.Length(0)
	for _, t := range y.ticks {
		widest = max(widest, st.Width(t.Label))
	}
	x.from, x.to = margin+labelSize+2*gap+widest+gap, width-2*margin-gap
	y.from, y.to = margin+labelSize+gap+below, top-2*gap
	return &frame{c, x, y}
}

// legend draws entries beside each other in as many lines as they need, and returns
// where the last line ends.
func (c *canvas) legend(list []entry, y vg.Length) vg.Length {
	st := style(labelSize, draw.XLeft, draw.YCenter)
	x := vg.Length(margin)
	for i, e := range list {
		name := fit(e.name, st, width/2)
		w := sample + gap + st.Width(name)
		if i > 0 && x+w > width-margin {
			x, y = margin, y-row
		}
		e.draw(vg.Point{X: x, Y: y - row/2})
		c.write(st, x+sample+gap, y-row/2, name)
		x += w + 3*gap
	}
	if len(list) > 0 {
		y -= row
	}
	return y
}

var (
	gridLine = draw.LineStyle{Color: grid, Width: 0.5}
	axisLine = draw.LineStyle{Color: grey, Width: 0.75}
)

// yAxis draws the axis at the left with lines across the data.
func (f *frame) yAxis(label string) {
	st := style(tickSize, draw.XRight, draw.YCenter)
	for _, t := range f.y.ticks {
		y := f.y.at(t.At)
		f.StrokeLine2(gridLine, f.x.from, y, f.x.to, y)
		f.write(st, f.x.from-gap, y, t.Label)
	}
	f.StrokeLine2(axisLine, f.x.from, f.y.from, f.x.from, f.y.to)
	side := style(labelSize, draw.XCenter, draw.YTop)
	label = fit(label, side, f.y.to-f.y.from)
	side.Rotation = math.Pi / 2
	f.write(side, margin, (f.y.from+f.y.to)/2, label)
}

// xAxis draws the axis below the data, with ticks and lines through the data if they
// are given.
func (f *frame) xAxis(label string, ticks []Tick) {
	st := style(tickSize, draw.XCenter, draw.YTop)
	for _, t := range ticks {
		x := f.x.at(t.At)
		f.StrokeLine2(gridLine, x, f.y.from, x, f.y.to)
		f.write(st, x, f.y.from-gap, t.Label)
	}
	f.StrokeLine2(axisLine, f.x.from, f.y.from, f.x.to, f.y.from)
	f.write(style(labelSize, draw.XCenter, draw.YBottom), (f.x.from+f.x.to)/2, margin, label)
}
