package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/testkit"
)

// imClients: im-cloud's dialect on its listeners, reached by both REST APIs.
func imClients(t *testing.T, s *system) {
	for i, g := range s.gateways {
		for name, o := range map[string]testkit.Options{"im_tcp_addr": {}, "im_ws_addr": {WS: true}} {
			c := testkit.Dial(t, g.ready.Gateway[name], o)
			c.Send(protocol.Packet{Ver: 1, Op: protocol.OpAuth, Seq: 1, Body: fmt.Appendf(nil, `{"mid":%d,"room_id":"im://1","platform":"web","accepts":[]}`, 6000+i)})
			if p := c.Recv(); p.Op != protocol.OpAuthReply || string(p.Body) != `{"ok":"yes"}` {
				t.Fatalf("op %d %q", p.Op, p.Body)
			}
			s.push(t, fmt.Sprint("/goim/push/mids?operation=1000&mids=", 6000+i), "to the user")
			if p := c.Recv(); p.Op != protocol.OpRaw || string(p.Body) != "to the user" {
				t.Fatalf("op %d %q", p.Op, p.Body)
			}
			if _, text := s.rest(t, 0, "POST", "/im/push/room?type=im&room=1&msg=hello", ""); text != `{"msg":"","data":["ok"],"code":0}` {
				t.Fatal(text)
			}
			if p := c.Recv(); p.Op != protocol.OpRaw || string(p.Body) != "hello" {
				t.Fatalf("op %d %q", p.Op, p.Body)
			}
			bad := testkit.Dial(t, g.ready.Gateway[name], o)
			bad.Send(protocol.Packet{Ver: 1, Op: protocol.OpAuth, Body: []byte(`{"mid":1}`)})
			bad.ExpectClosed()
			c.Close()
		}
	}
}

// everyForm: one push to a room with a member in each form on each gateway; long
// enough to be compressed.
func everyForm(t *testing.T, s *system) {
	clients := map[string]*testkit.Client{}
	for name, dial := range s.transports() {
		c := dial(t)
		c.Auth(authToken(0, "form-"+name, "form://1"))
		clients[name] = c
	}
	body := `{"text":"` + strings.Repeat("a long message ", 40) + `"}`
	s.push(t, "/goim/push/room?operation=1000&type=form&room=1", body)
	for name, c := range clients {
		wantPush(t, c, 1000, body)
		if compressed := c.Compressed() > 0; compressed != strings.Contains(name, "deflate") {
			t.Errorf("%s: compressed: %v", name, compressed)
		}
		c.Close()
	}
}

// pushPaced: everybody gets a push to all with a speed, once.
func pushPaced(t *testing.T, s *system) {
	var clients []*testkit.Client
	for i, dial := range []int{0, 0, 0, len(s.gateways) - 1} {
		c := testkit.DialTCP(t, s.gateways[dial].ready.Gateway["tcp_addr"])
		c.Auth(authToken(0, fmt.Sprint("paced-", i), "", 4242))
		clients = append(clients, c)
	}
	s.push(t, "/goim/push/all?operation=4242&speed=7", "slowly")
	for _, c := range clients {
		wantPush(t, c, 4242, "slowly")
	}
	s.push(t, "/goim/push/all?operation=4242", "at once")
	for _, c := range clients {
		wantPush(t, c, 4242, "at once")
		c.Close()
	}
}

// fullNode: a node that is full keeps its clients and names the others.
func fullNode(t *testing.T, s *system) {
	small := s.another(t, "gw-small", "--gateway.max-connections", "2")
	addr := small.ready.Gateway["ws_addr"]
	a, b := testkit.DialWS(t, addr), testkit.DialWS(t, addr)
	a.Auth(authToken(0, "small-a", ""))
	b.Auth(authToken(0, "small-b", ""))
	names := map[string]bool{}
	for _, g := range s.gateways {
		if s.split() {
			names["wss://"+g.ready.Gateway["wss_addr"]+"/sub"] = true
		}
	}
	var answer struct {
		Reason string
		Nodes  []string
	}
	testkit.Eventually(t, patience, func() bool {
		req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+addr+"/sub", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || json.Unmarshal(text, &answer) != nil {
			t.Fatalf("%d %v %s %v", resp.StatusCode, resp.Header, text, err)
		}
		return len(answer.Nodes) == len(names) // once it has heard of all
	}, "the answer names the other gateways")
	for _, n := range answer.Nodes {
		if !names[n] {
			t.Errorf("node %s, want %v", n, names)
		}
	}
	if answer.Reason != "full" || a.Heartbeat() != 0 || b.Heartbeat() != 0 {
		t.Errorf("reason %q", answer.Reason)
	}
	a.Close()
	b.Close()
	small.term(t)
}

// drainedByCall: POST /drain empties a gateway and ends its process well.
func drainedByCall(t *testing.T, s *system) {
	g := s.another(t, "gw-drained")
	asked, not := testkit.DialWS(t, g.ready.Gateway["ws_addr"]), testkit.DialTCP(t, g.ready.Gateway["tcp_addr"])
	asked.Auth(`{"key":"drain-a","hints":true}`)
	not.Auth(authToken(0, "drain-b", ""))
	req, err := http.NewRequestWithContext(context.Background(), "POST", "http://"+g.ready.Gateway["internal_addr"]+"/drain", bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.split() {
		req.Header.Set("Authorization", "Bearer e2e")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	var hint struct {
		Reason string
		Nodes  []string
	}
	if err := json.Unmarshal(asked.RecvOp(protocol.OpDisconnectReply).Body, &hint); err != nil || hint.Reason != "drain" {
		t.Errorf("hint %+v, %v", hint, err)
	}
	asked.ExpectClosed()
	if rest := not.ExpectClosed(); len(rest) > 0 || asked.CloseCode() != 1012 {
		t.Errorf("one that did not ask got %+v; close code %d", rest, asked.CloseCode())
	}
	<-g.done
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, g.tail())
	}
}

// TestFewFiles: a process whose file limit allows few clients is offered many more.
// It keeps those it has, answers REST and its operator all the time, and takes
// others when some have gone.
func TestFewFiles(t *testing.T) {
	g := spawnFiles(t, 1024, allArgs(t, "few")...)
	s := &system{name: "few files", gateways: []*proc{g}, logics: []*proc{g}}
	addr := g.ready.Gateway["tcp_addr"]
	var in []*testkit.Client
	refused := 0
	for i := range 1500 {
		c, err := testkit.DialTCPErr(t, addr)
		if err != nil {
			t.Fatal(err) // the kernel accepts; halley closes
		}
		if c.AuthErr(authToken(0, fmt.Sprint("few-", i), "few://1", 1000)) != nil {
			c.Close()
			refused++
			continue
		}
		in = append(in, c)
	}
	if len(in) < 10 || refused < 500 {
		t.Fatalf("%d are in, %d were refused", len(in), refused)
	}
	s.push(t, "/goim/push/room?operation=1000&type=few&room=1", "still here")
	for _, c := range in {
		wantPush(t, c, 1000, "still here")
	}
	restarts := metric(t, []*proc{g}, func(r ready) string { return r.Gateway["internal_addr"] }, "halley_gateway_loop_restarts_total")
	if restarts != 0 {
		t.Errorf("%v loops had to be restarted", restarts)
	}
	in[0].Close()
	testkit.Eventually(t, patience, func() bool {
		c, err := testkit.DialTCPErr(t, addr)
		return err == nil && c.AuthErr(authToken(0, "later", "few://1", 1000)) == nil
	}, "another one gets in")
	t.Logf("%d clients of 1,500", len(in))
}
