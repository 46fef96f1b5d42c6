package gateway

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
)

// bodies are those of the packets that were written to a fake TCP client.
func bodies(t *testing.T, wire []byte) (list []string) {
	t.Helper()
	for len(wire) > 0 {
		p, n, err := protocol.Parse(wire, 1<<20)
		if err != nil || n == 0 {
			t.Fatalf("%q: %v", wire, err)
		}
		list = append(list, string(p.Body))
		wire = wire[n:]
	}
	return list
}

// While a large room is served in slices, members come, go and are closed, and
// more messages come: who is a member all the time gets everything once, in order,
// who was there for a message's whole turn gets it, nobody gets one twice.
func TestRoomChangesDuringFlush(t *testing.T) {
	for seed := range uint64(50) {
		l, _, conns := fakeRoom(t, 0)
		rnd := rand.New(rand.NewPCG(seed, 1))
		got := map[*fakeConn]*[]byte{}
		add := func() *fakeConn {
			c := &fakeConn{loop: l}
			wire := &[]byte{}
			got[c] = wire
			c.onWrite = func(b []byte) (int, error) { *wire = append(*wire, b...); return len(b), nil }
			s := fakeSession(l, c, formTCP)
			l.join(s, "live://1")
			conns = append(conns, c)
			return c
		}
		for range 700 {
			add()
		}
		r := l.rooms["live://1"]
		stays := slices.Clone(conns[:300])
		leaving := slices.Clone(conns[300:])
		sent := 0
		more := true
		for step := 0; more || sent < 20; step++ {
			if sent < 20 && step%2 == 0 {
				l.toRoom(r.node, testMessage(fmt.Sprint(sent)))
				sent++
			}
			for range 20 {
				if n := len(leaving); n > 0 {
					i := rnd.IntN(n)
					s := leaving[i].ctx.(*session)
					leaving = slices.Delete(leaving, i, i+1)
					if rnd.IntN(2) == 0 {
						l.leave(s)
					} else {
						l.hangUp(s)
					}
				}
			}
			add()
			chime{}.run(l) // a room that rests waits for it
			more = l.settle() || l.wheel.rooms > 0
		}
		for _, c := range stays {
			list := bodies(t, *got[c])
			if len(list) != sent {
				t.Fatalf("seed %d: a member got %d of %d messages: %v", seed, len(list), sent, list)
			}
		}
		for _, wire := range got {
			list := bodies(t, *wire)
			for i, body := range list {
				if i > 0 && body != fmt.Sprint(1+atoi(list[i-1])) {
					t.Fatalf("seed %d: a member got %v", seed, list)
				}
			}
		}
	}
}

func atoi(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// A small room does not wait until a large one has been served.
func TestSmallRoomBesideLarge(t *testing.T) {
	l, big, _ := fakeRoom(t, 5000)
	c := &fakeConn{loop: l}
	l.join(fakeSession(l, c, formTCP), "live://2")
	l.toRoom(big.node, testMessage("x"))
	l.toRoom(l.rooms["live://2"].node, testMessage("y"))
	if more := l.settle(); !more || c.written != 1 {
		t.Errorf("after a slice: more %v, %d writes to the small room", more, c.written)
	}
	if big.flushing == nil || big.todo < 5000-sliceWrites || big.todo == 5000 {
		t.Errorf("%d of 5,000 members wait", big.todo)
	}
}

// stepper returns what lets time pass, pushes messages to r, and compares how many writes
// c has seen by then. It is for use within synctest.
func stepper(t *testing.T, l *loop, r *room, c *fakeConn) func(d time.Duration, writes int, messages ...string) {
	return func(d time.Duration, writes int, messages ...string) {
		t.Helper()
		time.Sleep(d)
		for _, m := range messages {
			l.toRoom(r.node, testMessage(m))
		}
		chime{}.run(l)
		if more := l.settle(); more || c.written != writes {
			t.Fatalf("%d writes, want %d; more: %v", c.written, writes, more)
		}
	}
}

// With coalesce the first message leaves at once, followers together when the
// window ends, and after a pause it is at once again.
func TestCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r, conns := fakeRoom(t, 2)
		r.options.Coalesce = 50 * time.Millisecond
		var wire []byte
		tcp := conns[1]
		tcp.onWrite = func(b []byte) (int, error) { tcp.written++; wire = append(wire, b...); return len(b), nil }
		step := stepper(t, l, r, tcp)
		step(0, 1, "0")
		step(10*time.Millisecond, 1, "1", "2")
		step(39*time.Millisecond, 1, "3")
		step(2*time.Millisecond, 2)
		step(40*time.Millisecond, 2, "4") // within the window of 1, 2 and 3
		step(10*time.Millisecond, 3)
		step(time.Second, 4, "5")
		step(60*time.Millisecond, 5, "6")
		if got := bodies(t, wire); fmt.Sprint(got) != "[0 1 2 3 4 5 6]" {
			t.Errorf("got %v", got)
		}
		if l.wheel.rooms != 0 {
			t.Errorf("%d rooms wait", l.wheel.rooms)
		}
		l.chime.stop()
	})
}

// A room whose flush has taken long rests twice as long, 50 ms at most: what comes
// meanwhile leaves together. After that, and in a room that is served quickly, a message
// leaves at once.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r, conns := fakeRoom(t, 2)
		slow := 5 * time.Millisecond
		var wire []byte
		tcp := conns[1]
		tcp.onWrite = func(b []byte) (int, error) { tcp.written++; wire = append(wire, b...); return len(b), nil }
		conns[0].onWrite = func(b []byte) (int, error) { time.Sleep(slow); return len(b), nil }
		step := stepper(t, l, r, tcp)
		step(time.Second, 1, "0")         // takes 5 ms: rests 10
		step(time.Millisecond, 1, "1")    //
		step(8*time.Millisecond, 1, "2")  //
		step(time.Millisecond, 2)         // 1 and 2 leave
		slow = time.Second                //
		step(10*time.Millisecond, 3, "3") // takes a second: rests 50 ms
		slow = 0                          //
		step(49*time.Millisecond, 3, "4") //
		step(time.Millisecond, 4)         //
		step(0, 5, "5")                   // that was quick
		big := make([]byte, maxWrite)     //
		slow = 5 * time.Millisecond       //
		step(0, 7, "6", string(big))      // more than a write holds: nothing is kept back
		if got := bodies(t, wire); fmt.Sprint(got[:6]) != "[0 1 2 3 4 5]" || len(got) != 8 {
			t.Errorf("got %.100v", got)
		}
		if l.wheel.rooms != 0 {
			t.Errorf("%d rooms wait", l.wheel.rooms)
		}
		l.chime.stop()
	})
}

// Pushes to all do not hold up a room: they go in slices.
func TestCastInSlices(t *testing.T) {
	l, _, conns := fakeRoom(t, 3000)
	share := &castShare{}
	share.left.Store(1)
	l.addCast(share, testMessage("x"), 1)
	slices := 0
	for more := true; more; slices++ {
		if more = l.settle(); l.left < 0 {
			t.Fatalf("a slice of %d writes", sliceWrites-l.left)
		}
	}
	if slices < 3000/sliceWrites {
		t.Errorf("%d slices", slices)
	}
	for i, c := range conns {
		if c.written != 1 {
			t.Fatalf("session %d got %d writes", i, c.written)
		}
	}
}
