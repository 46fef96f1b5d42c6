package gateway

import (
	"sync/atomic"
	"unsafe"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// form is how packets look to a client: its dialect, its framing, compressed or
// not. TLS is not part of it.
type form uint8

const (
	formTCP   form = iota // goim's packets, one after another
	formWS                // goim's packets, one to a binary message
	formWSz               // likewise, with permessage-deflate
	formJSON              // JSON packets, one to a text message
	formJSONz             // likewise, with permessage-deflate
	formIMTCP             // im-cloud's packets, one after another
	formIMWS              // im-cloud's packets, one to a binary message
	formEcho              // no packets: whole WebSocket messages go back
	formEchoZ             // likewise, with permessage-deflate
	forms
)

func (f form) isWS() bool   { return f != formTCP && f != formIMTCP }
func (f form) isJSON() bool { return f == formJSON || f == formJSONz }
func (f form) isIM() bool   { return f == formIMTCP || f == formIMWS }
func (f form) isEcho() bool { return f == formEcho || f == formEchoZ }

// deflates says that permessage-deflate was negotiated.
func (f form) deflates() bool { return f == formWSz || f == formJSONz || f == formEchoZ }

// deflated is f with permessage-deflate.
func (f form) deflated() form { return f + 1 }

// message is a push as the loops share it: encoded once per node and form in use.
// Nobody writes to it but to the forms that are made when they are first needed, and
// to held.
type message struct {
	op    int32
	room  *nodeRoom // nil: not to a room
	inner []byte    // packet as it stands inside op 9: ver 1, its op, seq 0, body

	json  atomic.Pointer[[]byte] // the same as JSON
	frame [2]atomic.Pointer[[]byte]

	held atomic.Int32 // sessions that are behind and for which it waits
}

// cost is what m takes, in bytes, without the forms that are made when needed.
func (m *message) cost() int64 { return int64(unsafe.Sizeof(*m)) + int64(len(m.inner)) }

// Indexes of message.frame: the message alone, as a compressed frame.
const (
	frameWSz = iota
	frameJSONz
)

func (m *message) body() []byte { return m.inner[protocol.HeaderSize:] }

// asJSON is the message as a JSON packet. Two loops may both make it; the same.
func (m *message) asJSON() []byte {
	if b := m.json.Load(); b != nil {
		return *b
	}
	b := protocol.AppendJSON(nil, protocol.Packet{Ver: protocol.PushVer, Op: protocol.Op(m.op), Body: m.body()})
	m.json.Store(&b)
	return b
}

// appendPushes appends msgs as they travel to clients of a form. What comes
// together leaves in as few packets and frames as the form allows.
func (l *loop) appendPushes(dst []byte, f form, msgs []*message) []byte {
	switch f {
	case formTCP:
		for _, m := range msgs {
			dst = append(dst, m.inner...)
		}
	case formIMTCP, formIMWS:
		for _, m := range msgs {
			dst = appendPacket(dst, f, protocol.Packet{Ver: imVer, Op: protocol.OpRaw, Seq: imSeq, Body: m.body()})
		}
	case formWSz, formJSONz:
		if len(msgs) == 1 {
			return append(dst, l.compressedOnce(f, msgs[0])...)
		}
		fallthrough
	default:
		for len(msgs) > 0 {
			n := mergeable(f, msgs)
			dst = l.appendMerged(dst, f, msgs[:n])
			msgs = msgs[n:]
		}
	}
	return dst
}

// compressedOnce is the frame of one message, made by the loop that needs it first.
func (l *loop) compressedOnce(f form, m *message) []byte {
	at := &m.frame[frameWSz]
	if f == formJSONz {
		at = &m.frame[frameJSONz]
	}
	if b := at.Load(); b != nil {
		return *b
	}
	one := [1]*message{m}
	b := l.appendMerged(nil, f, one[:])
	at.Store(&b)
	return b
}

// maxMerged bounds the inner packets of one op-9 packet, in bytes. A single
// larger one goes alone.
const maxMerged = 64 << 10

// mergeable is how many of msgs go into one op-9 packet, at least one.
func mergeable(f form, msgs []*message) (n int) {
	size := 0
	for n < len(msgs) {
		if size += msgs[n].size(f); n > 0 && size > maxMerged {
			break
		}
		n++
	}
	return n
}

func (m *message) size(f form) int {
	if f.isJSON() {
		return len(m.asJSON())
	}
	return len(m.inner)
}

// appendMerged appends one frame with one op-9 packet that holds all of msgs.
func (l *loop) appendMerged(dst []byte, f form, msgs []*message) []byte {
	total := 0
	for _, m := range msgs {
		total += m.size(f)
	}
	op, size := ws.OpBinary, protocol.HeaderSize+total
	if f.isJSON() {
		op, size = ws.OpText, protocol.JSONPushSize(len(msgs), total)
	}
	if !f.deflates() {
		return appendContainer(ws.AppendHeader(dst, op, size), f, size, msgs)
	}
	l.codec.plain = appendContainer(l.codec.plain[:0], f, size, msgs)
	return l.codec.deflater().AppendDeflated(dst, op, l.codec.plain)
}

// appendContainer appends the op-9 packet of msgs, size bytes in all.
func appendContainer(dst []byte, f form, size int, msgs []*message) []byte {
	if !f.isJSON() {
		dst = protocol.AppendHeader(dst, protocol.PushVer, protocol.OpRaw, 0, size-protocol.HeaderSize)
		for _, m := range msgs {
			dst = append(dst, m.inner...)
		}
		return dst
	}
	dst = append(dst, protocol.JSONPushHead...)
	for i, m := range msgs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.asJSON()...)
	}
	return append(dst, protocol.JSONPushTail...)
}

// appendPacket appends an answer as the form has it. Answers are short and are not
// compressed: RFC 7692 §6 leaves that to the sender, message by message.
func appendPacket(dst []byte, f form, p protocol.Packet) []byte {
	if f.isJSON() {
		start := len(dst)
		dst = protocol.AppendJSON(dst, p)
		return frameBehind(dst, start, ws.OpText)
	}
	if f.isWS() {
		dst = ws.AppendHeader(dst, ws.OpBinary, protocol.HeaderSize+len(p.Body))
	}
	return protocol.AppendPacket(dst, p)
}

// frameBehind puts the header of a frame before the payload that begins at start.
func frameBehind(dst []byte, start int, op ws.OpCode) []byte {
	var head [ws.MaxHeader]byte
	h := ws.AppendHeader(head[:0], op, len(dst)-start)
	dst = append(dst, h...)
	copy(dst[start+len(h):], dst[start:])
	copy(dst[start:], h)
	return dst
}
