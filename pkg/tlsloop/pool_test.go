package tlsloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// hello is a client's first flight.
func hello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	w := newWireEnd()
	ended := make(chan struct{})
	go func() { // ends with w
		defer close(ended)
		_ = tls.Client(w, config).Handshake()
	}()
	b := <-w.up
	w.Close()
	<-ended
	return b
}

// stalled is a link whose client has sent b and sends no more.
func stalled(t testing.TB, p *Pool, b []byte) (l *link, err error) {
	l = newLink(t, p, clientConfig(tls.VersionTLS13))
	return l, l.server.Feed(b)
}

// outcome waits for done.
func (l *link) outcome() error {
	l.t.Helper()
	for timeout := time.After(patience); !l.ended; {
		select {
		case mail := <-l.mails:
			mail()
		case <-timeout:
			l.t.Fatal("done was not called")
		}
	}
	return l.err
}

func TestHandshakesAreBounded(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Handshakes: 2, Waiting: 3, Timeout: time.Hour})
	ch := hello(t, clientConfig(tls.VersionTLS13))
	var links []*link
	for range 5 {
		l, err := stalled(t, p, ch)
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	if s := p.Stats(); s.Running != 2 || s.Waiting != 3 || p.Pending() != 5 {
		t.Fatalf("%+v", s)
	}
	refused, err := stalled(t, p, ch)
	if !errors.Is(err, ErrBusy) || p.Stats().Refused != 1 || p.Pending() != 5 {
		t.Fatalf("%v, %+v", err, p.Stats())
	}
	if err := refused.server.Feed([]byte("more")); err == nil {
		t.Error("a refused client was heard again")
	}

	links[3].server.Close() // one that waits
	links[0].server.Close() // one that runs
	// The oldest that waits has its place; those behind it wait on.
	testkit.Eventually(t, patience, func() bool { s := p.Stats(); return s.Running == 2 && s.Waiting == 1 }, "the next one runs")
	<-links[2].mails // its flight
	if len(links[4].mails) > 0 || len(links[3].mails) > 0 {
		t.Error("served before its turn, or after Close")
	}
	links[1].server.Close()
	links[2].server.Close()
	<-links[4].mails
	testkit.Eventually(t, patience, func() bool { return p.Stats().Aborted == 4 }, "four were closed")
	links[4].server.Close()
	testkit.Eventually(t, patience, func() bool { return p.Stats().Running == 0 && p.Pending() == 0 }, "nothing is left")
	for i, l := range links {
		for len(l.mails) > 0 {
			(<-l.mails)()
		}
		if l.ended {
			t.Errorf("%d: done was called after Close", i)
		}
		l.server.Close() // again
	}
}

// Who sends nothing, or not a whole record, has no goroutine.
func TestNoGoroutineForSilence(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Handshakes: 1, Timeout: time.Hour})
	ch := hello(t, clientConfig(tls.VersionTLS13))
	for n := range 4 {
		if _, err := stalled(t, p, ch[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stalled(t, p, ch[:len(ch)-1]); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Running != 0 || s.Waiting != 0 || p.Pending() != 4 {
		t.Errorf("%+v, %d pending, want 4", s, p.Pending())
	}
	connect(t, p, clientConfig(tls.VersionTLS13)) // they are in nobody's way
}

// Wherever a client stalls, its time ends.
func TestTimeout(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Handshakes: 1, Timeout: 100 * time.Millisecond})
	ch := hello(t, clientConfig(tls.VersionTLS13))
	byte1, _ := stalled(t, p, ch[:1])
	running, _ := stalled(t, p, ch)
	waiting, _ := stalled(t, p, ch)
	for _, l := range []*link{byte1, running, waiting} {
		if err := l.outcome(); !errors.Is(err, ErrTimeout) {
			t.Errorf("%v, want %v", err, ErrTimeout)
		}
		if err := l.server.Feed(ch); !errors.Is(err, ErrTimeout) {
			t.Errorf("then Feed: %v", err)
		}
		l.server.Establish()
		if !l.server.Handshaking() {
			t.Error("established after a timeout")
		}
	}
	if s := p.Stats(); s.Expired != 3 || p.Pending() != 0 {
		t.Errorf("%+v", s)
	}
	connect(t, p, clientConfig(tls.VersionTLS13))
}

