package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// builtBinary says that a test has asked for the binary.
var builtBinary atomic.Bool

// patience is how long a scenario waits for what must come.
const patience = 30 * time.Second

// scenarios run in this order on each topology, on one running system; each uses
// its own keys and rooms. The last ones take the system apart.
var scenarios = []struct {
	name string
	run  func(t *testing.T, s *system)
}{
	{"four kinds of push", fourPushes},
	{"accepts filter", acceptsFilter},
	{"change room", changeRoom},
	{"heartbeat counts the cluster", heartbeatCount},
	{"same key twice", sameKeyTwice},
	{"disconnect cleans routes", disconnectCleans},
	{"10,000 pushes to one key", manyToKey},
	{"10,000 pushes to one room", manyToRoom},
	{"reply before enqueue", replyBeforeEnqueue},
	{"acknowledged by the queue", ackQueued},
	{"batch of pushes", pushBatch},
	{"im-cloud REST", imCloud},
	{"online counts", onlineCounts},
	{"node list", nodeList},
	{"im-cloud clients", imClients},
	{"one message in every form", everyForm},
	{"push to all with a speed", pushPaced},
	{"halley bench", harness},
	{"full node names others", fullNode},
	{"drained by a call", drainedByCall},
	{"job killed", jobKilled},
	{"gateway killed", gatewayKilled},
	{"gateway stopped", gatewayStopped},
}

func TestE2E(t *testing.T) {
	for name, start := range map[string]func(t testing.TB) *system{"all": startAll, "split": startSplit} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for _, sc := range scenarios {
				t.Run(sc.name, func(t *testing.T) { sc.run(t, s) })
			}
		})
	}
}

