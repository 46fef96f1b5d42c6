package chart

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
	draw func(at point)
}

// newFrame draws title and legend and leaves room for the axes. Below the data there
// is room for so much, and the label of the axis.
func (c *canvas) newFrame(title string, legend []entry, x, y scale, below float64) *frame {
	ts := style{size: titleSize, bold: true, anchor: left, below: topThere}
	c.write(ts, point{margin, margin}, ts.fit(title, width-2*margin))
	top := c.legend(legend, margin+titleSize*lineHeight+gap)
	st, widest := style{size: tickSize}, 0.0
	for _, t := range y.ticks {
		widest = max(widest, st.width(t.Label))
	}
	x.from, x.to = margin+labelSize+2*gap+widest+gap, width-2*margin-gap
	y.from, y.to = height-(margin+labelSize+gap+below), top+2*gap
	return &frame{c, x, y}
}

// legend draws entries beside each other in as many lines as they need, and returns
// where the last line ends.
func (c *canvas) legend(list []entry, y float64) float64 {
	st := style{size: labelSize, anchor: left, below: centreThere}
	x := float64(margin)
	for i, e := range list {
		name := st.fit(e.name, width/2)
		w := sample + gap + st.width(name)
		if i > 0 && x+w > width-margin {
			x, y = margin, y+row
		}
		e.draw(point{x, y + row/2})
		c.write(st, point{x + sample + gap, y + row/2}, name)
		x += w + 3*gap
	}
	if len(list) > 0 {
		y += row
	}
	return y
}

var (
	gridLine = stroke{color: grid, width: 0.5}
	axisLine = stroke{color: grey, width: 0.75}
)

// yAxis draws the axis at the left with lines across the data.
func (f *frame) yAxis(label string) {
	st := style{size: tickSize, anchor: right, below: centreThere}
	for _, t := range f.y.ticks {
		y := f.y.at(t.At)
		f.line(gridLine, point{f.x.from, y}, point{f.x.to, y})
		f.write(st, point{f.x.from - gap, y}, t.Label)
	}
	f.line(axisLine, point{f.x.from, f.y.from}, point{f.x.from, f.y.to})
	side := style{size: labelSize, anchor: middle, below: topThere, upwards: true}
	f.write(side, point{margin, (f.y.from + f.y.to) / 2}, side.fit(label, f.y.from-f.y.to))
}

// xAxis draws the axis below the data, with ticks and lines through the data if they
// are given.
func (f *frame) xAxis(label string, ticks []Tick) {
	st := style{size: tickSize, anchor: middle, below: topThere}
	for _, t := range ticks {
		x := f.x.at(t.At)
		f.line(gridLine, point{x, f.y.from}, point{x, f.y.to})
		f.write(st, point{x, f.y.from + gap}, t.Label)
	}
	f.line(axisLine, point{f.x.from, f.y.from}, point{f.x.to, f.y.from})
	st = style{size: labelSize, anchor: middle, below: bottomThere}
	f.write(st, point{(f.x.from + f.x.to) / 2, height - margin}, label)
}
