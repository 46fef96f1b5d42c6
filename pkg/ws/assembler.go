package ws

// MaxFrames is how many frames one message may have where Rules say nothing
// else. Its bytes are bounded by Rules.Limit; without this bound empty fragments
// could follow each other for ever and keep a message open that never ends.
const MaxFrames = 1024

// Rules are what a connection's messages are held to. One Rules serves all the
// connections of an event loop that have agreed on the same; it is only read,
// except for Inflate.
type Rules struct {
	// Limit bounds a message, in bytes: as it travels, and inflated.
	Limit int
	// MaxFrames bounds the frames of a message; 0 is MaxFrames. Conformance suites
	// send 65536 frames of 64 bytes.
	MaxFrames int
	// StrictText holds all text to UTF-8 (RFC 6455 §5.6). Without it a message
	// whose first byte is 0x00 is exempt: goim takes packets in text messages, and
	// the first byte of a packet, the high byte of its length, is 0. It is exempt
	// however it is cut into frames, and if it was compressed.
	StrictText bool
	// Inflate reads compressed messages; nil if permessage-deflate was not agreed
	// on.
	Inflate *Inflater
}

// Assembler joins the frames of one connection into messages (RFC 6455 §5.4).
// The zero value is ready. It holds memory only while a message is open that did
// not arrive whole, as much as has arrived of it, and is not safe for concurrent
// use. After an error it must not be used any more.
type Assembler struct {
	open *fragments // of the message under way; nil if there is none
}

// Next takes what a client sent at the start of src. n is how many bytes of src
// it has used; 0 means that nothing was changed and Next wants the same bytes
// again, with more behind them: a frame's header that is not complete, or a
// control frame. The caller never has more than MaxHeader+MaxControl bytes to
// keep, since of other frames Next takes what is there: a large one costs neither
// the caller's memory nor looking at it again and again.
//
// done says that a message, or a control frame, perhaps between the frames of a
// message, is complete: op and payload are its. Payload aliases
//
//   - src, where it was unmasked in place, if the message came in one frame that
//     was all there: the fast path, without an allocation;
//   - memory of r.Inflate, valid until that inflates again, if it was compressed;
//   - otherwise memory that the Assembler has let go of.
//
// Without done, a part of a message was put aside.
//
// A message of more than r.Limit bytes is refused with 1009, by the header of the
// frame that goes beyond or, if it is compressed, when it has been inflated that
// far; one of more than r.MaxFrames frames with 1008. Frames must be masked
// (§5.1). Text that is not UTF-8 is refused with 1007 as soon as the byte that
// makes it so has arrived, compressed text at its end. The error is a
// *ProtocolError.
func (a *Assembler) Next(src []byte, r *Rules) (n int, op OpCode, payload []byte, done bool, err error) {
	return a.next(src, r, true)
}

// NextFromServer is Next for the client's end: frames must not be masked.
func (a *Assembler) NextFromServer(src []byte, r *Rules) (n int, op OpCode, payload []byte, done bool, err error) {
	return a.next(src, r, false)
}

func (a *Assembler) next(src []byte, r *Rules, masked bool) (n int, op OpCode, payload []byte, done bool, err error) {
	if a.open != nil && a.open.left > 0 {
		return a.take(src, 0, r)
	}
	h, ok, err := ParseHeader(src, r.Inflate != nil)
	if !ok {
		return 0, 0, nil, false, err
	}
	if err := a.check(&h, r, masked); err != nil {
		return 0, 0, nil, false, err
	}
	n = h.Size + int(h.Length)
	whole := len(src) >= n
	// Slow path - a part of a message.
	if !h.Op.IsControl() && !(whole && h.Fin && a.open == nil) {
		a.begin(&h)
		return a.take(src, h.Size, r)
	}
	if !whole {
		return 0, 0, nil, false, nil
	}
	// Fast path - a control frame, or a message in one frame.
	payload = src[h.Size:n:n]
	if masked {
		Unmask(payload, h.Mask, 0)
	}
	if !h.Op.IsControl() {
		if payload, err = r.finish(h.Op, h.Compressed, payload); err != nil {
			return 0, 0, nil, false, err
		}
	}
	return n, h.Op, payload, true, nil
}

// check holds a header against the frames before it.
func (a *Assembler) check(h *Header, r *Rules, masked bool) error {
	if h.Masked != masked {
		if masked {
			return errUnmasked
		}
		return errMasked
	}
	if h.Op.IsControl() {
		return nil
	}
	limit := r.Limit
	if a.open != nil {
		if h.Op != OpContinuation {
			return errInMessage
		}
		if int(a.open.frames) >= r.maxFrames() {
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

func (r *Rules) maxFrames() int {
	if r.MaxFrames > 0 {
		return r.MaxFrames
	}
	return MaxFrames
}

// finish makes of all the payload of a message what it says: payload itself if it
// is plain, what it inflates to if it is compressed.
func (r *Rules) finish(op OpCode, compressed bool, payload []byte) ([]byte, error) {
	if compressed {
		var err error
		if payload, err = r.Inflate.Inflate(payload, r.Limit); err != nil {
			return nil, err
		}
	}
	if op == OpText && !r.exempt(payload) && !validText(payload) {
		return nil, errTextNoUTF8
	}
	return payload, nil
}

// exempt says that a text message, of which msg is the start, is a packet.
func (r *Rules) exempt(msg []byte) bool { return !r.StrictText && len(msg) > 0 && msg[0] == 0 }