func TestFlood(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{})
	record := append([]byte{typeHandshake, 3, 1, 0x40, 0}, make([]byte, 10)...) // says 16 KB
	l, err := stalled(t, p, record)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.server.Feed(make([]byte, maxBurst)); !errors.Is(err, ErrFlood) {
		t.Errorf("before it began: %v", err)
	}
	l.server.Close()

	ch := hello(t, clientConfig(tls.VersionTLS13))
	l, err = stalled(t, p, ch)
	if err != nil {
		t.Fatal(err)
	}
	(<-l.mails)() // it reads again
	// The beginning of a record, for whose end the handshake waits.
	if err := l.server.Feed([]byte{23, 3, 3, 0x40}); err != nil {
		t.Fatal(err)
	}
	if err := l.server.Feed(make([]byte, maxBurst)); !errors.Is(err, ErrFlood) {
		t.Errorf("while it runs: %v", err)
	}
	l.server.Close()
}

// One client may send more than its due while its handshake runs, not many.
func TestBurstsAreBounded(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Parallel: 1})
	p.turns <- struct{}{} // nobody gets one: nothing is read
	ch := hello(t, clientConfig(tls.VersionTLS13))
	const each = maxBurst - 4096
	burst := func() (*link, error) {
		l, err := stalled(t, p, ch)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, patience, func() bool {
			h := l.server.hands
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.running
		}, "it has a goroutine")
		if err := l.server.Feed(make([]byte, each/2)); err != nil {
			return l, err
		}
		return l, l.server.Feed(make([]byte, each/2))
	}
	var links []*link
	for {
		l, err := burst()
		links = append(links, l)
		if err != nil {
			if !errors.Is(err, ErrFlood) || len(links) < 16 || len(links) > 20 {
				t.Errorf("number %d: %v", len(links), err)
			}
			break
		}
	}
	small, _ := stalled(t, p, ch)
	testkit.Eventually(t, patience, func() bool { return p.Stats().Running == len(links)+1 }, "it runs")
	if err := small.server.Feed(make([]byte, maxEarly-len(ch))); err != nil {
		t.Errorf("its due: %v", err)
	}
	for _, l := range append(links, small) {
		l.server.Close()
	}
	<-p.turns
	testkit.Eventually(t, patience, func() bool { return p.Pending() == 0 }, "all ended")
	if n := p.bursts.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

// Those who send long ClientHellos that do not end share one bound, and are in
// nobody's way.
func TestLongHellosAreBounded(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Timeout: time.Hour})
	endless := make([]byte, headerLen+maxFragment-1)
	copy(endless, []byte{typeHandshake, 3, 1, maxFragment >> 8, maxFragment & 0xff})
	fit := maxBursts / (len(endless) - maxHello)
	var links []*link
	for n := 0; ; n++ {
		l, err := stalled(t, p, endless[:100])
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
		if err := l.server.Feed(endless[100:]); err != nil {
			if !errors.Is(err, ErrFlood) || n != fit {
				t.Errorf("after %d: %v, want %d", n, err, fit)
			}
			break
		}
		if n > fit {
			t.Fatal("no bound")
		}
	}
	if _, err := stalled(t, p, endless[:maxHello]); err != nil {
		t.Errorf("what all may send: %v", err)
	}
	connect(t, p, clientConfig(tls.VersionTLS13))
	for _, l := range links {
		l.server.Close()
	}
	if n := p.bursts.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

