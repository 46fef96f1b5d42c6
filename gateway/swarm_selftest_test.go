package gateway

import (
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// A client notices what is lost, repeated or out of order, and what is no push.
func TestSwarmChecks(t *testing.T) {
	s := &swarm{}
	s.report.clear()
	c := &swarmConn{state: swarmOpen}
	f := func(seq uint64, lost, repeated int64) {
		t.Helper()
		if err := s.push(c, protocol.Packet{Op: 1000, Body: appendStamped(nil, seq, 0, 30)}); err != nil {
			t.Fatal(err)
		}
		if s.report.Lost != lost || s.report.Repeated != repeated {
			t.Errorf("after push %d: lost %d, repeated %d; want %d, %d", seq, s.report.Lost, s.report.Repeated, lost, repeated)
		}
	}
	f(1, 0, 0)
	f(2, 0, 0)
	f(2, 0, 1)
	f(1, 0, 2)
	f(3, 0, 2)
	f(7, 3, 2)
	f(5, 3, 3)
	f(8, 3, 3)
	if got := strings.Join(s.report.Errors, "; "); !strings.Contains(got, "push 7 after push 3") || c.pushes != 8 || s.report.Pushes != 8 {
		t.Errorf("%d pushes, errors: %s", c.pushes, got)
	}
	for name, err := range map[string]error{
		"a short body":       s.push(c, protocol.Packet{Op: 1000, Body: make([]byte, minStamped-1)}),
		"an op below 1000":   s.push(c, protocol.Packet{Op: 999, Body: make([]byte, 30)}),
		"a push before op 8": s.push(&swarmConn{state: swarmJoining}, protocol.Packet{Op: 1000, Body: make([]byte, 30)}),
		"a second op 8":      s.packet(c, protocol.Packet{Op: protocol.OpAuthReply}),
		"a cut op 9":         s.packet(c, protocol.Packet{Op: protocol.OpRaw, Body: make([]byte, 3)}),
	} {
		if err == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}

// Frames are found at every length, and only when they are complete.
func TestServerFrame(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		in := append(ws.AppendFrame(nil, ws.OpBinary, make([]byte, size)), 0x88, 0)
		op, payload, n, err := serverFrame(in)
		if op != ws.OpBinary || len(payload) != size || n != len(in)-2 || err != nil {
			t.Errorf("%d bytes: opcode %d, %d bytes, took %d of %d: %v", size, op, len(payload), n, len(in)-2, err)
		}
		for _, part := range []int{0, 1, 2, 3, 9, len(in) - 3} {
			if _, _, n, err := serverFrame(in[:min(part, len(in)-3)]); n != 0 || err != nil {
				t.Errorf("%d bytes, %d of them there: took %d: %v", size, part, n, err)
			}
		}
	}
	for _, in := range []string{"\x02\x00", "\xc2\x00", "\x82\x80"} {
		if _, _, _, err := serverFrame([]byte(in)); err == nil {
			t.Errorf("%q was not noticed", in)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for ns := range int64(1_000_000) {
		h.add(ns)
	}
	f := func(q float64, want int64) {
		t.Helper()
		if got := int64(h.quantile(q)); got < want || got > want+want/60+1 {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	f(0.00001, 9)
	f(0.0001, 99)
	f(0.5, 499_999)
	f(0.99, 989_999)
	f(1, 999_999)
	if got := (histogram{}).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}
