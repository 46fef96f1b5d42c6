package bench

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells on a terminal what is happening, in one line that changes; to
// anything else a line every ten seconds.
type progress struct {
	out      io.Writer // nil: nobody wants to know
	terminal bool
	shown    bool // a line stands
	last     time.Time
}

const plainProgress = 10 * time.Second

func newProgress(out io.Writer, quiet bool) *progress {
	p := &progress{out: out, last: time.Now()}
	if quiet {
		p.out = nil
	}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// say shows how things stand.
func (p *progress) say(format string, args ...any) {
	switch {
	case p.out == nil:
	case p.terminal:
		fmt.Fprintf(p.out, "\r\x1b[K"+format, args...)
		p.shown = true
	case time.Since(p.last) >= plainProgress:
		fmt.Fprintf(p.out, format+"\n", args...)
		p.last = time.Now()
	}
}

// done clears what say has shown.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// number is n with commas between thousands.
func number[T int | int64 | float64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}
