package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"sync"

	xfont "golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The size in points, of which there are 3 to 4 pixels.
const (
	width, height = 600, 337.5

	titleSize = 11
	labelSize = 9
	tickSize  = 8
)

// The fonts that text is measured by are Go's, because package text has them already.
// Who looks has others: Helvetica and Arial are a little narrower, so that what was
// measured to fit does.
const (
	measuredFamily = "font-family:Go;"
	shownFamily    = "font-family:Helvetica,Arial,'Liberation Sans',sans-serif;"
)

// fonts are parsed when the first chart is drawn, not when a process starts.
var fonts = sync.OnceValue(func() *font.Cache {
	face := func(weight xfont.Weight, ttf []byte) font.Face {
		f, err := opentype.Parse(ttf)
		if err != nil {
			panic("BUG: " + err.Error()) // it is compiled in
		}
		return font.Face{Font: font.Font{Typeface: "Go", Weight: weight}, Face: f}
	}
	return font.NewCache(font.Collection{face(xfont.WeightNormal, goregular.TTF), face(xfont.WeightBold, gobold.TTF)})
})

// canvas is what a chart is drawn on. Lengths are points, y grows upwards.
type canvas struct {
	draw.Canvas
	svg *vgsvg.Canvas
}

func newCanvas() *canvas {
	svg := vgsvg.New(width, height)
	c := &canvas{draw.New(svg), svg}
	c.FillPolygon(color.White, box(0, 0, width, height))
	return c
}

// bytes is the SVG.
func (c *canvas) bytes() ([]byte, error) {
	var b bytes.Buffer
	if _, err := c.svg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("write SVG: %w", err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(measuredFamily), []byte(shownFamily)), nil
}

func box(x0, y0, x1, y1 vg.Length) []vg.Point {
	return []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}}
}

var (
	ink  = color.Gray{Y: 0x22}
	grey = color.Gray{Y: 0x66}
	grid = color.Gray{Y: 0xdd}
)

// style is text of that size: x and y say which part of it is at the point where it
// is drawn.
func style(size vg.Length, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: ink, Font: font.Font{Typeface: "Go", Size: size}, XAlign: x, YAlign: y, Handler: text.Plain{Fonts: fonts()},
	}
}

// write writes text. What is centred at a height is lifted a little: the room below
// the letters counts, but most have nothing there.
func (c *canvas) write(st text.Style, x, y vg.Length, s string) {
	if st.YAlign == draw.YCenter {
		y += st.Font.Size / 8
	}
	c.FillText(st, vg.Point{X: x, Y: y}, s)
}

func titleStyle() text.Style {
	s := style(titleSize, draw.XLeft, draw.YTop)
	s.Font.Weight = xfont.WeightBold
	return s
}

// fit is s, cut so that it is no wider than w.
func fit(s string, st text.Style, w vg.Length) string {
	if st.Width(s) <= w {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && st.Width(string(r)+"…") > w {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

// look is how a series is drawn. Colours are those of Okabe and Ito, which most people
// can tell apart; yellow is left out, for nobody sees it on white.
type look struct {
	color  color.RGBA
	dashes []vg.Length
	glyph  draw.GlyphDrawer
	hatch  float64 // slope of the lines over a bar; 0 is none
}

var looks = []look{
	{color.RGBA{0x00, 0x72, 0xb2, 0xff}, nil, draw.CircleGlyph{}, 0},
	{color.RGBA{0xd5, 0x5e, 0x00, 0xff}, []vg.Length{5, 2.5}, draw.BoxGlyph{}, 1},
	{color.RGBA{0x00, 0x9e, 0x73, 0xff}, []vg.Length{1.5, 2}, draw.PyramidGlyph{}, -1},
	{color.RGBA{0xcc, 0x79, 0xa7, 0xff}, []vg.Length{7, 2, 1.5, 2}, draw.RingGlyph{}, 3},
	{color.RGBA{0x56, 0xb4, 0xe9, 0xff}, []vg.Length{10, 3}, draw.SquareGlyph{}, -3},
	{color.RGBA{0xe6, 0x9f, 0x00, 0xff}, []vg.Length{3, 1.5}, draw.TriangleGlyph{}, 0.4},
	{color.RGBA{0x22, 0x22, 0x22, 0xff}, []vg.Length{7, 2, 1.5, 2, 1.5, 2}, draw.CrossGlyph{}, -0.4},
}

// lookOf is the look of that number. The eighth is the first again.
func lookOf(i int) look { return looks[i%len(looks)] }

func (l look) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: width, Dashes: l.dashes}
}

// solid is for what is too short to have dashes.
func (l look) solid(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: width}
}

func (c *canvas) marker(l look, at vg.Point) {
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: l.color, Radius: 2.6, Shape: l.glyph}, at)
}

// whisker is a line from low to high with a bar at each end.
func (c *canvas) whisker(st draw.LineStyle, x, low, high vg.Length) {
	const half = 3
	c.StrokeLine2(st, x, low, x, high)
	c.StrokeLine2(st, x-half, low, x+half, low)
	c.StrokeLine2(st, x-half, high, x+half, high)
}
