package ws

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// firstInflated and keptInflated are the least and the most memory for
	// inflated messages that an Inflater keeps, in bytes. A larger message gets
	// memory of its own.
	firstInflated = 4 << 10
	keptInflated  = 64 << 10

	// inflateInput is the buffer between a message and the decoder, in bytes.
	inflateInput = 4 << 10
)

// deflateTail is what RFC 7692 §7.2.2 has a reader put behind a message: the end
// of the empty block that the sender took away. Ours is longer by an empty final
// block, at which the decoder knows that it is done.
const deflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// Inflater reads the compressed messages of any number of connections, one after
// another. It is not safe for concurrent use: there is one per event loop.
//
// It holds 39 KiB of decoder (the window of 32 KiB, tables), 4 KiB of input and
// up to keptInflated of output, all from its first message on: 107 KiB at most,
// and during the handling of a larger message that message.
//
// Decoders compared (BenchmarkDecoders: JSON that has so many bytes inflated and
// was compressed at level 6; Go 1.26, one core of an EPYC):
//
//	                          300 B    3 KB   64 KB
//	compress/flate           2.8 µs  9.4 µs  159 µs  up to 9 allocations
//	klauspost/compress/flate 2.2 µs  6.2 µs   94 µs  none
type Inflater struct {
	in    source
	buf   *bufio.Reader // of in; the decoder is fast with one of these
	flate io.Reader     // of buf
	out   []byte
	probe [1]byte
}

// NewInflater makes an Inflater for one event loop.
func NewInflater() *Inflater { return new(Inflater) }

// source is a message and its tail.
type source struct {
	msg  []byte
	tail string
}

func (s *source) Read(b []byte) (n int, err error) {
	switch {
	case len(s.msg) > 0:
		n = copy(b, s.msg)
		s.msg = s.msg[n:]
	case len(s.tail) > 0:
		n = copy(b, s.tail)
		s.tail = s.tail[n:]
	default:
		return 0, io.EOF
	}
	return n, nil
}

// Inflate inflates the whole payload of a compressed message (RFC 7692 §7.2.2).
// The result is valid until the next call; src is only read.
//
// More than limit bytes are refused with 1009, and no memory is taken for them:
// what does not fit the memory that is there is counted first. That has large
// messages decoded twice, and bombs once. The error is a *ProtocolError.
func (x *Inflater) Inflate(src []byte, limit int) ([]byte, error) {
	x.start(src)
	defer x.release()
	size := 0
	for {
		n, err := x.read(x.room(size))
		if size += n; size > limit {
			return nil, errInflatedBig
		}
		done := errors.Is(err, io.EOF)
		switch {
		case err != nil && !done:
			return nil, err
		case size > len(x.out):
			return x.inflateLarge(src, size, limit)
		case done:
			return x.out[:size:size], nil
		}
	}
}

// room is where the next bytes go, behind size others: if what is kept is full, to
// where one byte says that there are more.
func (x *Inflater) room(size int) []byte {
	if size < len(x.out) {
		return x.out[size:]
	}
	if len(x.out) == keptInflated {
		return x.probe[:]
	}
	out := make([]byte, min(max(firstInflated, 2*len(x.out)), keptInflated))
	copy(out, x.out)
	x.out = out
	return out[size:]
}

// inflateLarge inflates a message of which so many bytes are known, more than are
// kept.
func (x *Inflater) inflateLarge(src []byte, size, limit int) ([]byte, error) {
	for {
		n, err := x.read(x.out)
		if size += n; size > limit {
			return nil, errInflatedBig
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	x.start(src)
	msg := make([]byte, size)
	for got := 0; got < size; {
		n, err := x.read(msg[got:])
		if got += n; err != nil && got < size {
			panic("BUG: a message was decoded twice with different results: " + err.Error())
		}
	}
	return msg, nil
}

// start goes to the beginning of src.
func (x *Inflater) start(src []byte) {
	x.in = source{src, deflateTail}
	if x.flate == nil {
		x.buf = bufio.NewReaderSize(&x.in, inflateInput)
		x.flate = flate.NewReader(x.buf)
		return
	}
	x.buf.Reset(&x.in)
	x.restart()
}

// restart has the decoder begin anew where its input is.
func (x *Inflater) restart() {
	// It fails for no reader: it returns an error to satisfy an interface.
	_ = x.flate.(flate.Resetter).Reset(x.buf, nil)
}

func (x *Inflater) release() { x.in.msg = nil }

// read reads on; io.EOF at the end of the message. RFC 7692 §7.2.3.4 allows final
// blocks in it: the block after one begins at the next byte.
func (x *Inflater) read(b []byte) (int, error) {
	n, err := x.flate.Read(b)
	if err == nil {
		return n, nil
	}
	left := x.buf.Buffered() + len(x.in.msg) + len(x.in.tail)
	switch {
	case !errors.Is(err, io.EOF):
		return n, errDeflate
	case left == 0, left == len(deflateTail): // our final block, or the message's at its very end
		return n, io.EOF
	case left < len(deflateTail): // a final block that was cut off, and took of the tail
		return n, errDeflate
	}
	x.restart()
	return n, nil
}
