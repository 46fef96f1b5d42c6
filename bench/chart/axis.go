package chart

import (
	"math"
	"strconv"
	"strings"
)

// Axis says what is along a side of a chart. Without Log it begins at zero.
type Axis struct {
	Label string // with the unit
	Log   bool
	Ticks []Tick // where they are given, the axis goes from the first to the last
}

// Tick is a place on an axis that has a name.
type Tick struct {
	At    float64
	Label string
}

// scale is where values are on a canvas.
type scale struct {
	log      bool
	min, max float64
	from, to float64
	ticks    []Tick
}

// newScale is a scale for values from low to high, which are above zero if it is
// logarithmic.
func newScale(a Axis, low, high float64) scale {
	s := scale{log: a.Log, ticks: a.Ticks}
	switch {
	case len(s.ticks) > 0:
	case a.Log:
		s.ticks = logTicks(low, high)
	default:
		s.ticks = linearTicks(high)
	}
	s.min, s.max = s.ticks[0].At, s.ticks[len(s.ticks)-1].At
	return s
}

func (s scale) at(v float64) float64 {
	part := (v - s.min) / (s.max - s.min)
	if s.log {
		part = math.Log(v/s.min) / math.Log(s.max/s.min)
	}
	return s.from + part*(s.to-s.from)
}

// linearTicks are round numbers from zero to high or a little more: four to ten steps.
func linearTicks(high float64) (list []Tick) {
	if high <= 0 {
		high = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(high)))
	for _, part := range []float64{5, 2} {
		if high/step < 4 && high/(step/part) <= 10 {
			step /= part
			break
		}
	}
	if high/step < 4 {
		step /= 5
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9))) // as many for all ticks
	for i := range int(math.Ceil(high/step-1e-9)) + 1 {
		v := round(float64(i) * step)
		list = append(list, Tick{v, commas(v, digits)})
	}
	return list
}

// logTicks are 1, 2 and 5 times powers of ten, or where that would be too many the
// powers alone, from low or a little less to high or a little more.
func logTicks(low, high float64) (list []Tick) {
	steps := []float64{1, 2, 5}
	if high/low > 1e3 {
		steps = steps[:1]
	}
	first := int(math.Floor(math.Log10(low) - 1e-9))
	for decade := first; ; decade++ {
		for _, step := range steps {
			v := round(step * math.Pow(10, float64(decade)))
			if v <= low*(1+1e-9) {
				list = list[:0] // the last of these is the first tick
			}
			list = append(list, Tick{v, Number(v)})
			if v >= high*(1-1e-9) && len(list) > 1 {
				return list
			}
		}
	}
}

// round makes 0.3 of 0.30000000000000004.
func round(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 9, 64), 64)
	return v
}

// Number is v with commas between thousands and all its digits.
func Number(v float64) string { return commas(v, -1) }

func commas(v float64, decimals int) string {
	digits, fraction, _ := strings.Cut(strconv.FormatFloat(math.Abs(v), 'f', decimals, 64), ".")
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	if fraction != "" {
		b.WriteString("." + fraction)
	}
	return b.String()
}
