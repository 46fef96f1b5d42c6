package ws

import "unicode/utf8"

// MaxFrames is how many frames one message may have. Its bytes are bounded by
// the caller; without this bound empty fragments could follow each other for
// ever and keep a message open that never ends.
const MaxFrames = 1024

// Assembler joins the frames of one connection into messages (RFC 6455 §5.4).
// The zero value is ready. It holds memory only while a fragmented message is
// open, and is not safe for concurrent use. After an error it must not be used
// any more.
type Assembler struct {
	open *fragments // of the message under way; nil if there is none
}

// fragments is what has arrived of a message in several frames.
type fragments struct {
	op     OpCode // of the first frame
	frames int
	buf    []byte // unmasked
}

// Next takes the frame that a client sent at the start of src. n is how many
// bytes of src it has used; 0 means that the frame is not complete, nothing was
// changed, and Next wants the same bytes again, with more behind them.
//
// done says that a message, or a control frame, perhaps between the frames of a
// message, is complete: op and payload are its. Payload aliases src, where it
// was unmasked in place, or, if the message was fragmented, memory that the
// Assembler has let go of. Without done, a part of a message was put aside.
//
// A message of more than limit bytes is refused with 1009 by the header of the
// frame that goes beyond, one of more than MaxFrames frames with 1008. Frames
// must be masked (§5.1). Text must be UTF-8 (§5.6) unless its first byte is
// 0x00: goim takes packets in text messages, and the first byte of a packet,
// the high byte of its length, is 0. The error is a *ProtocolError.
func (a *Assembler) Next(src []byte, limit int) (n int, op OpCode, payload []byte, done bool, err error) {
	return a.next(src, limit, true)
}

// NextFromServer is Next for the client's end: frames must not be masked.
func (a *Assembler) NextFromServer(src []byte, limit int) (n int, op OpCode, payload []byte, done bool, err error) {
	return a.next(src, limit, false)
}

func (a *Assembler) next(src []byte, limit int, masked bool) (n int, op OpCode, payload []byte, done bool, err error) {
	h, ok, err := ParseHeader(src)
	if !ok {
		return 0, 0, nil, false, err
	}
	if err := a.check(&h, limit, masked); err != nil {
		return 0, 0, nil, false, err
	}
	n = h.Size + int(h.Length)
	if len(src) < n {
		return 0, 0, nil, false, nil
	}
	// Only now, with all of the frame there: bytes that are shown again must
	// not be unmasked twice.
	payload = src[h.Size:n:n]
	if masked {
		Unmask(payload, h.Mask, 0)
	}
	// Fast path - a control frame, or a message in one frame.
	if h.Op.IsControl() {
		return n, h.Op, payload, true, nil
	}
	if h.Fin && a.open == nil {
		if err := checkText(h.Op, payload); err != nil {
			return 0, 0, nil, false, err
		}
		return n, h.Op, payload, true, nil
	}
	// Slow path - a fragment.
	op, payload, done, err = a.add(&h, payload)
	if err != nil {
		return 0, 0, nil, false, err
	}
	return n, op, payload, done, nil
}

// check holds a header against the frames before it.
func (a *Assembler) check(h *Header, limit int, masked bool) error {
	if h.Masked != masked {
		if masked {
			return errUnmasked
		}
		return errMasked
	}
	if h.Op.IsControl() {
		return nil
	}
	if a.open != nil {
		if h.Op != OpContinuation {
			return errInMessage
		}
		if a.open.frames >= MaxFrames {
			return errTooMany
		}
		limit -= len(a.open.buf)
	} else if h.Op == OpContinuation {
		return errNoMessage
	}
	if h.Length > int64(limit) {
		return errTooBig
	}
	return nil
}

// add puts a fragment aside, and gives the message out when it was the last.
func (a *Assembler) add(h *Header, payload []byte) (op OpCode, msg []byte, done bool, err error) {
	if a.open == nil {
		a.open = &fragments{op: h.Op}
	}
	f := a.open
	f.frames++
	f.buf = append(f.buf, payload...)
	if !h.Fin {
		return 0, nil, false, nil
	}
	a.open = nil
	if err := checkText(f.op, f.buf); err != nil {
		return 0, nil, false, err
	}
	return f.op, f.buf, true, nil
}

func checkText(op OpCode, msg []byte) error {
	if op != OpText || len(msg) > 0 && msg[0] == 0 || utf8.Valid(msg) {
		return nil
	}
	return errTextNoUTF8
}