// authToken is what a goim client sends in op 7.
func authToken(mid int64, key, room string, accepts ...int32) string {
	text, err := json.Marshal(map[string]any{"mid": mid, "key": key, "room_id": room, "platform": "web", "accepts": accepts})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func wantPush(t testing.TB, c *testkit.Client, op protocol.Op, body string) {
	t.Helper()
	p := c.Push()
	if p.Ver != 1 || p.Seq != 0 || p.Op != op || string(p.Body) != body {
		t.Fatalf("got ver %d op %d seq %d body %.80q, want op %d body %q", p.Ver, p.Op, p.Seq, p.Body, op, body)
	}
}

func fourPushes(t *testing.T, s *system) {
	mid := int64(1000)
	for name, dial := range s.transports() {
		mid++
		c := dial(t)
		c.Auth(authToken(mid, "four-"+name, "four://"+name, 1000))
		s.push(t, "/goim/push/keys?operation=1000&keys=four-"+name, "by key")
		wantPush(t, c, 1000, "by key")
		s.push(t, fmt.Sprint("/goim/push/mids?operation=1000&mids=", mid), "by mid")
		wantPush(t, c, 1000, "by mid")
		s.push(t, "/goim/push/room?operation=1000&type=four&room="+name, "to room")
		wantPush(t, c, 1000, "to room")
		s.push(t, "/goim/push/all?operation=1000", "to all")
		wantPush(t, c, 1000, "to all")
		c.Close()
	}
}

func acceptsFilter(t *testing.T, s *system) {
	for name, dial := range s.transports() {
		c := dial(t)
		c.Auth(authToken(2000, "accepts-"+name, "accepts://"+name, 1))
		key := func(op int, body string) {
			s.push(t, fmt.Sprintf("/goim/push/keys?operation=%d&keys=accepts-%s", op, name), body)
		}
		key(2, "not accepted")
		key(1, "accepted")
		wantPush(t, c, 1, "accepted")
		c.Send(protocol.Packet{Op: protocol.OpSub, Body: []byte("2")})
		c.RecvOp(protocol.OpSubReply)
		c.Send(protocol.Packet{Op: protocol.OpUnsub, Body: []byte("1")})
		c.RecvOp(protocol.OpUnsubReply)
		key(1, "not any more")
		key(2, "accepted now")
		wantPush(t, c, 2, "accepted now")
		s.push(t, "/goim/push/room?operation=77&type=accepts&room="+name, "rooms are not filtered")
		wantPush(t, c, 77, "rooms are not filtered")
		c.Close()
	}
}

func changeRoom(t *testing.T, s *system) {
	for name, dial := range s.transports() {
		c := dial(t)
		c.Auth(authToken(0, "", "change://a-"+name))
		c.Send(protocol.Packet{Op: protocol.OpChangeRoom, Seq: 3, Body: []byte("change://b-" + name)})
		if p := c.RecvOp(protocol.OpChangeRoomReply); string(p.Body) != "change://b-"+name || p.Seq != 3 {
			t.Fatalf("op 13: seq %d body %q", p.Seq, p.Body)
		}
		s.push(t, "/goim/push/room?operation=1&type=change&room=a-"+name, "old room")
		s.push(t, "/goim/push/room?operation=1&type=change&room=b-"+name, "new room")
		wantPush(t, c, 1, "new room")
		c.Close()
	}
}

func heartbeatCount(t *testing.T, s *system) {
	var clients []*testkit.Client
	for _, dial := range s.dialers() {
		c := dial(t)
		c.Auth(authToken(0, "", "beat://1"))
		clients = append(clients, c)
	}
	for _, c := range clients {
		testkit.Eventually(t, patience, func() bool { return c.Heartbeat() == int32(len(clients)) }, "everybody counts everybody")
	}
	clients[0].Close()
	last := clients[len(clients)-1]
	testkit.Eventually(t, patience, func() bool { return last.Heartbeat() == int32(len(clients)-1) }, "the one who left is not counted")
	for _, c := range clients[1:] {
		c.Close()
	}
}

func sameKeyTwice(t *testing.T, s *system) {
	first := testkit.DialWS(t, s.gateways[0].ready.Gateway["ws_addr"])
	first.Auth(authToken(3000, "twice", "", 1000))
	last := s.gateways[len(s.gateways)-1]
	second := testkit.DialTCP(t, last.ready.Gateway["tcp_addr"])
	second.Auth(authToken(3000, "twice", "", 1000))
	first.ExpectClosed()
	for i := range 3 {
		s.push(t, "/goim/push/keys?operation=1000&keys=twice", fmt.Sprint("key ", i))
		wantPush(t, second, 1000, fmt.Sprint("key ", i))
		s.push(t, "/goim/push/mids?operation=1000&mids=3000", fmt.Sprint("mid ", i))
		wantPush(t, second, 1000, fmt.Sprint("mid ", i))
	}
	second.Close()
}

func disconnectCleans(t *testing.T, s *system) {
	c := testkit.DialTCP(t, s.gateways[0].ready.Gateway["tcp_addr"])
	c.Auth(authToken(3100, "gone", "gone://1", 1000))
	c.Close()
	addr := func(r ready) string { return r.Logic["internal_addr"] }
	offline := func() float64 { return metric(t, s.logics, addr, offlineMetric) }
	testkit.Eventually(t, patience, func() bool {
		before := offline()
		s.push(t, "/goim/push/keys?operation=1000&keys=gone&ack=queued", "nobody")
		return offline() > before
	}, "the key counts as offline")
	testkit.Eventually(t, patience, func() bool {
		var counts map[string]int
		s.get(t, 0, "/goim/online/room?type=gone&rooms=1", &counts)
		return counts["1"] == 0
	}, "the room is empty")
}

// many is the number of pushes that must arrive complete and in order.
const many = 10_000

func manyToKey(t *testing.T, s *system) {
	for name, dial := range s.dialers() {
		c := dial(t)
		c.Auth(authToken(0, "many-"+name, "", 1000))
		defer c.Close()
		var reader sync.WaitGroup
		reader.Go(func() { inOrder(t, name, c, many/len(s.dialers())) })
		for i := range many / len(s.dialers()) {
			s.push(t, "/goim/push/keys?operation=1000&keys=many-"+name, strconv.Itoa(i))
		}
		reader.Wait()
	}
}

func manyToRoom(t *testing.T, s *system) {
	var readers sync.WaitGroup
	for name, dial := range s.dialers() {
		c := dial(t)
		c.Auth(authToken(0, "", "many://room"))
		defer c.Close()
		readers.Go(func() { inOrder(t, name, c, many) })
	}
	for i := range many {
		s.push(t, "/goim/push/room?operation=1000&type=many&room=room", strconv.Itoa(i))
	}
	readers.Wait()
}

// inOrder reads n pushes whose bodies count from 0.
func inOrder(t testing.TB, name string, c *testkit.Client, n int) {
	for i := range n {
		p, err := c.PushErr()
		if err != nil || string(p.Body) != strconv.Itoa(i) {
			t.Errorf("%s: push %d of %d: got %.20q, %v", name, i, n, p.Body, err)
			return
		}
	}
}

// The answer comes while the enqueue is held back: the pump must look the user
// up in Redis, which does not answer. In one process nothing can be held back
// from outside; logic's own tests hold back the queue.
func replyBeforeEnqueue(t *testing.T, s *system) {
	if !s.split() {
		t.Log("shown by TestAnswerFirst of logic/rest")
		return
	}
	c := testkit.DialWS(t, s.gateways[1].ready.Gateway["ws_addr"])
	c.Auth(authToken(3200, "first", "", 1000))
	defer c.Close()
	resume := s.redis.pause()
	defer resume()
	s.push(t, "/goim/push/mids?operation=1000&mids=3200", "held back") // returns while Redis is silent
	c.ExpectNothing(300 * time.Millisecond)
	resume()
	wantPush(t, c, 1000, "held back")
}

func ackQueued(t *testing.T, s *system) {
	c := testkit.DialTCP(t, s.gateways[0].ready.Gateway["tcp_addr"])
	c.Auth(authToken(0, "queued", "queued://1", 1000))
	defer c.Close()
	for i := range 4 { // on every logic node
		body := fmt.Sprint("n", i)
		if status, text := s.rest(t, i, "POST", "/goim/push/room?operation=1000&type=queued&room=1&ack=queued", body); status != 200 || text != `{"code":0,"message":""}` {
			t.Fatalf("%d %s", status, text)
		}
		wantPush(t, c, 1000, body)
	}
	if status, text := s.rest(t, 0, "POST", "/goim/push/room?operation=1000&type=queued&room=1&ack=never", "x"); status != 400 || !strings.Contains(text, "ack") {
		t.Errorf("a bad ack got %d %s", status, text)
	}
}

func pushBatch(t *testing.T, s *system) {
	c := testkit.DialTCP(t, s.gateways[0].ready.Gateway["tcp_addr"])
	c.Auth(authToken(3300, "batch", "batch://1", 1000))
	defer c.Close()
	status, text := s.rest(t, 1, "POST", "/v1/push/batch?ack=queued",
		`{"pushes":[{"op":1000,"keys":["batch"],"body":"a"},{"op":1000,"room":"batch://1","body64":"Yg=="},{"op":1000,"mids":[3300],"body":"c"}]}`)
	if status != 200 || strings.Count(text, `"id"`) != 3 {
		t.Fatalf("%d %s", status, text)
	}
	got := map[string]bool{}
	for range 3 {
		got[string(c.Push().Body)] = true
	}
	if !got["a"] || !got["b"] || !got["c"] {
		t.Errorf("got %v", got)
	}
}

func imCloud(t *testing.T, s *system) {
	c := testkit.DialWS(t, s.gateways[0].ready.Gateway["ws_addr"])
	c.Auth(authToken(3400, "7", "im://1", 9)) // im-cloud renumbers numeric keys
	defer c.Close()
	for _, x := range []string{
		"/im/push/keys?keys[]=7&msg=keys", "/im/push/mids?mids[]=3400&msg=mids", "/im/push/room?type=im&room=1&msg=room", "/im/push/all?msg=all",
	} {
		if status, text := s.rest(t, 0, "POST", strings.ReplaceAll(x, "[]", "%5B%5D"), ""); status != 200 || text != `{"msg":"","data":["ok"],"code":0}` {
			t.Fatalf("%s: %d %s", x, status, text)
		}
		_, msg, _ := strings.Cut(x, "msg=")
		wantPush(t, c, 9, msg)
	}
}

func onlineCounts(t *testing.T, s *system) {
	var clients []*testkit.Client
	for _, dial := range s.dialers() {
		for _, room := range []string{"count://big", "count://big", "count://small"} {
			c := dial(t)
			c.Auth(authToken(0, "", room))
			clients = append(clients, c)
		}
	}
	n := len(clients) / 3
	for node := range s.logics {
		testkit.Eventually(t, patience, func() bool {
			var total struct {
				Conns int `json:"conn_count"`
				IPs   int `json:"ip_count"`
			}
			s.get(t, node, "/goim/online/total", &total)
			return total.Conns == len(clients) && total.IPs == len(s.gateways)
		}, "the total is right")
		testkit.Eventually(t, patience, func() bool {
			var counts map[string]int
			s.get(t, node, "/goim/online/room?type=count&rooms=big&rooms=small&rooms=none", &counts)
			return fmt.Sprint(counts) == fmt.Sprint(map[string]int{"big": 2 * n, "small": n, "none": 0})
		}, "the rooms are right")
		testkit.Eventually(t, patience, func() bool {
			_, text := s.rest(t, node, "GET", "/goim/online/top?type=count&limit=5", "")
			return text == fmt.Sprintf(`{"code":0,"message":"","data":[{"room_id":"big","count":%d},{"room_id":"small","count":%d}]}`, 2*n, n)
		}, "the top is right")
	}
	for _, c := range clients {
		c.Close()
	}
	testkit.Eventually(t, patience, func() bool {
		_, text := s.rest(t, 0, "GET", "/goim/online/total", "")
		return text == `{"code":0,"message":"","data":{"conn_count":0,"ip_count":0}}`
	}, "nobody is left")
}

func nodeList(t *testing.T, s *system) {
	var weighted struct {
		Nodes     []string `json:"nodes"`
		TCPPort   int      `json:"tcp_port"`
		Heartbeat int      `json:"heartbeat"`
	}
	s.get(t, 0, "/goim/nodes/weighted", &weighted)
	if len(weighted.Nodes) == 0 || weighted.Heartbeat != 240 {
		t.Errorf("nodes/weighted: %+v", weighted)
	}
	if ids := s.instances(t, 0); fmt.Sprint(ids) != fmt.Sprint([]string{"gw-1", "gw-2"}[:len(s.gateways)]) {
		t.Errorf("nodes/instances: %v", ids)
	}
}

// instances are the gateways that a logic node addresses.
func (s *system) instances(t testing.TB, node int) (ids []string) {
	var list []struct {
		Hostname string `json:"hostname"`
	}
	s.get(t, node, "/goim/nodes/instances", &list)
	for _, n := range list {
		ids = append(ids, n.Hostname)
	}
	return ids
}

// jobKilled: kill -9 of one of two jobs under load. The other takes over its
// partitions when Kafka's group has noticed (6 s); clients get every message once
// and in order.
func jobKilled(t *testing.T, s *system) {
	if !s.split() {
		t.Log("there is only one process")
		return
	}
	const rooms, each = 6, 500
	var readers sync.WaitGroup
	for room := range rooms { // some in partitions of either job
		c := testkit.DialWS(t, s.gateways[room%2].ready.Gateway["ws_addr"])
		c.Timeout = time.Minute
		c.Auth(authToken(0, "", fmt.Sprint("takeover://", room)))
		defer c.Close()
		readers.Go(func() { inOrder(t, fmt.Sprint("room ", room), c, each) })
	}
	for i := range each {
		if i == each/2 {
			s.jobs[0].kill()
		}
		for room := range rooms {
			s.push(t, fmt.Sprint("/goim/push/room?operation=1000&type=takeover&room=", room), strconv.Itoa(i))
		}
	}
	readers.Wait()
}

// leaseEnd is twice the time in which a dead gateway must be forgotten (6 s).
const leaseEnd = 12 * time.Second

// gatewayKilled: kill -9. It is no longer addressed nor counted, its user's other
// connection goes on.
func gatewayKilled(t *testing.T, s *system) {
	if !s.split() {
		t.Log("there is only one process")
		return
	}
	extra := s.addGateway(t, "gw-3", []string{s.logics[1].ready.Logic["internal_addr"]})
	dead := testkit.DialTCP(t, extra.ready.Gateway["tcp_addr"])
	dead.Auth(authToken(4000, "dead", "kill://1", 1000))
	alive := testkit.DialWS(t, s.gateways[0].ready.Gateway["ws_addr"])
	alive.Auth(authToken(4000, "alive", "kill://1", 1000))
	testkit.Eventually(t, patience, func() bool { return alive.Heartbeat() == 2 }, "both are counted")
	extra.kill()
	killed := time.Now()
	for node := range s.logics {
		testkit.Eventually(t, leaseEnd, func() bool { return len(s.instances(t, node)) == 2 }, "it is not addressed")
		testkit.Eventually(t, leaseEnd, func() bool {
			var counts map[string]int
			s.get(t, node, "/goim/online/room?type=kill&rooms=1", &counts)
			return counts["1"] == 1
		}, "it is not counted in its room")
	}
	testkit.Eventually(t, leaseEnd, func() bool { return alive.Heartbeat() == 1 }, "clients do not count it")
	t.Logf("forgotten %.1f s after kill -9", time.Since(killed).Seconds())
	s.push(t, "/goim/push/mids?operation=1000&mids=4000", "still there")
	wantPush(t, alive, 1000, "still there")
	// Its client comes back elsewhere and is reached there.
	again := testkit.DialTCP(t, s.gateways[1].ready.Gateway["tcp_addr"])
	again.Auth(authToken(4000, "dead", "", 1000))
	s.push(t, "/goim/push/keys?operation=1000&keys="+url.QueryEscape("dead"), "welcome back")
	wantPush(t, again, 1000, "welcome back")
	again.Close()
	alive.Close()
}

// gatewayStopped: SIGTERM. Clients are told, the process ends well, nothing of it
// is addressed. It is the last scenario.
func gatewayStopped(t *testing.T, s *system) {
	stopped := s.gateways[len(s.gateways)-1]
	c := testkit.DialWS(t, stopped.ready.Gateway["ws_addr"])
	c.Auth(authToken(5000, "stop", "stop://1", 1000))
	stopped.term(t)
	c.ExpectClosed()
	if c.CloseCode() != 1012 {
		t.Errorf("close code %d, want 1012", c.CloseCode())
	}
	if !s.split() {
		return
	}
	testkit.Eventually(t, patience, func() bool { return fmt.Sprint(s.instances(t, 0)) == "[gw-1]" }, "it is not addressed")
	addr := func(r ready) string { return r.Logic["internal_addr"] }
	before := metric(t, s.logics, addr, offlineMetric)
	s.push(t, "/goim/push/keys?operation=1000&keys=stop&ack=queued", "nobody")
	testkit.Eventually(t, patience, func() bool { return metric(t, s.logics, addr, offlineMetric) > before }, "its keys are offline")
}
