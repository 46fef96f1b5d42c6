package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// sendQueues is what the kernel charges for the ends of r's connections over TCP.
func sendQueues(t *testing.T, r *rig) int64 {
	t.Helper()
	return socketBuffers(t, int(netip.MustParseAddrPort(r.tcp).Port()))
}

// behind is how many sessions of the first loop are behind.
func behind(r *rig) int {
	n := make(chan int)
	r.loops[0].mailbox.post(mailFunc(func(l *loop) { n <- len(l.behind) }))
	return <-n
}

// What the kernel holds for clients that do not read is counted to the byte, long
// before their sockets are full. While the budget is not tight that is all.
func TestKernelIsCounted(t *testing.T) {
	const n, pushes = 20, 50
	r := start(t, func(c *Config) { c.Loops, c.Sndbuf = 1, 1<<20 })
	var clients []*testkit.Client
	for i := range n {
		clients = append(clients, stalled(t, r, fmt.Sprint("k", i), "live://1"))
	}
	j, body := r.job(t), strings.Repeat("x", 4000)
	for range pushes {
		j.must(toRoom("live://1", body))
	}
	testkit.Eventually(t, patience, func() bool {
		holds := sendQueues(t, r)
		return holds > n*20<<10 && r.backlog.Load() == holds
	}, "what sockets hold is counted")
	if n := behind(r); n != 0 {
		t.Errorf("%d sessions are behind", n)
	}
	for _, c := range clients {
		for range pushes {
			want(t, c, 1000, body)
		}
	}
	testkit.Eventually(t, patience, func() bool { return r.backlog.Load() == 0 }, "nothing is counted any more")
}

// However many stop reading, what the kernel holds for them comes back under the
// budget after each push; the one that reads gets all.
func TestKernelIsInBudget(t *testing.T) {
	const clients, budget, pushes = 60, 1 << 20, 30
	r := start(t, func(c *Config) { c.Loops, c.MaxBacklog = 1, budget })
	unread(t, r, clients, func(string) *testkit.Client { return testkit.DialTCP(t, r.tcp) })
	reader := testkit.DialTCP(t, r.tcp)
	reader.Auth(token("reader", "live://1"))
	j := r.job(t)
	for i := range pushes {
		body := fmt.Sprint(i, strings.Repeat("x", 8<<10))
		j.must(toRoom("live://1", body))
		want(t, reader, 1000, body)
		testkit.Eventually(t, patience, func() bool { return sendQueues(t, r) <= budget }, "under the budget")
	}
	if n := closedBy(r, closeBudget) + closedBy(r, closeSlow); n+uint64(r.Conns()) != clients+1 {
		t.Errorf("%d were closed, %d are open", n, r.Conns())
	}
}

// When little is left of the budget, who does not read gets no more into its socket,
// and who reads is served as ever.
func TestTightBudget(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops, c.Sndbuf, c.MaxBacklog = 1, 1<<20, 8<<20 })
	stalled(t, r, "k", "live://1")
	reader := testkit.DialTCP(t, r.tcp)
	reader.Auth(token("reader", "live://1"))
	j := r.job(t)
	send := func() {
		t.Helper()
		body := strings.Repeat("x", 8<<10)
		j.must(toRoom("live://1", body))
		want(t, reader, 1000, body)
	}
	testkit.Eventually(t, patience, func() bool {
		send()
		return sendQueues(t, r) > 20<<10
	}, "the socket of one that does not read holds something")
	r.backlog.Add(7 << 20) // as if others were slow
	testkit.Eventually(t, patience, func() bool { return behind(r) == 1 }, "it is behind")
	holds := sendQueues(t, r)
	for range 20 {
		send()
		r.loops[0].mailbox.post(pollMail{})
	}
	testkit.Eventually(t, patience, func() bool { return sendQueues(t, r) <= holds }, "its socket holds no more")
	if behind(r) != 1 || closedBy(r, closeBudget) != 0 {
		t.Errorf("%d are behind, %d closed", behind(r), closedBy(r, closeBudget))
	}
	r.backlog.Add(-7 << 20)
	testkit.Eventually(t, patience, func() bool { return sendQueues(t, r) > holds }, "it gets more again")
}

// Over the budget one that reads slowly stays, one that does not read is closed.
func TestOverBudgetSparesReaders(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops, c.Sndbuf, c.MaxOutbound, c.MaxBacklog = 1, 1<<20, 4<<20, 16<<20 })
	j, body := r.job(t), strings.Repeat("x", 8<<10)
	stalled(t, r, "stalled", "live://1")
	reader := stalled(t, r, "reader", "live://1")
	pushed, read := 0, 0
	step := func() { // always 80 ahead of the reader
		t.Helper()
		for ; pushed < read+80; pushed++ {
			j.must(toRoom("live://1", fmt.Sprint(pushed, body)))
		}
		want(t, reader, 1000, fmt.Sprint(read, body))
		read++
	}
	step()
	r.backlog.Add(17 << 20)                       // as if others were slow
	pace := time.NewTicker(15 * time.Millisecond) // its socket is never empty
	defer pace.Stop()
	for until := r.coarse() + 2*uint32(ticks(graceTime)); r.coarse() <= until; {
		<-pace.C
		step()
	}
	testkit.Eventually(t, patience, func() bool { return closedBy(r, closeBudget) == 1 }, "one is closed")
	r.backlog.Add(-17 << 20)
	for read < pushed {
		want(t, reader, 1000, fmt.Sprint(read, body))
		read++
	}
	if n := r.Conns(); n != 1 {
		t.Errorf("%d are open, want the reader", n)
	}
	testkit.Eventually(t, patience, func() bool { return r.backlog.Load() == 0 }, "nothing is counted any more")
}

// A client that is gone without a word leaves nothing in the kernel when its
// heartbeats are missed.
func TestGoneLeavesNothing(t *testing.T) {
	r := start(t, func(c *Config) { c.Loops, c.Heartbeat = 1, time.Second })
	j, body := r.job(t), strings.Repeat("x", 8<<10)
	for i := range 5 {
		stalled(t, r, fmt.Sprint("k", i), "live://1")
	}
	for range 30 {
		j.must(toRoom("live://1", body))
	}
	testkit.Eventually(t, patience, func() bool { return sendQueues(t, r) > 0 }, "their sockets hold something")
	testkit.Eventually(t, patience, func() bool { return closedBy(r, closeHeartbeat) == 5 && r.Conns() == 0 }, "they are closed")
	testkit.Eventually(t, patience, func() bool { return sendQueues(t, r) == 0 }, "the kernel holds nothing")
}
