package rest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/testkit"
)

var update = flag.Bool("update", false, "write the golden files from what is answered now")

// request is one request line, headers and body, in short: "POST /path", further
// lines up to an empty one are headers, the rest is the body.
func request(short string) string {
	head, body, _ := strings.Cut(short, "\n\n")
	line, headers, _ := strings.Cut(head, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "%s HTTP/1.1\r\nHost: logic\r\nConnection: close\r\n", line)
	if !strings.HasPrefix(line, "GET ") || body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	if headers != "" {
		b.WriteString(strings.ReplaceAll(headers, "\n", "\r\n") + "\r\n")
	}
	return b.String() + "\r\n" + body
}

var volatile = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`(?m)^(Date|Connection): .*\r\n`), ""},
	{regexp.MustCompile(`[0-9a-f]{16}-[0-9a-f]+`), "<id>"},
	{regexp.MustCompile(`"latest_timestamp":\d{19}`), `"latest_timestamp":<ns>`},
	{regexp.MustCompile(`\r\n`), "\n"},
}

func normalise(answer string) string {
	for _, v := range volatile {
		answer = v.find.ReplaceAllString(answer, v.put)
	}
	return answer
}

// golden sends requests and compares answers with testdata/name.golden: status,
// headers and body, byte for byte, without Date and Connection.
func golden(t *testing.T, r *rig, name string, requests ...string) {
	t.Helper()
	var b strings.Builder
	for _, short := range requests {
		shown := short
		if len(shown) > 500 {
			shown = fmt.Sprintf("%s... (%d bytes)", shown[:100], len(shown))
		}
		fmt.Fprintf(&b, ">>>>>>>> %s\n<<<<<<<<\n%s\n\n", shown, normalise(r.raw(request(short))))
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() == string(want) {
		return
	}
	got, wanted := strings.Split(b.String(), ">>>>>>>> "), strings.Split(string(want), ">>>>>>>> ")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Fatalf("%s, request %d:\n got: %s\nwant: %s", file, i, at(got, i), at(wanted, i))
		}
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(none)"
}

// ready waits until the node knows its gateways.
func ready(r *rig) *rig {
	r.t.Helper()
	testkit.Eventually(r.t, 5*time.Second, func() bool { return r.logic.Ready() == nil }, "the node is ready")
	return r
}

func TestGoldenGoimPush(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "goim_push",
		// Accepted.
		"POST /goim/push/keys?operation=1000&keys=a&keys=b\n\nhi",
		"POST /goim/push/keys?keys=a",
		"POST /goim/push/keys?operation=&keys=",
		"POST /goim/push/keys?operation=5&operation=x&keys=a,b",
		"POST /goim/push/mids?operation=1000&mids=1&mids=2\n\nhi",
		"POST /goim/push/mids",
		"POST /goim/push/mids?mids=&operation=",
		"POST /goim/push/room?operation=1000&type=live&room=1000\n\nhi",
		"POST /goim/push/all?operation=1000&speed=100\n\nhi",
		"POST /goim/push/all?operation=-1\n\nhi",
		"POST /goim/push/all?operation=1000\nContent-Type: application/x-www-form-urlencoded\n\noperation=0",
		"POST /goim%2Fpush/all?operation=%31\n\nhi",
		// goim: Redis refuses an MGET without keys.
		"POST /goim/push/keys?operation=1000\n\nhi",
		"POST /goim/push/keys?keys=a;keys=b",
		// Not converted: the first field in goim's order is named.
		"POST /goim/push/keys?operation=abc&keys=a",
		"POST /goim/push/keys?operation=99999999999&keys=a",
		"POST /goim/push/mids?mids=1,2",
		"POST /goim/push/mids?mids=1&mids=x&operation=y",
		"POST /goim/push/mids?mids=0x10",
		"POST /goim/push/mids?mids=1_0",
		"POST /goim/push/mids?operation=+5",
		"POST /goim/push/mids?operation=%22x%22",
		"POST /goim/push/mids?operation=%3Ca%26%3E",
		"POST /goim/push/mids?operation=%ff%0a%e2%80%a8",
		"POST /goim/push/room?operation=abc",
		"POST /goim/push/all?operation=x&speed=y",
		"POST /goim/push/all?speed=x",
		// Missing.
		"POST /goim/push/room",
		"POST /goim/push/room?operation=0&type=a&room=b",
		"POST /goim/push/room?operation=1&room=b",
		"POST /goim/push/room?operation=1&type=a&room=",
		"POST /goim/push/all",
	)
}

