package chart

import "strings"

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
func (b *Bars) SVG() []byte {
	c := newCanvas()
	var legend []entry
	high := 0.0
	for _, s := range b.Series {
		legend = append(legend, entry{s.Name, func(at point) { c.bar(lookOf(s.Look), at.x, at.y-4, at.x+sample, at.y+4) }})
		for _, x := range s.Bars {
			high = max(high, x.Y, x.High)
		}
	}
	const room = 1.04 // for the label of the highest bar
	f := c.newFrame(b.Title, legend, scale{}, newScale(b.Y, 0, high*room), (groupLines-1)*tickSize)
	f.yAxis(b.Y.Label)
	f.xAxis("", nil)
	slot := (f.x.to - f.x.from) / float64(len(b.Groups))
	for i, name := range b.Groups {
		centre := f.x.from + (float64(i)+0.5)*slot
		f.group(name, centre, slot)
		b.drawGroup(f, i, centre, slot)
	}
	return c.bytes()
}

// drawGroup draws the bars of group i.
func (b *Bars) drawGroup(f *frame, i int, centre, slot float64) {
	n := float64(len(b.Series))
	each := min(widestBar, slot*0.8/n)
	for j, s := range b.Series {
		bar := s.Bars[i]
		if bar.Label == "" {
			continue
		}
		x, top := centre+(float64(j)-n/2)*each, f.y.at(bar.Y)
		f.bar(lookOf(s.Look), x+each*0.04, top, x+each*0.96, f.y.from)
		if bar.Low != bar.High {
			for _, st := range []stroke{{color: white, width: 2.5}, {color: ink, width: 1}} { // seen on any colour
				f.whisker(st, x+each/2, f.y.at(bar.Low), f.y.at(bar.High))
			}
			top = min(top, f.y.at(bar.High))
		}
		st := style{size: tickSize, anchor: middle, below: bottomThere}
		if st.width(bar.Label) <= each { // else it would cover its neighbour's
			f.write(st, point{x + each/2, top - 2}, bar.Label)
		}
	}
}

// group writes the name of a group below it, in two lines if it must be.
func (f *frame) group(name string, centre, slot float64) {
	st := style{size: tickSize, anchor: middle, below: topThere}
	room := slot * 0.95
	lines := []string{name}
	if words := strings.Fields(name); st.width(name) > room && len(words) > 1 {
		n := 1
		for n < len(words)-1 && st.width(strings.Join(words[:n+1], " ")) <= room {
			n++
		}
		lines = []string{strings.Join(words[:n], " "), strings.Join(words[n:], " ")}
	}
	for i, line := range lines {
		f.write(st, point{centre, f.y.from + gap + float64(i)*(tickSize+1)}, st.fit(line, room))
	}
}
