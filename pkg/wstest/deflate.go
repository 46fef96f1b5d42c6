package wstest

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
)

// tail is what a sender cuts off its compressed message and a receiver puts back
// (RFC 7692 §7.2.1, §7.2.2); behind it is an empty last block, so that a reader
// of DEFLATE finds an end.
const (
	tail    = "\x00\x00\xff\xff"
	lastEnd = "\x01\x00\x00\xff\xff"
)

// deflater compresses as a client does. The zero value is ready.
type deflater struct {
	noTakeover bool

	out   bytes.Buffer
	w     *flate.Writer
	level int
}

// deflate compresses one message with what was agreed: referring to earlier ones
// unless that was excluded. A change of level starts afresh.
func (d *deflater) deflate(s string, level int) string {
	if d.w == nil || d.noTakeover || level != d.level {
		w, err := flate.NewWriter(&d.out, level)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		d.w, d.level = w, level
	}
	d.out.Reset()
	// Both errors are those of a bytes.Buffer, which has none.
	_, _ = io.WriteString(d.w, s)
	_ = d.w.Flush()
	return strings.TrimSuffix(d.out.String(), tail)
}

// zipped is a compressed message in frames of size bytes; size 0: in one frame.
type zipped struct {
	op    byte
	data  blob
	level int
	size  int
}

func (m zipped) appendTo(dst []byte, d *deflater) []byte {
	s := d.deflate(m.data.String(), m.level)
	size := m.size
	if size == 0 {
		size = max(len(s), 1)
	}
	return appendFragments(dst, m.op|rsv1, s, size)
}

// inflater reads what a server compressed. window is what was agreed, in bytes.
type inflater struct {
	noTakeover bool
	window     int

	history []byte // the end of what was read, window bytes at most
}

// inflate returns a message of most bytes at most.
func (f *inflater) inflate(payload []byte, most int) ([]byte, error) {
	src := io.MultiReader(bytes.NewReader(payload), strings.NewReader(tail+lastEnd))
	r := flate.NewReaderDict(src, f.history)
	msg, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("%d bytes: %w", len(payload), err)
	}
	if len(msg) > most {
		return nil, errors.New("longer than any message that was sent")
	}
	if !f.noTakeover {
		f.history = append(f.history, msg...)
		f.history = bytes.Clone(f.history[max(0, len(f.history)-f.window):])
	}
	return msg, nil
}
