package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// The size in points, of which there are 3 to 4 pixels.
const width, height = 600, 337.5

// canvas is an SVG that grows. Lengths are points, y grows downwards. All numbers
// have the same decimals, so that the same chart is the same bytes.
type canvas struct{ svg bytes.Buffer }

type point struct{ x, y float64 }

// rgb is a colour as 0xRRGGBB.
type rgb uint32

const (
	white rgb = 0xffffff
	ink   rgb = 0x222222
	grey  rgb = 0x666666
	grid  rgb = 0xdddddd
	none  rgb = 1 << 24
)

func (c rgb) String() string {
	if c == none {
		return "none"
	}
	return fmt.Sprintf("#%06x", uint32(c))
}

// lighter is c mixed with two parts of white.
func (c rgb) lighter() (mixed rgb) {
	for shift := 0; shift < 24; shift += 8 {
		mixed |= ((c>>shift&0xff + 2*0xff) / 3) << shift
	}
	return mixed
}

// stroke is how a line is drawn.
type stroke struct {
	color  rgb
	width  float64
	dashes string // lengths of lines and gaps; empty is a line without gaps
}

func (s stroke) String() string {
	text := fmt.Sprintf(`stroke="%v" stroke-width="%.2f"`, s.color, s.width)
	if s.dashes != "" {
		text += ` stroke-dasharray="` + s.dashes + `"`
	}
	return text
}

// newCanvas begins an SVG. Text is measured by the widths of the fonts named here.
func newCanvas() *canvas {
	c := &canvas{}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %v %v" font-family="Helvetica,Arial,'Liberation Sans',sans-serif">`,
		width/0.75, height/0.75, width, height)
	c.rect(white, 0, 0, width, height)
	return c
}

// bytes is the SVG. Nothing can be drawn any more.
func (c *canvas) bytes() []byte {
	c.add("</svg>")
	return c.svg.Bytes()
}

// add adds an element, or its beginning or end.
func (c *canvas) add(format string, args ...any) {
	fmt.Fprintf(&c.svg, format+"\n", args...)
}

func (c *canvas) rect(fill rgb, x, y, w, h float64) {
	c.add(`<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%v"/>`, x, y, w, h, fill)
}

func (c *canvas) line(s stroke, from, to point) {
	c.add(`<line x1="%.2f" y1="%.2f" x2="%.2f" y2="%.2f" %v/>`, from.x, from.y, to.x, to.y, s)
}

// path is a line through points.
func (c *canvas) path(s stroke, points []point) {
	c.add(`<polyline points="%s" fill="none" stroke-linejoin="round" %v/>`, pairs(points), s)
}

func (c *canvas) polygon(fill rgb, s stroke, points ...point) {
	c.add(`<polygon points="%s" fill="%v" %v/>`, pairs(points), fill, s)
}

func (c *canvas) circle(fill rgb, s stroke, at point, radius float64) {
	c.add(`<circle cx="%.2f" cy="%.2f" r="%.2f" fill="%v" %v/>`, at.x, at.y, radius, fill, s)
}

func pairs(points []point) string {
	var b []byte
	for i, p := range points {
		if i > 0 {
			b = append(b, ' ')
		}
		b = fmt.Appendf(b, "%.2f,%.2f", p.x, p.y)
	}
	return string(b)
}

// write writes s at a point.
func (c *canvas) write(st style, at point, s string) {
	how := fmt.Sprintf(`font-size="%v" text-anchor="%s" fill="%v"`, st.size, st.anchor, ink)
	if st.bold {
		how += ` font-weight="bold"`
	}
	baseline := at.y + st.below*st.size
	if st.upwards {
		how += fmt.Sprintf(` transform="rotate(-90 %.2f %.2f)"`, at.x, at.y)
	}
	c.add(`<text x="%.2f" y="%.2f" %s>%s</text>`, at.x, baseline, how, escaped(s))
}

// escaped also replaces what no XML may have.
func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes all
	return b.String()
}