// What goim does not know, in goim's words.
func TestGoldenGoimPushOurs(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "goim_push_ours",
		"POST /goim/push/room?operation=1&type=live&room=1&ack=accepted\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1&ack=queued\n\nhi",
		"POST /goim/push/mids?ack=queued",
		"POST /goim/push/room?operation=1&type=live&room=1&ack=\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1&ack=delivered\n\nhi",
		"POST /goim/push/room?operation=1&type=live&ack=delivered\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1\nX-Push-Id: order-1\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1\nX-Push-Id: order-1\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1\nX-Push-Id: a b\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=1\nX-Push-Id: "+strings.Repeat("x", 65)+"\n\nhi",
		"POST /goim/push/keys?keys=shop%1fk\n\nhi",
		"POST /goim/push/keys?keys=ok&keys=%ff\n\nhi",
		"POST /goim/push/room?operation=1&type=shop%1flive&room=1\n\nhi",
		"POST /goim/push/room?operation=1&type=live&room=%0a\n\nhi",
		"POST /goim/push/all?operation=1\n\n"+strings.Repeat("x", 1_000_001),
		"POST /goim/push/all?operation=1\n\n"+strings.Repeat("x", 5<<20),
		"GET /goim/online/total\nX-Large: "+strings.Repeat("x", 70_000),
	)
}

func TestGoldenGoimPaths(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "goim_paths",
		"GET /goim/push/room",
		"POST /goim/online/total",
		"HEAD /goim/online/total",
		"OPTIONS /goim/online/total",
		"DELETE /goim/online/total",
		"GET /goim",
		"GET /goim/",
		"GET /",
		"GET /x",
		"GET /goim/Online/total",
		"GET //goim/online/total",
		"GET /goim/online/../online/total",
		"POST /goim/push/room//",
		"GET /goim/online/%zz",
		// A slash too many.
		"GET /goim/online/total/",
		"GET /goim/online/total/?a=b",
		"GET /goim/online/total/?",
		"GET /goim/online/total/?a=<b>&c='\"",
		"GET /goim/online/total/?a=é",
		"GET /goim/online/tot%61l/",
		"POST /goim/push/room/?operation=1&x=%2F\n\nhi",
		"POST /goim/push/keys/\nX-Forwarded-Prefix: //evil.example\n\nhi",
		"GET /goim/push/room/",
		"POST /goim/online/total/",
		"HEAD /goim/online/total/",
	)
}

func TestGoldenGoimQuestions(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "goim_questions",
		"GET /goim/online/top?type=live&limit=2",
		"GET /goim/online/top?type=l&limit=100",
		"GET /goim/online/top?type=none&limit=1",
		"GET /goim/online/top",
		"GET /goim/online/top?type=live",
		"GET /goim/online/top?limit=x&type=",
		"GET /goim/online/top?limit=99999999999999999999&type=a",
		"GET /goim/online/top?limit=-1&type=live",
		"GET /goim/online/top?limit=1&type=live2%1f",
		"GET /goim/online/room?type=live&rooms=1000&rooms=404&rooms=1000",
		"GET /goim/online/room?type=live&rooms=",
		"GET /goim/online/room?type=live&rooms=b&rooms=a&rooms=%3Cb%3E",
		"GET /goim/online/room",
		"GET /goim/online/room?rooms=1",
		"GET /goim/online/room?type=live&rooms=%1f",
		"GET /goim/online/total",
		"GET /goim/nodes/instances",
		"GET /goim/nodes/weighted?platform=web",
		"GET /goim/nodes/weighted?platform=ios",
	)
}

