package gateway

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/testkit"
)

// A drain tells clients that asked for it where to go and when, the others
// nothing, refuses new ones with the same, and closes all with 1012.
func TestDrainHints(t *testing.T) {
	// Long enough that the one that was told stays until the new one is refused.
	r := start(t, func(c *Config) { c.DrainTimeout = 4 * time.Second })
	r.others.Store(&[]rpc.LeaseNode{{ID: "gw2", Host: "gw2.example.com", WSPort: 3102}})
	asked, not := testkit.DialWS(t, r.ws), testkit.DialWS(t, r.ws)
	asked.Auth(`{"key":"a","hints":true}`)
	not.Auth(`{"key":"b"}`)
	go r.stop()
	var got hint
	p := asked.RecvOp(protocol.OpDisconnectReply)
	if err := json.Unmarshal(p.Body, &got); err != nil {
		t.Fatalf("%s: %v", p.Body, err)
	}
	if got.Reason != "drain" || got.ReconnectMS < 0 || got.ReconnectMS > 1000 || len(got.Nodes) != 1 || got.Nodes[0] != "ws://gw2.example.com:3102/sub" {
		t.Errorf("the hint is %s", p.Body)
	}
	if r.Healthy() == nil {
		t.Error("healthy while draining")
	}
	expectBusy(t, r.ws, closeDrain, "ws://gw2.example.com:3102/sub")
	if rest := asked.ExpectClosed(); len(rest) != 0 {
		t.Errorf("one that was told got %+v", rest)
	}
	if rest := not.ExpectClosed(); len(rest) != 0 {
		t.Errorf("one that did not ask got %+v", rest)
	}
	if asked.CloseCode() != 1012 || not.CloseCode() != 1012 {
		t.Errorf("close codes %d and %d", asked.CloseCode(), not.CloseCode())
	}
	r.stop()
}

// One that came too late keeps its connection until it was told, whichever tick meets
// it first.
func TestDrainLeavesRefused(t *testing.T) {
	l, _, conns := fakeRoom(t, 2)
	member, late := conns[0].ctx.(*session), conns[1].ctx.(*session)
	l.sideOf(late).refusal = closeDrain
	l.srv.draining.Store(true)
	l.drainSome()
	if member.state < stateClosing || late.state >= stateClosing {
		t.Errorf("member in state %d, the one that came too late in %d", member.state, late.state)
	}
}

// gateway.drain_rate spreads the closing over ticks; the deadline still holds.
func TestDrainRate(t *testing.T) {
	l, _, conns := fakeRoom(t, 1000)
	l.srv.cfg.DrainRate = 100
	l.conns.Store(1000)
	l.srv.open.Store(1000)
	l.srv.draining.Store(true)
	l.srv.drainBy.Store(10_000)
	closed := func() (n int) {
		for _, c := range conns {
			if s := c.ctx.(*session); s.state >= stateClosing {
				n++
			}
		}
		return n
	}
	l.now = 1
	for range 20 { // 2 s
		l.drainSome()
		l.now++
	}
	if n := closed(); n < 100 || n > 300 {
		t.Errorf("%d closed in 2 s at 100 per second", n)
	}
	l.now = l.drain.deadline
	l.drainSome()
	if n := closed(); n != 1000 {
		t.Errorf("%d of 1,000 are closed at the deadline", n)
	}
}
