package ws

import "unicode/utf8"

// fragments is what has arrived of a message that did not arrive whole: because
// it was sent in several frames, or because the end of its frame is not there
// yet. It takes 64 bytes and at most twice what has arrived: what the sender
// announces, but does not send, costs nothing.
type fragments struct {
	buf    []byte // unmasked
	valid  int    // bytes of buf known to be UTF-8; behind them up to 3 of a rune
	frames int32

	op         OpCode // of the first frame
	compressed bool   // as the first frame says

	// Of the last frame.
	fin    bool
	masked bool
	at     uint8 // where in mask its next byte is
	mask   [4]byte
	left   int64 // bytes of it to come
}

// begin starts the frame of h, and a message if none is open.
func (a *Assembler) begin(h *Header) {
	if a.open == nil {
		a.open = &fragments{op: h.Op, compressed: h.Compressed}
	}
	f := a.open
	f.frames++
	f.fin, f.masked, f.mask, f.at, f.left = h.Fin, h.Masked, h.Mask, 0, h.Length
}

// take takes what is in src, from its byte at on, of the frame under way, and
// gives the message out when it was the last of it. n counts from the start of
// src.
func (a *Assembler) take(src []byte, at int, r *Rules) (n int, op OpCode, payload []byte, done bool, err error) {
	f := a.open
	part := src[at:]
	part = part[:min(int64(len(part)), f.left)]
	if f.masked {
		Unmask(part, f.mask, int(f.at))
		f.at = uint8((int(f.at) + len(part)) & 3)
	}
	f.add(part)
	f.left -= int64(len(part))
	n = at + len(part)
	if !f.fin || f.left > 0 {
		if !f.checkText(r) {
			return 0, 0, nil, false, errTextNoUTF8
		}
		return n, 0, nil, false, nil
	}
	a.open = nil
	if f.compressed {
		payload, err = r.finish(f.op, true, f.buf)
	} else if payload = f.buf; f.op == OpText && !r.exempt(f.buf) && !utf8.Valid(f.buf[f.valid:]) {
		err = errTextNoUTF8
	}
	if err != nil {
		return 0, 0, nil, false, err
	}
	return n, f.op, payload, true, nil
}

// add appends to what there is. Behind the last frame nothing comes, so that its
// length bounds what is taken: at most twice what is there, at most the message.
func (f *fragments) add(part []byte) {
	if need := len(f.buf) + len(part); f.fin && need > cap(f.buf) {
		buf := make([]byte, len(f.buf), min(2*need, len(f.buf)+int(f.left)))
		copy(buf, f.buf)
		f.buf = buf
	}
	f.buf = append(f.buf, part...)
}

// checkText looks at the bytes that have come since it last did. A rune that is
// not complete is looked at as far as it goes.
func (f *fragments) checkText(r *Rules) bool {
	if f.op != OpText || f.compressed || r.exempt(f.buf) {
		return true
	}
	rest := f.buf[f.valid:]
	end := wholeRunes(rest)
	f.valid += end
	return validText(rest[:end])
}

// validText reports whether b is UTF-8 as RFC 3629 has it: no surrogates, nothing
// above U+10FFFF, nothing longer than it need be.
func validText(b []byte) bool { return utf8.Valid(b) }

// wholeRunes is the length of b without the last bytes that may become a rune
// when more follows. Bytes that cannot are not left out, so that they are found
// to be wrong now.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if utf8.FullRune(b[i:]) {
				break
			}
			return i
		}
	}
	return len(b)
}
