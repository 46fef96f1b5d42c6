package rest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/testkit"
)

// show is what of a message the tests look at, in short.
func show(m push.Message) string {
	s := fmt.Sprintf("%s op %d", m.To.Kind, m.Op)
	if m.App != "" {
		s += " app " + m.App
	}
	switch m.To.Kind {
	case push.Keys:
		s += fmt.Sprintf(" %q at %s", m.To.Keys, m.To.Node)
	case push.Room:
		s += " " + m.To.Room
	case push.All:
		s += fmt.Sprintf(" speed %d", m.To.Speed)
	}
	return fmt.Sprintf("%s: %q", s, m.Body)
}

// What is asked for over HTTP is what the queue gets.
func TestPushContents(t *testing.T) {
	testkit.LeakCheck(t)
	r := ready(start(t, options{}))
	f := func(req string, want ...string) {
		t.Helper()
		before := len(r.queue.messages())
		if got := r.raw(request(req)); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || strings.Contains(got, `"code":-`) || strings.Contains(got, `"code":1`) {
			t.Fatalf("%s\nanswered %s", req, got)
		}
		// Something behind it in the log: when that is there, all of it is.
		if got := r.raw(request("POST /goim/push/all?operation=999&ack=queued\n\nend")); !strings.Contains(got, "200 OK") {
			t.Fatal(got)
		}
		var got []string
		testkit.Eventually(t, 5*time.Second, func() bool { return len(r.queue.messages()) > before+len(want) }, "all are on the queue")
		for _, m := range r.queue.messages()[before:] {
			if m.Op != 999 {
				got = append(got, show(m))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%.200s\n got %q\nwant %q", req, got, want)
		}
	}
	f("POST /goim/push/keys?operation=1000&keys=key-of-gw-1&keys=key-of-gw-2&keys=key-of-gw-1\n\n\x00\xffraw",
		`keys op 1000 ["key-of-gw-1" "key-of-gw-1"] at gw-1: "\x00\xffraw"`, `keys op 1000 ["key-of-gw-2"] at gw-2: "\x00\xffraw"`)
	f("POST /goim/push/keys?operation=5&operation=6&keys=key%2Dof+gw&keys=key%2dof%2Dgw-1\n\n",
		`keys op 5 ["key-of-gw-1"] at gw-1: ""`)
	f("POST /goim/push/mids?operation=-7&mids=7&mids=7\n\nhi", `keys op -7 ["key-of-gw-1"] at gw-1: "hi"`,
		`keys op -7 ["key-of-gw-2"] at gw-2: "hi"`, `keys op -7 ["key-of-gw-3"] at gw-3: "hi"`)
	f("POST /goim/push/room?operation=1&type=live&room=a%2Fb&type=x\n\nhi", `room op 1 live://a/b: "hi"`)
	f("POST /goim/push/all?operation=1&speed=50"+form+"a=b&c", `all op 1 speed 50: "a=b&c"`)
	body := "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\ntrailer"
	f("POST /goim/push/all?operation=1\nContent-Type: multipart/form-data; boundary=x\n\n"+body, fmt.Sprintf("all op 1 speed 0: %q", body))

	// im-cloud: always Raw, PHP's parameters, form over query over JSON.
	f("POST /im/push/mids?mids=8&operation=5"+form+"mids[]=7&msg=a%2Bb+c", `keys op 9 ["key-of-gw-1"] at gw-1: "a+b c"`,
		`keys op 9 ["key-of-gw-2"] at gw-2: "a+b c"`, `keys op 9 ["key-of-gw-3"] at gw-3: "a+b c"`)
	f("POST /im/push/keys"+multipart("keys[]", "key-of-gw-1", "keys[x]", "key-of-gw-2", "msg", "m\r\nn"),
		`keys op 9 ["key-of-gw-1"] at gw-1: "m\r\nn"`, `keys op 9 ["key-of-gw-2"] at gw-2: "m\r\nn"`)
	f("POST /im/push/room?room=1000&type=live://\nContent-Type: application/json\n\n"+`{"room":"2000","msg":{"a": [1, "é"]}}`,
		`room op 9 live://1000: "{\"a\":[1,\"é\"]}"`)
	f("POST /im/push/all?msg=query"+form+"msg=100%;x", `all op 9 speed 0: "100%;x"`)

	f("POST /v1/push/batch\n\n"+`{"pushes":[{"op":1,"keys":["key-of-gw-1"],"body":"é"},{"app":"shop","op":2,"room":"live://1","body64":"AP8="},
		{"op":3,"mids":[7],"app":"shop","body":""},{"op":4,"all":true,"speed":9,"body":""}]}`,
		`keys op 1 ["key-of-gw-1"] at gw-1: "é"`, `room op 2 app shop live://1: "\x00\xff"`, `all op 4 speed 9: ""`)
}

// The same push id is the same push, whether the caller chose it or was given it.
func TestPushIDRepeats(t *testing.T) {
	testkit.LeakCheck(t)
	r := ready(start(t, options{}))
	post := func(id string) string {
		t.Helper()
		header := ""
		if id != "" {
			header = "\nX-Push-Id: " + id
		}
		_, rest, ok := strings.Cut(r.raw(request("POST /goim/push/all?operation=1&ack=queued"+header+"\n\nhi")), "X-Push-Id: ")
		if !ok {
			t.Fatal("no X-Push-Id")
		}
		given, _, _ := strings.Cut(rest, "\r\n")
		return given
	}
	unnamed, named := post(""), post("order-1")
	if post(unnamed) != unnamed || post("order-1") != named || post(named) != named || unnamed == named {
		t.Fatal("a repeated push got another id")
	}
	batch := r.raw(request("POST /v1/push/batch?ack=queued\n\n" + `{"pushes":[{"op":1,"id":"order-1","all":true,"body":""},{"op":1,"all":true,"body":""}]}`))
	if !strings.Contains(batch, fmt.Sprintf(`"data":[{"id":%q},`, named)) {
		t.Fatalf("a batch does not know %s: %s", named, batch)
	}
	if n := len(r.queue.messages()); n != 3 {
		t.Fatalf("%d pushes on the queue, want 3", n)
	}
}

// Answer first: the client has the whole answer while the enqueue is held back,
// and the enqueue has begun because of that very push.
func TestAnswerFirst(t *testing.T) {
	f := func(name, header string, check func(t *testing.T, r *rig, c net.Conn)) {
		t.Run(name, func(t *testing.T) {
			testkit.LeakCheck(t)
			r := ready(start(t, options{}))
			r.queue.hold()
			c, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "POST /goim/push/all?operation=1 HTTP/1.1\r\nHost: x\r\n%sContent-Length: 2\r\n\r\nhi", header)
			check(t, r, c)
			if n := len(r.queue.messages()); n != 0 {
				t.Fatalf("%d on the queue, though it is held back", n)
			}
			testkit.Eventually(t, 5*time.Second, func() bool { return r.queue.calls() > 0 }, "the enqueue has begun")
			r.queue.release()
			testkit.Eventually(t, 5*time.Second, func() bool { return len(r.queue.messages()) > 0 }, "the push is on the queue")
		})
	}
	const want = `{"code":0,"message":""}`
	f("keep-alive", "", func(t *testing.T, _ *rig, c net.Conn) {
		in := bufio.NewReader(c)
		for range 3 { // and the connection goes on
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
				t.Fatalf("%q, %v", body, err)
			}
			if _, err := io.WriteString(c, "POST /goim/push/all?operation=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	})
	f("close", "Connection: close\r\n", func(t *testing.T, _ *rig, c net.Conn) {
		all, err := io.ReadAll(c) // to the end: the server has closed
		if err != nil || !bytes.HasSuffix(all, []byte("\r\n\r\n"+want)) {
			t.Fatalf("%q, %v", all, err)
		}
	})
}

// A pump that sleeps is woken only when the answer was written. The write waits a
// while before it passes, so that an enqueue that did not wait for it would show.
func TestEnqueueFollowsAnswer(t *testing.T) {
	testkit.LeakCheck(t)
	events := make(chan string, 10)
	var log logic.Spool
	r := ready(start(t, options{deps: func(d *logic.Deps) { log = d.Spool }, listener: func(ln net.Listener) net.Listener {
		return slowWrites{ln, func() {
			select {
			case e := <-events:
				events <- e + " before the answer"
			case <-time.After(200 * time.Millisecond):
				events <- "answered"
			}
		}}
	}}))
	r.queue.mu.Lock()
	r.queue.onCall = func() { events <- "enqueued" }
	r.queue.mu.Unlock()
	for range 2 {
		for _, path := range []string{"/goim/push/all?operation=1", "/im/push/all?msg=hi"} {
			// Only then the pump has nothing to do, and sleeps in a moment.
			testkit.Eventually(t, 5*time.Second, func() bool { n, _ := log.Depth(); return n == 0 }, "the log is empty")
			r.raw(request("POST " + path + "\n\nhi"))
			for _, want := range []string{"answered", "enqueued"} {
				select {
				case got := <-events:
					if got != want {
						t.Fatalf("got %q, want %q", got, want)
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("never %s", want)
				}
			}
		}
	}
}

// slowWrites calls before in front of every write to a client.
type slowWrites struct {
	net.Listener
	before func()
}

func (s slowWrites) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &slowConn{c, s.before}, nil
}

type slowConn struct {
	net.Conn
	before func()
}

func (s *slowConn) Write(p []byte) (int, error) {
	s.before()
	return s.Conn.Write(p)
}
