package chart

import "math"

// look is how a series is drawn. Colours are those of Okabe and Ito, which most people
// can tell apart; yellow is left out, for nobody sees it on white.
type look struct {
	color  rgb
	dashes string
	shape  shape
	hatch  float64 // how much lines over a bar rise, to their width; 0 is none
}

var looks = []look{
	{0x0072b2, "", shape{}, 0},
	{0xd55e00, "5 2.5", shape{corners: 4}, 1},
	{0x009e73, "1.5 2", shape{corners: 3}, -1},
	{0xcc79a7, "7 2 1.5 2", shape{hollow: true}, 3},
	{0x56b4e9, "10 3", shape{corners: 4, hollow: true}, -3},
	{0xe69f00, "3 1.5", shape{corners: 3, hollow: true}, 0.4},
	{0x222222, "7 2 1.5 2 1.5 2", shape{cross: true}, -0.4},
}

// lookOf is the look of that number. The eighth is the first again.
func lookOf(i int) look { return looks[i%len(looks)] }

func (l look) line(width float64) stroke { return stroke{l.color, width, l.dashes} }

// solid is for what is too short to have dashes.
func (l look) solid(width float64) stroke { return stroke{color: l.color, width: width} }

// shape is that of a marker: a circle if it has no corners.
type shape struct {
	corners int
	hollow  bool
	cross   bool // and nothing else
}

func (c *canvas) marker(l look, at point) {
	const radius = 2.6
	edge, fill := l.solid(0.75), l.color
	if l.shape.hollow {
		fill = white // else the line would be seen through it
	}
	switch n := l.shape.corners; {
	case l.shape.cross:
		const arm = radius / math.Sqrt2
		c.line(edge, point{at.x - arm, at.y - arm}, point{at.x + arm, at.y + arm})
		c.line(edge, point{at.x - arm, at.y + arm}, point{at.x + arm, at.y - arm})
	case n == 0:
		c.circle(fill, edge, at, radius-edge.width/2)
	default:
		var corners []point
		for i := range n { // the base is level
			sin, cos := math.Sincos(math.Pi * (0.5 + float64(2*i+1)/float64(n)))
			corners = append(corners, point{at.x + radius*cos, at.y + radius*sin})
		}
		c.polygon(fill, edge, corners...)
	}
}

// whisker is a line from low to high with a bar at each end.
func (c *canvas) whisker(s stroke, x, low, high float64) {
	const half = 3
	c.line(s, point{x, low}, point{x, high})
	c.line(s, point{x - half, low}, point{x + half, low})
	c.line(s, point{x - half, high}, point{x + half, high})
}

// bar draws a bar: hatched ones are lighter, with lines over them.
func (c *canvas) bar(l look, x0, y0, x1, y1 float64) {
	fill := l.color
	if l.hatch != 0 {
		fill = fill.lighter()
	}
	c.rect(fill, x0, y0, x1-x0, y1-y0)
	if l.hatch != 0 {
		c.hatch(l, x0, y0, x1, y1)
	}
	c.polygon(none, l.solid(1), point{x0, y0}, point{x1, y0}, point{x1, y1}, point{x0, y1}) // over the ends of the lines
}

// hatch draws parallel lines over a box. They are cut here, and no clip path does it,
// for its id would have to differ from all others of a page.
func (c *canvas) hatch(l look, x0, y0, x1, y1 float64) {
	const apart = 5
	slope, wide := -l.hatch, x1-x0
	fall := slope * wide
	step := apart * max(1, math.Abs(slope))
	for y := y0 - max(fall, 0); y < y1-min(fall, 0); y += step {
		// Parts of the way across at which the line is at the top and at the bottom.
		from, to := (y0-y)/fall, (y1-y)/fall
		from, to = max(0, min(from, to)), min(1, max(from, to))
		if from < to {
			c.line(l.solid(0.75), point{x0 + from*wide, y + from*fall}, point{x0 + to*wide, y + to*fall})
		}
	}
}
