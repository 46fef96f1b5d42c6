package chart

// Sizes of text in points.
const (
	titleSize = 11
	labelSize = 9
	tickSize  = 8

	lineHeight = 1.15 // to its size
)

// style is how text is drawn, and which part of it is where it is drawn.
type style struct {
	size    float64
	bold    bool
	anchor  anchor
	below   drop
	upwards bool // turned to the left, about the point where it is
}

type anchor string

const (
	left   anchor = "start"
	middle anchor = "middle"
	right  anchor = "end"
)

// drop is how far below its point the baseline of text is, to the size of the text.
// It takes capitals for all letters: few go below the line, and a centre between
// those and the others would look too low.
type drop = float64

const (
	topThere    drop = 0.8
	centreThere drop = 0.36
	bottomThere drop = -0.22
)

// widths are Helvetica's of the characters from the blank to the tilde, in
// thousandths of the size, as Adobe's font metrics have them. Arial and Liberation
// Sans have the same.
var widths = [...]uint16{
	278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, // blank to /
	556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, // 0 to ?
	1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, // @ to O
	667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, // P to _
	333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, // ` to o
	556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, // p to ~
}

const (
	otherWidth = 1000 // of any other character: few letters of any script are wider
	boldMore   = 56   // hardly a letter is wider than that in bold
	spare      = 1.05 // for who has none of these fonts: others are mostly a little wider
)

// width is how wide s is at most, or nearly: what is said to fit does.
func (st style) width(s string) float64 {
	sum := 0
	for _, r := range s {
		w := otherWidth
		if i := int(r) - ' '; i >= 0 && i < len(widths) {
			w = int(widths[i])
		}
		if st.bold {
			w += boldMore
		}
		sum += w
	}
	return float64(sum) * st.size * spare / 1000
}

// fit is s, cut so that it is no wider than w.
func (st style) fit(s string, w float64) string {
	if st.width(s) <= w {
		return s
	}
	r := []rune(s)
	for len(r) > 1 && st.width(string(r)+"…") > w {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