// A node with goim's example configuration, and one that knows no gateway.
func TestGoldenGoimNodes(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{cfg: func(c *logic.Config) {
		c.Domain, c.HostDomain = "conn.goim.io", ".goim.io"
	}})), "goim_nodes",
		"GET /goim/nodes/weighted?platform=web",
		"GET /goim/nodes/weighted",
	)
	nobody := func(d *logic.Deps) {
		reg := memory.NewRegistry()
		d.Registry, d.Nodes, d.Locks, d.Rooms = reg, reg, reg, reg
	}
	requests := []string{
		"GET /goim/nodes/weighted", "GET /goim/nodes/instances", "GET /goim/online/total",
		"GET /goim/online/top?type=a&limit=1", "GET /im/nodes/instances", "GET /im/online/top?type=a&limit=1",
	}
	golden(t, ready(start(t, options{deps: nobody})), "no_gateway", requests...)
	golden(t, ready(start(t, options{deps: nobody, cfg: func(c *logic.Config) {
		*c = logic.Config{
			RestAddr: c.RestAddr, InternalAddr: c.InternalAddr, Producers: 1, SpoolMessages: c.SpoolMessages, SpoolBytes: c.SpoolBytes,
			MaxBody: c.MaxBody, MaxHeader: c.MaxHeader, GoimAck: c.GoimAck, QueuedTimeout: c.QueuedTimeout, PushIDs: 1,
			DrainTimeout: c.DrainTimeout, Domain: "conn.goim.io",
		}
	}})), "no_gateway_domain", requests[:1]...)
}

const form = "\nContent-Type: application/x-www-form-urlencoded\n\n"

func multipart(fields ...string) string {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", fields[i], fields[i+1])
	}
	return "\nContent-Type: multipart/form-data; boundary=x\n\n" + b.String() + "--x--\r\n"
}

func TestGoldenIMPush(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "im_push",
		// Accepted.
		"POST /im/push/keys"+form+"keys[]=a&keys[]=b&msg=hi&operation=3",
		"POST /im/push/keys?keys=a&msg=hi",
		"POST /im/push/mids"+form+"mids[]=1&mids[]=2&msg=hi",
		"POST /im/push/mids?mids=5&ack=delivered"+form+"msg=hi",
		"POST /im/push/room"+form+"room=1000&type=live&msg=hi",
		"POST /im/push/room"+form+"room=1000&type=live%3A%2F%2F&msg=hi",
		"POST /im/push/all"+multipart("msg", "hi"),
		"POST /im/push/all\nContent-Type: application/json\n\n{\"msg\":\"hi\"}",
		"POST /im/push/all\nX-Push-Id: order-1\n\n{\"msg\":{\"a\": 1}}",
		// A parameter is missing; "0" is empty.
		"POST /im/push/keys"+form+"keys=a",
		"POST /im/push/keys"+form+"msg=hi",
		"POST /im/push/mids"+form+"mids=0&msg=hi",
		"POST /im/push/room"+form+"room=1000&msg=hi",
		"POST /im/push/room"+form+"room[]=1000&type=live&msg=hi",
		"POST /im/push/all"+form+"msg=0",
		"POST /im/push/all"+form+"msg[]=hi",
		"POST /im/push/all",
		"POST /im/push/all?msg=hi"+form+"msg=",
		"POST /im/push/all\nContent-Type: application/json\n\n{\"msg\":0.0}",
		// Bad ones.
		"POST /im/push/mids"+form+"mids[]=1&mids[]=x&msg=hi",
		"POST /im/push/keys"+form+"keys=shop%1fk&msg=hi",
		"POST /im/push/room"+form+"room=%ff&type=live&msg=hi",
		"POST /im/push/all\nContent-Type: application/json\n\n[1]",
		"POST /im/push/all\nContent-Type: multipart/form-data\n\nmsg=hi",
		"POST /im/push/all\nX-Push-Id: a b\n\n{\"msg\":\"hi\"}",
		"POST /im/push/all"+form+"msg="+strings.Repeat("x", 1_000_001),
		"POST /im/push/all"+form+"msg="+strings.Repeat("x", 5<<20),
	)
}

