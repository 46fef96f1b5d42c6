package pusher

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/testkit"
)

// target is one that messages come to, and the lane that they come by.
type target struct {
	to   stamp.Target
	lane uint8
}

// rest is a REST API that keeps the numbers of messages as they come, and whom they
// are addressed to.
type rest struct {
	url string

	mu sync.Mutex
	// guards below
	seqs map[target][]uint32
	dues []time.Duration
	asks []string // queries, of the first few
}

func newRest(t *testing.T, answer http.HandlerFunc) *rest {
	t.Helper()
	x := &rest{seqs: map[target][]uint32{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s, from := stamp.Parse(body, 7)
		if from != stamp.Whole {
			t.Errorf("%s: %q", r.URL, body)
		}
		x.mu.Lock()
		at := target{s.Target, s.Lane}
		x.seqs[at] = append(x.seqs[at], s.Seq)
		x.dues = append(x.dues, s.Due)
		x.asks = append(x.asks, r.Method+" "+r.URL.String())
		x.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	x.url = server.URL
	return x
}

func fine(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"code":0,"message":""}`)
}

// done waits for the end of a flow.
func done(t *testing.T, p *Pusher, n int) (s Sent) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() bool {
		var err error
		if s, err = p.sent(n); err != nil {
			t.Fatal(err)
		}
		return s.Done
	}, "the flow ends")
	return s
}

// Each lane of each target numbers its messages from 1 without a hole, in the order in
// which they are sent, and the account says the same.
func TestSequences(t *testing.T) {
	testkit.LeakCheck(t)
	f := func(lanes, targets int, rate float64) {
		t.Helper()
		server := newRest(t, fine)
		p := New(work.NewClock())
		x := Flow{
			Run: 7, URLs: []string{server.url}, Kind: stamp.Room, First: 3, Targets: targets, FirstLane: 2, Lanes: lanes,
			Rate: rate, Burst: 1, Limit: 203, Size: 30, Op: 1000, Patience: 10 * time.Second,
		}
		n, err := p.send(x)
		if err != nil {
			t.Fatal(err)
		}
		s := done(t, p, n)
		a, err := p.accepted(n)
		if err != nil || s.Sent != x.Limit || s.Accepted != x.Limit || len(a.Counts) != targets*x.PerTarget() {
			t.Fatalf("%+v, %d counts, %v", s, len(a.Counts), err)
		}
		total := 0
		for i, c := range a.Counts {
			at := target{stamp.To(stamp.Room, 3+i/x.PerTarget()), uint8(2 + i%x.PerTarget())}
			seqs, sum := server.seqs[at], uint64(0)
			for j, seq := range seqs {
				if seq != uint32(j+1) {
					t.Errorf("%d lanes, %d targets: %+v has got %v", lanes, targets, at, seqs)
					break
				}
				sum += uint64(seq)
			}
			if int(c.Least) != len(seqs) || c.Least != c.Most || c.Sum != sum {
				t.Errorf("%d lanes, %d targets: %+v has got %d messages, account %+v", lanes, targets, at, len(seqs), c)
			}
			total += len(seqs)
		}
		if total != int(x.Limit) {
			t.Errorf("%d messages have come, want %d", total, x.Limit)
		}
	}
	f(1, 1, 0)
	f(4, 1, 0)
	f(5, 3, 0)
	f(3, 5, 0)
	f(4, 8, 2000)
	f(7, 50, 0)
}

// With a rate messages are due when it says, whoever is slow; a stopped flow tells what
// was due and not sent.
func TestSchedule(t *testing.T) {
	testkit.LeakCheck(t)
	held := make(chan struct{})
	server := newRest(t, func(w http.ResponseWriter, r *http.Request) { <-held; fine(w, r) })
	clock := work.NewClock()
	p := New(clock)
	x := Flow{Run: 7, URLs: []string{server.url}, Kind: stamp.All, Targets: 1, Lanes: 2, Rate: 1000, Burst: 4, Size: 30, Op: 1, Patience: 20 * time.Second}
	n, err := p.send(x)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { return clock.Now() > 100*time.Millisecond }, "100 messages are due")
	before := clock.Now()
	if _, err := p.stop(n); err != nil {
		t.Fatal(err)
	}
	if _, err := p.stop(n); err != nil { // again
		t.Fatal(err)
	}
	if _, err := p.accepted(n); err == nil {
		t.Error("an account of a flow that has not ended")
	}
	after := clock.Now()
	close(held)
	s := done(t, p, n)
	due := func(at time.Duration) int64 { return (int64(at/(4*time.Millisecond)) + 1) * 4 }
	if s.Sent != 2 || s.Behind < due(before)-2-4 || s.Behind > due(after)-2+4 {
		t.Errorf("sent %d, behind %d; %d to %d were due", s.Sent, s.Behind, due(before), due(after))
	}
	slices.Sort(server.dues)
	if !slices.Equal(server.dues, []time.Duration{0, 0}) {
		t.Errorf("due at %v", server.dues)
	}
}

// Whom a push is addressed to.
func TestRequests(t *testing.T) {
	testkit.LeakCheck(t)
	f := func(want string, change func(x *Flow)) {
		t.Helper()
		server := newRest(t, fine)
		p := New(work.NewClock())
		x := Flow{
			Run: 7, URLs: []string{server.url}, Targets: 1, First: 5, MidBase: 100, By: "mids", Lanes: 1, Burst: 1,
			Limit: 1, Size: 30, Op: 1000, Patience: 10 * time.Second,
		}
		change(&x)
		n, err := p.send(x)
		if err != nil {
			t.Fatal(err)
		}
		done(t, p, n)
		if len(server.asks) != 1 || server.asks[0] != want {
			t.Errorf("%q, want %q", server.asks, want)
		}
	}
	f("POST /goim/push/mids?operation=1000&mids=105", func(*Flow) {})
	f("POST /goim/push/keys?operation=1000&keys=6ba7b810-9dad-41d1-0000-000700000005", func(x *Flow) { x.By = "keys" })
	f("POST /goim/push/room?operation=1000&type=live&room=00000007-5&ack=queued", func(x *Flow) { x.Kind, x.Ack = stamp.Room, "queued" })
	f("POST /goim/push/all?operation=9", func(x *Flow) { x.Kind, x.Op = stamp.All, 9 })
}

func TestSendErrors(t *testing.T) {
	testkit.LeakCheck(t)
	p := New(work.NewClock())
	x := good()
	x.URLs = []string{"https://127.0.0.1:1"}
	if _, err := p.send(x); err == nil || !strings.Contains(err.Error(), "want http://HOST:PORT") {
		t.Errorf("error %v", err)
	}
	if _, err := p.sent(0); err == nil || !strings.Contains(err.Error(), "no flow 0") {
		t.Errorf("error %v", err)
	}
	// Nobody is there: what became of the push is not known, and it is not sent again.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	x = good()
	x.URLs, x.Limit = []string{"http://" + ln.Addr().String()}, 3
	n, err := p.send(x)
	if err != nil {
		t.Fatal(err)
	}
	if s := done(t, p, n); s.Sent != 3 || s.Unknown != 3 || len(s.Why) == 0 {
		t.Errorf("%+v", s)
	}
}
