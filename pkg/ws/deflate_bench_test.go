package ws

import (
	"bytes"
	std "compress/flate"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"
)

var deflateSizes = []int{30, 300, 3000, 64 << 10}

// A message of JSON compressed and framed.
func BenchmarkDeflate(b *testing.B) {
	for _, size := range deflateSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d, msg := NewDeflater(), []byte(chat(size))
			dst := make([]byte, 0, size+MaxHeader)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = d.AppendDeflated(dst[:0], OpText, msg)
			}
			b.ReportMetric(float64(len(dst)), "B/frame")
		})
	}
}

// A compressed message of a client, with all checks; of the size it inflates to.
func BenchmarkNextDeflated(b *testing.B) {
	for _, size := range deflateSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			src := deflated(true, OpText, string(compressed(b, chat(size))))
			frame := make([]byte, len(src))
			r := &Rules{Limit: size + 100, Inflate: NewInflater()}
			var a Assembler
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				copy(frame, src) // it is unmasked in place
				if n, _, _, done, err := a.Next(frame, r); n != len(src) || !done || err != nil {
					b.Fatal(n, done, err)
				}
			}
		})
	}
}

// compressor is what the writers of both libraries have.
type compressor interface {
	io.Writer
	Flush() error
	Reset(io.Writer)
}

// What there was to choose from; the figures are at Deflater.
func BenchmarkCompressors(b *testing.B) {
	run := func(name string, deflate func(to *sink, msg []byte) error) {
		for _, size := range deflateSizes[1:] {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				msg, to := []byte(chat(size)), sink{limit: 1 << 20}
				b.ReportAllocs()
				for b.Loop() {
					to.dst = to.dst[:0]
					if err := deflate(&to, msg); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(to.dst)-len(flushEnd)), "B/msg")
			})
		}
	}
	writer := func(name string, w compressor, err error) {
		if err != nil {
			b.Fatal(err)
		}
		run(name, func(to *sink, msg []byte) error {
			w.Reset(to)
			_, err := w.Write(msg)
			return errors.Join(err, w.Flush())
		})
	}
	for _, level := range []int{1, 6} {
		w, err := std.NewWriter(nil, level)
		writer(fmt.Sprint("std,", level), w, err)
	}
	for _, level := range []int{1, 5, flate.HuffmanOnly} {
		w, err := flate.NewWriter(nil, level)
		writer(fmt.Sprint("klauspost,", level), w, err)
	}
	run("klauspost,stateless", func(to *sink, msg []byte) error { return flate.StatelessDeflate(to, msg, false, nil) })
}

// What there was to choose from; the figures are at Inflater.
func BenchmarkDecoders(b *testing.B) {
	f := func(name string, open func(io.Reader) io.ReadCloser) {
		for _, size := range deflateSizes[1:] {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				src := append(compressed(b, chat(size)), deflateTail...)
				in := bytes.NewReader(src)
				r := open(in)
				b.ReportAllocs()
				for b.Loop() {
					in.Reset(src)
					if err := r.(std.Resetter).Reset(in, nil); err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, r); int(n) != size || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
	f("std", std.NewReader)
	f("klauspost", flate.NewReader)
}
