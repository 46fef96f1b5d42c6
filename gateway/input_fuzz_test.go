package gateway

import (
	"bytes"
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// FuzzInput feeds bytes to an open session, at once and in pieces: it never
// panics, and answers and the end are the same however the bytes come.
func FuzzInput(f *testing.F) {
	beat := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpHeartbeat, Seq: 1})
	room := protocol.AppendPacket(nil, protocol.Packet{Op: protocol.OpChangeRoom, Body: []byte("live://1")})
	frame := func(op ws.OpCode, payload []byte) []byte {
		return ws.AppendClientFrame(nil, op, [4]byte{1, 2, 3, 4}, bytes.Clone(payload))
	}
	f.Add(false, append(bytes.Clone(beat), room...), uint16(7))
	f.Add(false, []byte{0, 0, 0, 15, 0, 16}, uint16(1))
	f.Add(true, append(frame(ws.OpBinary, beat), frame(ws.OpPing, []byte("x"))...), uint16(3))
	f.Add(true, append(frame(ws.OpText, room), frame(ws.OpClose, []byte{3, 232})...), uint16(5))
	f.Add(true, frame(ws.OpText, []byte("{}")), uint16(2))

	cfg := Default()
	cfg.ID, cfg.Loops, cfg.MaxBacklog = "gw", 1, 64<<20
	srv, err := New(cfg, testDeps(f, nil))
	if err != nil {
		f.Fatal(err)
	}
	l := srv.loops[0]
	feed := func(isWS bool, data []byte, piece int) (written []byte, end state) {
		c := &fakeConn{loop: l}
		c.onWrite = func(b []byte) (int, error) {
			written = append(written, b...)
			return len(b), nil
		}
		s := fakeSession(l, c, formTCP)
		if isWS {
			s.form = formWS
			s.mark(flagFirst)
		}
		for len(data) > 0 {
			n := min(piece, len(data))
			l.input(s, bytes.Clone(data[:n])) // frames are unmasked in place
			data = data[n:]
		}
		end = s.state
		l.hangUp(s)
		return written, end
	}
	f.Fuzz(func(t *testing.T, isWS bool, data []byte, piece uint16) {
		whole, end := feed(isWS, data, len(data))
		pieces, endPieces := feed(isWS, data, int(piece)%97+1)
		if !bytes.Equal(whole, pieces) || end != endPieces {
			t.Errorf("at once: state %d, %x\nin pieces of %d: state %d, %x", end, whole, int(piece)%97+1, endPieces, pieces)
		}
		if srv.m.panics.Get() > 0 {
			t.Error("it panicked")
		}
	})
}
