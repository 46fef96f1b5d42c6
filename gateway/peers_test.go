package gateway

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// deafen makes a client's kernel drop what comes for it, as when its network is
// gone: nothing is acknowledged, nothing is reset. A filter that accepts no byte of
// any segment does it (socket(7), SO_ATTACH_FILTER).
func deafen(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var attached error
	if err := raw.Control(func(fd uintptr) {
		attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]})
	}); err != nil || attached != nil {
		t.Fatal(err, attached)
	}
}

// A peer whose network is gone is found while we push to it: the kernel alone would
// go on for a quarter of an hour, and the heartbeat ends after minutes.
func TestHalfOpenPeer(t *testing.T) {
	r := start(t, func(c *Config) { c.UserTimeout = time.Second })
	j := r.job(t)
	gone, here := testkit.DialTCP(t, r.tcp), testkit.DialTCP(t, r.tcp)
	gone.Auth(token("gone", "live://1"))
	here.Auth(token("here", "live://1"))
	deafen(t, gone.Conn())
	pushed := 0
	testkit.Eventually(t, 2*patience, func() bool {
		j.must(toRoom("live://1", fmt.Sprint(pushed)))
		want(t, here, 1000, fmt.Sprint(pushed))
		pushed++
		return r.Conns() == 1
	}, "the peer that is gone is closed")
	if n := closedBy(r, closePeer); n != 1 {
		t.Errorf("%d closed by their peers", n)
	}
}

// stalled is a client with a small receive buffer that does not read: what is
// pushed to it soon waits at the gateway.
func stalled(t *testing.T, r *rig, key, room string) *testkit.Client {
	t.Helper()
	c := testkit.DialTCP(t, r.tcp)
	if err := c.Conn().(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	c.Auth(token(key, room))
	return c
}

// What a real client that stopped reading finds when it reads again, by the policy
// of its room; another member gets everything in any case.
func TestSlowPoliciesOnSockets(t *testing.T) {
	const n, size = 400, 10 << 10
	f := func(policy string, check func(t *testing.T, r *rig, got []int)) {
		t.Run(policy, func(t *testing.T) {
			r := startRules(t, func(c *Config) { c.Sndbuf, c.MaxOutbound = 16<<10, 64<<10 }, "live://* slow="+policy)
			j := r.job(t)
			slow, other := stalled(t, r, "slow", "live://1"), testkit.DialTCP(t, r.tcp)
			other.Auth(token("other", "live://1"))
			for i := range n {
				body := fmt.Sprintf("%d %s", i, strings.Repeat("x", size))
				testkit.Eventually(t, patience, func() bool { return j.send(toRoom("live://1", body)).Status == 0 }, "taken")
				if got := string(other.Push().Body); got != body {
					t.Fatalf("another member got %.10q, want message %d", got, i)
				}
			}
			j.must(toKeys(1, "end", "slow")) // not accepted, not sent
			var got []int
			slow.Timeout = time.Second
			for {
				p, err := slow.PushErr()
				if err != nil {
					break // nothing more comes, or it was closed
				}
				got = append(got, atoi(string(p.Body)))
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Fatalf("out of order: %v", got)
				}
			}
			check(t, r, got)
		})
	}
	f("drop", func(t *testing.T, r *rig, got []int) {
		if len(got) < 10 || len(got) == n || uint64(n-len(got)) != r.m.slowDropped.Get() || closedBy(r, closeSlow) != 0 {
			t.Errorf("got %d of %d, %d counted as dropped", len(got), n, r.m.slowDropped.Get())
		}
	})
	f("conflate", func(t *testing.T, r *rig, got []int) {
		if len(got) < 2 || got[len(got)-1] != n-1 || uint64(n-len(got)) != r.m.conflated.Get() || closedBy(r, closeSlow) != 0 {
			t.Errorf("got %v, %d counted as conflated", got, r.m.conflated.Get())
		}
	})
	f("close", func(t *testing.T, r *rig, got []int) {
		testkit.Eventually(t, patience, func() bool { return closedBy(r, closeSlow) == 1 }, "closed as slow")
		for i, m := range got {
			if i != m {
				t.Fatalf("a gap before the end: %v", got)
			}
		}
	})
}

// A client that was behind and reads again gets all of it, and goes on as before.
func TestCatchesUp(t *testing.T) {
	r := start(t, func(c *Config) { c.Sndbuf, c.MaxOutbound, c.Loops = 16<<10, 4<<20, 1 })
	j := r.job(t)
	c := stalled(t, r, "k", "live://1")
	body := strings.Repeat("x", 10<<10)
	for i := range 200 { // 2 MB
		j.must(toRoom("live://1", fmt.Sprint(i, " ", body)))
	}
	testkit.Eventually(t, patience, func() bool { return r.backlog.Load() > 0 }, "it is behind")
	for i := range 200 {
		if got := string(c.Push().Body); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("got %.10q, want message %d", got, i)
		}
	}
	testkit.Eventually(t, patience, func() bool { return r.backlog.Load() == 0 }, "nothing waits any more")
	j.must(toRoom("live://1", "live again"))
	want(t, c, 1000, "live again")
	c.Send(protocol.Packet{Op: protocol.OpHeartbeat, Seq: 9})
	c.RecvOp(protocol.OpHeartbeatReply)
}
