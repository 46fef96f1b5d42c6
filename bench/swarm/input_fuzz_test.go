package swarm

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// FuzzConsume gives a client arbitrary bytes. It neither panics nor loops, and it makes
// of them the same whether they come at once, in two parts, or one by one.
func FuzzConsume(f *testing.F) {
	room := stamp.To(stamp.Room, 4)
	answer, _, err := ws.NewUpgrader(ws.Options{}).Upgrade(nil, ws.AppendRequest(nil, "127.0.0.1:1", "/sub", upgradeKey))
	if err != nil {
		f.Fatal(err)
	}
	op8 := protocol.AppendPacket(nil, protocol.Packet{Ver: 1, Op: protocol.OpAuthReply, Seq: 1})
	begin := append(answer, ws.AppendFrame(nil, ws.OpBinary, op8)...)
	f.Add(uint8(upgrading), true, append(begin, container(message(room, 0, 1), message(room, 0, 2))...), 100)
	f.Add(uint8(upgrading), true, []byte("HTTP/1.1 503 Service Unavailable\r\n\r\n"), 4)
	f.Add(uint8(open), true, ws.AppendFrame(ws.AppendFrame(nil, ws.OpPing, []byte("x")), ws.OpBinary, make([]byte, 300)), 2)
	f.Add(uint8(open), true, ws.AppendClose(nil, ws.StatusGoingAway, "bye"), 3)
	f.Add(uint8(open), true, container(), 1)
	f.Add(uint8(joining), false, append(op8, message(room, 1, 1)...), 17)
	f.Add(uint8(open), false, append(message(room, 1, 5), message(room, 1, 4)...), 40)
	f.Fuzz(func(t *testing.T, in uint8, overWS bool, b []byte, cut int) {
		addr, states := "tcp://127.0.0.1:1", []state{joining, open}
		if overWS {
			addr, states = "ws://127.0.0.1:1/sub", append(states, upgrading)
		}
		begin := states[int(in)%len(states)]
		if len(b) > 64<<10 {
			return // one by one it would take too long
		}
		cut = min(max(cut, 0), len(b))
		run := func(parts ...[]byte) string {
			s, c := quietSwarm(t, addr, begin)
			for _, p := range parts {
				s.feed(c, p)
			}
			r := s.report
			return fmt.Sprint(c.state, c.waiting, s.opening, r.Open, r.Opened, r.Pushes, r.Frames, r.Framed, r.Foreign, r.Faults, r.Refused, r.Ended, r.Examples)
		}
		whole := run(b)
		if got := run(b[:cut], b[cut:]); got != whole {
			t.Errorf("in two parts, %d and %d bytes:\n%s\nat once:\n%s", cut, len(b)-cut, got, whole)
		}
		if len(b) > 2000 {
			return
		}
		if got := run(bytes.SplitAfter(b, nil)...); got != whole {
			t.Errorf("one by one:\n%s\nat once:\n%s", got, whole)
		}
	})
}
