package bench

import (
	"cmp"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/pkg/testkit"
)

// fake is a push server that does to known messages what no server may, and keeps
// account of it. It knows nothing of the harness but how keys name clients.
type fake struct {
	t    *testing.T
	plan plan // read-only once somebody connects

	ws, wss, tcp string   // addresses for clients
	addrs        []string // those for --addr
	rest         string   // for --rest
	http         *http.Server
	listeners    []net.Listener
	running      sync.WaitGroup

	mu sync.Mutex
	// guards below
	closed   bool
	conns    map[*fakeConn]bool
	clients  map[int]*fakeConn // those that are authenticated
	upgrades int
	did      deeds
	dues     []time.Duration // of pushes, as they came
}

// plan is what a fake does wrong.
type plan struct {
	messages map[place]lie  // to the k-th message to a client
	pushes   map[int]answer // to the k-th push, from 1
	delay    time.Duration  // of all messages
	refuse   int            // upgrades that are answered with 503, the first ones
	mute     map[int]bool   // clients whose op 7 is not answered
	deaf     bool           // heartbeats are not answered
	rude     bool           // connections for TLS are reset
	plain    bool           // no fault, but im-cloud's way: a message is an op 9, and in nothing else
}

// place is the k-th message, from 1, that is for a client on its connection.
type place struct{ client, k int }

// lie is what happens to a message.
type lie struct {
	what   deed
	behind int           // swapped, echoed: so many messages follow before it comes, again
	to     int           // copied, moved: the client that gets it
	at     int           // corrupted: the byte; cut: so many are left; closed: the close code, 0 for none
	wait   time.Duration // delayed, echoed with behind 0: for how long
	last   bool          // it is told of the last message
}

// answer is what a push gets, instead of 200 and code 0, and whether it is delivered.
type answer struct {
	status  int
	body    string
	deliver bool
	how     reply
	stall   time.Duration // so long the server does nothing at all, before the push
}

type reply uint8

const (
	tell   reply = iota // status and body
	silent              // nothing, until the caller goes
	hangUp              // nothing, and the connection is closed
)

// deed is what a fake has done.
type deed string

const (
	pushed    deed = "pushed"    // REST calls
	delivered deed = "delivered" // messages written as they should be, once
	dropped   deed = "dropped"
	doubled   deed = "doubled" // written again at once
	echoed    deed = "echoed"  // written again after others
	swapped   deed = "swapped" // written after others
	copied    deed = "copied"  // to somebody else too
	moved     deed = "moved"   // to somebody else instead
	corrupted deed = "corrupted"
	cut       deed = "cut"
	replaced  deed = "replaced" // by a message nobody has sent
	garbled   deed = "garbled"  // into what is no packet
	delayed   deed = "delayed"
	closed    deed = "closed" // connections, in place of a message
	refused   deed = "refused"
	muted     deed = "muted"
	beaten    deed = "beaten" // heartbeats answered
	stalled   deed = "stalled"
)

type deeds map[deed]int

// newFake starts one. It ends with the test.
func newFake(t *testing.T, p plan) *fake {
	t.Helper()
	f := &fake{t: t, plan: p, conns: map[*fakeConn]bool{}, clients: map[int]*fakeConn{}, did: deeds{}}
	certFile, keyFile := testkit.Certificate(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	t.Cleanup(f.close)
	f.ws = "ws://" + f.listen(true, nil) + "/sub"
	f.wss = "wss://" + f.listen(true, config) + "/sub"
	f.tcp = "tcp://" + f.listen(false, nil)
	f.addrs = []string{f.ws, f.tcp, f.wss}
	rest, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.rest = "http://" + rest.Addr().String()
	f.http = &http.Server{Handler: http.HandlerFunc(f.push), ErrorLog: log.New(io.Discard, "", 0)}
	f.running.Go(func() { _ = f.http.Serve(rest) }) // until close
	return f
}

func (f *fake) listen(overWS bool, config *tls.Config) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.listeners = append(f.listeners, ln)
	f.running.Go(func() { // until close
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if config != nil && f.plan.rude {
				_, _ = conn.Read(make([]byte, 1)) // the handshake has begun
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				continue
			}
			if config != nil {
				conn = tls.Server(conn, config)
			}
			f.serve(conn, overWS)
		}
	})
	return ln.Addr().String()
}

// close ends everything and waits for it.
func (f *fake) close() {
	f.mu.Lock()
	f.closed = true
	for c := range f.conns {
		c.close()
	}
	f.mu.Unlock()
	for _, ln := range f.listeners {
		ln.Close()
	}
	if f.http != nil {
		f.http.Close()
	}
	f.running.Wait()
}

// deeds is what it has done so far.
func (f *fake) deeds() deeds {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.did)
}

// push is the REST API, goim's and im-cloud's.
func (f *fake) push(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	to, im := strings.CutPrefix(r.URL.Path, "/im/push/")
	if !im {
		to = strings.TrimPrefix(r.URL.Path, "/goim/push/")
	}
	values := r.URL.Query()
	if im {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		_ = r.ParseForm() // an empty message is a foreign one
		values, body = r.PostForm, []byte(r.PostForm.Get("msg"))
	}
	op, _ := strconv.Atoi(values.Get("operation"))
	if im {
		op = 9
	}
	if err != nil || op == 0 || r.Method != http.MethodPost {
		f.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	f.answer(w, r, f.accept(func(c *fakeConn) bool { return c.isMeant(to, int32(op), values) }, int32(op), body), im)
}

// accept does what is to be done with a push, and says what it is to be answered.
// Pushes come one after another.
func (f *fake) accept(isMeant func(c *fakeConn) bool, op int32, body []byte) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did[pushed]++
	a, special := f.plan.pushes[f.did[pushed]]
	if a.stall > 0 {
		f.did[stalled]++
		time.Sleep(a.stall) // nobody gets anything meanwhile: that is what it is for
	}
	if s, from := stamp.Parse(body, runOf(body)); from == stamp.Whole {
		f.dues = append(f.dues, s.Due)
	}
	if !special || a.deliver {
		for _, n := range slices.Sorted(maps.Keys(f.clients)) {
			if c := f.clients[n]; isMeant(c) {
				f.deliver(c, op, body)
			}
		}
	}
	return a
}

// answer answers a push.
func (f *fake) answer(w http.ResponseWriter, r *http.Request, a answer, im bool) {
	switch a.how {
	case silent:
		<-r.Context().Done()
		return
	case hangUp:
		panic(http.ErrAbortHandler)
	}
	body := `{"code":0,"message":""}`
	if im {
		body = `{"msg":"","data":["ok"],"code":0}`
	}
	w.WriteHeader(cmp.Or(a.status, http.StatusOK))
	_, _ = io.WriteString(w, cmp.Or(a.body, body)) // the caller may be gone
}

// runOf is which run of the harness a body is of.
func runOf(body []byte) (run uint32) {
	for _, b := range append(body, 0, 0, 0, 0)[:4] {
		run = run<<8 | uint32(b)
	}
	return run
}
