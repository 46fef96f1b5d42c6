package ws

import (
	"bytes"
	"errors"

	"github.com/klauspost/compress/flate"
)

// minDeflate is the shortest message worth compressing, in bytes. Of JSON of 96
// bytes that is like a chat's only a third gets smaller at all, of 128 bytes half
// of it by 8 % in the mean, of 192 bytes nearly all, by a quarter.
const minDeflate = 128

// Deflater compresses messages, for any number of connections, each message on
// its own. It is not safe for concurrent use: there is one per event loop.
//
// Compressors compared (BenchmarkCompressors: JSON of a chat; Go 1.26, one core of
// an EPYC): time, bytes that are left, and memory that is kept. None allocates.
//
//	                          300 B         3 KB          64 KB      kept
//	compress/flate, 1      5.5 µs 195   15 µs  1043   370 µs 20023  1179 KiB
//	compress/flate, 6       11 µs 187   27 µs   945  2009 µs 15163   795 KiB
//	klauspost, 1           3.9 µs 193  9.6 µs  1025   119 µs 18552   800 KiB
//	klauspost, 5           4.4 µs 187   14 µs   968   262 µs 16863  1056 KiB
//	klauspost, Huffman     2.8 µs 216  6.2 µs  1883    66 µs 40334   312 KiB
//	klauspost, stateless   4.6 µs 191   10 µs  1045   157 µs 19687   281 KiB
//
// Stateless it is: nearly as good as level 1 at the sizes we have, and its memory is in
// a sync.Pool of the library, so that it is bounded by 281 KiB (and 16 KiB of
// stack) for each processor, not for each loop, and goes when nothing has been
// compressed for two collections. A Deflater itself holds nothing.
type Deflater struct{ to sink }

// sink is what a compressor writes to.
type sink struct {
	dst   []byte
	limit int // of dst, in bytes
}

func (s *sink) Write(p []byte) (int, error) {
	if len(s.dst)+len(p) > s.limit {
		return 0, errNotSmaller
	}
	s.dst = append(s.dst, p...)
	return len(p), nil
}

var errNotSmaller = errors.New("ws: compression does not make it smaller")

// NewDeflater makes a Deflater for one event loop.
func NewDeflater() *Deflater { return new(Deflater) }

// AppendDeflated appends a whole frame that a server sends to a client with which
// permessage-deflate was agreed on. A message that is short, or does not get
// smaller, is appended as AppendFrame would, which RFC 7692 §6 allows. It does not
// allocate when dst has room for the plain frame. payload must not alias dst's
// room.
func (d *Deflater) AppendDeflated(dst []byte, op OpCode, payload []byte) []byte {
	return d.append(dst, Header{Fin: true, Op: op}, payload)
}

// AppendClientDeflated is AppendDeflated for the client's end; mask is as in
// AppendClientFrame.
func (d *Deflater) AppendClientDeflated(dst []byte, op OpCode, mask [4]byte, payload []byte) []byte {
	return d.append(dst, Header{Fin: true, Op: op, Masked: true, Mask: mask}, payload)
}

func (d *Deflater) append(dst []byte, h Header, payload []byte) []byte {
	start := len(dst)
	h.Length = int64(len(payload))
	if len(payload) >= minDeflate {
		// The header goes in front when the length is known; there is room for
		// that of the plain message, which is no shorter.
		dst = h.Append(dst)
		body := len(dst)
		out, ok := d.deflate(dst, payload)
		if dst = out[:start]; ok {
			out = out[body:]
			h.Compressed, h.Length = true, int64(len(out))
			dst = h.Append(dst)
			return maskFrom(append(dst, out...), len(dst), &h)
		}
	}
	dst = h.Append(dst)
	return maskFrom(append(dst, payload...), len(dst), &h)
}

// maskFrom masks the payload that begins at from, if h says so.
func maskFrom(frame []byte, from int, h *Header) []byte {
	if h.Masked {
		Unmask(frame[from:], h.Mask, 0)
	}
	return frame
}

// flushEnd is the end of the empty block that a flush makes. It does not travel
// (RFC 7692 §7.2.1).
const flushEnd = "\x00\x00\xff\xff"

// deflate appends the compressed form of payload. ok is false if that is no
// shorter; out is then dst with rubbish behind it.
func (d *Deflater) deflate(dst, payload []byte) (out []byte, ok bool) {
	d.to = sink{dst, len(dst) + len(payload) + len(flushEnd) - 1}
	err := flate.StatelessDeflate(&d.to, payload, false, nil)
	out, d.to.dst = d.to.dst, nil
	if errors.Is(err, errNotSmaller) {
		return out, false
	}
	if err != nil || !bytes.HasSuffix(out, []byte(flushEnd)) {
		panic("BUG: a flush of DEFLATE does not end as RFC 7692 says")
	}
	return out[:len(out)-len(flushEnd)], true
}