func TestGoldenIMQuestions(t *testing.T) {
	testkit.LeakCheck(t)
	golden(t, ready(start(t, options{})), "im_questions",
		"GET /im/online/top?type=live&limit=2",
		"GET /im/online/top?type=live&limit=x",
		"GET /im/online/top?type=live&limit=-1",
		"GET /im/online/top?type=live",
		"GET /im/online/room?type=live&rooms[]=1000&rooms[]=4&rooms[]=a/b&rooms[]=%C3%A9&rooms[]=1000",
		"GET /im/online/room?type=live%3A%2F%2F&rooms=1000",
		"GET /im/online/room?rooms=1000",
		"GET /im/online/room?type=live&rooms=%1f",
		"GET /im/online/total",
		"GET /im/nodes/instances",
		"GET /health",
		// Paths and methods.
		"HEAD /im/online/total",
		"GET /im/push/all?msg=hi",
		"POST /im/online/total",
		"GET /im/online/total/",
		"GET /im/x",
	)
}

func TestGoldenV1(t *testing.T) {
	testkit.LeakCheck(t)
	one := func(fields string) string { return "POST /v1/push/batch\n\n" + `{"pushes":[{` + fields + `}]}` }
	golden(t, ready(start(t, options{})), "v1",
		"POST /v1/push/batch\n\n"+`{"pushes":[
			{"op":1000,"keys":["a","b"],"body":"hi"},
			{"id":"order-1","app":"shop","op":1000,"mids":[1,2],"body64":"AAECAw=="},
			{"op":1000,"room":"live://1","body":""},
			{"op":1000,"all":true,"speed":100,"body":"hi"}]}`,
		"POST /v1/push/batch?ack=queued\n\n"+`{"pushes":[{"op":1000,"mids":[0],"body":"hi"}]}`,
		"POST /v1/push/batch?ack=delivered\n\n"+`{"pushes":[{"op":1000,"all":true,"body":"hi"}]}`,
		"POST /v1/push/batch",
		"POST /v1/push/batch\n\n{}",
		"POST /v1/push/batch\n\n{\"pushes\":[]}",
		"POST /v1/push/batch\n\n{\"pushes\":{}}",
		"POST /v1/push/batch\n\n{\"push\":[]}",
		"POST /v1/push/batch\n\n{\"pushes\":[]}{}",
		"POST /v1/push/batch\n\n{\"pushes\":[{\"op\":1,\"all\":true,\"body\":\"\xff\"}]}",
		"POST /v1/push/batch\n\n{\"pushes\":["+strings.Repeat(`{},`, 1000)+"{}]}",
		"POST /v1/push/batch\n\n"+`{"pushes":[{"op":1,"all":true,"body":""},{"op":1,"all":true,"body":"","x":1}]}`,
		"POST /v1/push/batch\n\n"+`{"pushes":[1]}`,
		"POST /v1/push/batch\n\n"+`{"pushes":[null]}`,
		one(`"op":"1","all":true,"body":""`),
		one(`"op":3000000000,"all":true,"body":""`),
		one(`"op":0,"all":true,"body":""`),
		one(`"op":1,"body":""`),
		one(`"op":1,"all":true,"room":"live://1","body":""`),
		one(`"op":1,"keys":"a","body":""`),
		one(`"op":1,"keys":["a",""],"body":""`),
		one(`"op":1,"keys":["a","\u001f"],"body":""`),
		one(`"op":1,"mids":["1"],"body":""`),
		one(`"op":1,"room":"1000","body":""`),
		one(`"op":1,"room":"://1","body":""`),
		one(`"op":1,"room":"live://`+strings.Repeat("x", 256)+`","body":""`),
		one(`"op":1,"room":"live://1","speed":5,"body":""`),
		one(`"op":1,"all":true,"speed":-5,"body":""`),
		one(`"op":1,"all":true`),
		one(`"op":1,"all":true,"body":"","body64":""`),
		one(`"op":1,"all":true,"body64":"!"`),
		one(`"op":1,"all":true,"body":"`+strings.Repeat("x", 1_000_001)+`"`),
		one(`"op":1,"all":true,"body":"","app":"a b"`),
		one(`"op":1,"all":true,"body":"","id":"a b"`),
		"POST /v1/push/batch\n\n"+strings.Repeat(" ", 4<<20+1),
		"POST /v1/push/batch\n\n"+strings.Repeat(" ", 8<<20),
		"GET /v1/push/batch",
		"POST /v1/push/batch/",
		"GET /v1/x",
		"GET /v1",
	)
}