// When the pool ends, nothing of it is left, whatever was under way, and what is
// established goes on.
func TestRunEndsEverything(t *testing.T) {
	testkit.LeakCheck(t)
	p := newPool(t, Options{Handshakes: 2, Timeout: time.Hour})
	stop := runPool(t, p)
	established := connect(t, p, clientConfig(tls.VersionTLS13))
	ch := hello(t, clientConfig(tls.VersionTLS13))
	var links []*link
	for range 5 {
		l, _ := stalled(t, p, ch)
		links = append(links, l)
	}
	l, _ := stalled(t, p, ch[:7])
	links = append(links, l)
	stop()
	for i, l := range links {
		if err := l.outcome(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%d: %v, want %v", i, err, net.ErrClosed)
		}
	}
	if s := p.Stats(); s.Running != 0 || s.Waiting != 0 || p.Pending() != 0 || s.Aborted != 6 {
		t.Errorf("%+v", s)
	}
	if _, err := stalled(t, p, ch); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a new one: %v", err)
	}
	_, _ = established.client.Write([]byte("go on"))
	if plain, _ := established.arrived(); string(plain) != "go on" {
		t.Errorf("%q", plain)
	}
}

// Before Run clients wait.
func TestBeforeRun(t *testing.T) {
	testkit.LeakCheck(t)
	p := newPool(t, Options{Handshakes: 1})
	ch := hello(t, clientConfig(tls.VersionTLS13))
	var links []*link
	for range 2 {
		l, err := stalled(t, p, ch)
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	if s := p.Stats(); s.Running != 0 || s.Waiting != 2 {
		t.Fatalf("%+v", s)
	}
	runPool(t, p)
	(<-links[0].mails)()
	links[0].server.Close()
	(<-links[1].mails)()
	links[1].server.Close()
}

// Handshakes that wait for their clients leave the processors to others.
func TestTurnsAreGivenBack(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Handshakes: 50, Parallel: 1, Timeout: time.Hour})
	ch := hello(t, clientConfig(tls.VersionTLS13))
	var links []*link
	for range 20 {
		l, _ := stalled(t, p, ch)
		links = append(links, l)
	}
	for _, l := range links {
		<-l.mails // its flight
	}
	connect(t, p, clientConfig(tls.VersionTLS12))
	for _, l := range links {
		l.server.Close()
	}
	testkit.Eventually(t, patience, func() bool { return p.Pending() == 0 }, "all ended")
	if len(p.turns) != 0 {
		t.Errorf("%d turns were not given back", len(p.turns))
	}
}

// A client that goes away in the middle, at each flight.
func TestCloseDuringHandshake(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Timeout: time.Hour})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for steps := range 4 {
			l := newLink(t, p, clientConfig(version))
			ended := make(chan error, 1)
			go func() { ended <- l.client.Handshake() }() // ends with the wire
			for range steps {
				select {
				case b := <-l.wire.up:
					_ = l.server.Feed(b)
				case mail := <-l.mails:
					mail()
				}
			}
			l.server.Close()
			l.wire.Close()
			if err := <-ended; err != nil && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
	}
	testkit.Eventually(t, patience, func() bool { return p.Pending() == 0 && p.Stats().Running == 0 }, "nothing is left")
}

// The socket ends between the end of the handshake and the loop's hearing of it.
func TestCloseBeforeEstablish(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{})
	l := newLink(t, p, clientConfig(tls.VersionTLS13))
	result := make(chan error, 1)
	go func() { result <- l.client.Handshake() }() // ends with done
	for !l.ended {
		select {
		case b := <-l.wire.up:
			_ = l.server.Feed(b)
		case mail := <-l.mails:
			mail()
		}
	}
	if err := <-result; err != nil || l.err != nil {
		t.Fatal(err, l.err)
	}
	l.server.Close()
	l.server.Establish()
	if b, err := l.server.Append(nil, []byte("x")); err == nil || len(b) > 0 {
		t.Errorf("written after Close: %q, %v", b, err)
	}
	if n, err := l.server.Read(l.buf); n > 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %d, %v", n, err)
	}
}

// A panic ends the handshake, not the process.
func TestPanic(t *testing.T) {
	testkit.LeakCheck(t)
	p := newPool(t, Options{})
	p.config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("boom") }
	runPool(t, p)
	l, err := stalled(t, p, hello(t, clientConfig(tls.VersionTLS13)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.outcome(); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("%v", err)
	}
	if s := p.Stats(); s.Panics != 1 || s.Failed != 1 || len(p.turns) != 0 {
		t.Errorf("%+v", s)
	}
}
