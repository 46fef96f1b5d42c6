package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// binary is halley, built once, with the race detector when the tests have it.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "halley-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "halley")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// TestMain removes the binary that tests may have built.
func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil && builtBinary.Load() {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// system is a running halley in one topology.
type system struct {
	name     string
	gateways []*proc // in "all" the one process, which is logic and job too
	logics   []*proc
	jobs     []*proc
	redis    *proxy // between logic and Redis; nil in "all"
}

// split says that roles are processes of their own.
func (s *system) split() bool { return s.redis != nil }

// proc is a running process of the built binary.
type proc struct {
	args  []string
	ready ready
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	log   string        // file
}

// spawn starts halley and waits until it takes work.
func spawn(t testing.TB, args ...string) *proc { return spawnFiles(t, 0, args...) }

// spawnFiles is spawn with a limit of open files; 0 is what the tests have.
func spawnFiles(t testing.TB, files int, args ...string) *proc {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	builtBinary.Store(true)
	dir := t.TempDir()
	p := &proc{args: args, done: make(chan struct{}), log: filepath.Join(dir, "log")}
	file := filepath.Join(dir, "ready.json")
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(path, append(args, "--ready-file", file)...)
	if files > 0 {
		script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files)
		p.cmd = exec.Command("sh", append([]string{"-c", script, path}, p.cmd.Args[1:]...)...)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = p.cmd.Wait() // the state says how
		out.Close()
		close(p.done)
	}()
	t.Cleanup(func() { p.cleanup(t) })
	testkit.Eventually(t, time.Minute, func() bool {
		select {
		case <-p.done:
			t.Fatalf("halley %v ended:\n%s", args, p.tail())
		default:
		}
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &p.ready) == nil
	}, fmt.Sprintf("halley %v is ready", args))
	return p
}

// cleanup stops what still runs, and shows the log of a failed test.
func (p *proc) cleanup(t testing.TB) {
	select {
	case <-p.done:
	default:
		p.term(t)
	}
	if t.Failed() {
		t.Logf("halley %v:\n%s", p.args, p.tail())
	}
	if log := p.tail(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		t.Errorf("halley %v:\n%s", p.args, log)
	}
}

// term sends SIGTERM and expects a clean end.
func (p *proc) term(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		t.Errorf("halley %v did not stop in 30 s:\n%s", p.args, p.tail())
		return
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("halley %v stopped with exit code %d:\n%s", p.args, code, p.tail())
	}
}

// kill is kill -9.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *proc) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}

// startAll is one process on embedded parts.
func startAll(t testing.TB) *system {
	p := spawnAll(t, "gw-1")
	return &system{name: "all", gateways: []*proc{p}, logics: []*proc{p}}
}

func spawnAll(t testing.TB, id string, more ...string) *proc {
	return spawn(t, allArgs(t, id, more...)...)
}

func allArgs(t testing.TB, id string, more ...string) []string {
	args := append([]string{"all", "--logic.rest-addr", "127.0.0.1:0", "--logic.internal-addr", "127.0.0.1:0",
		"--job.internal-addr", "127.0.0.1:0"}, gatewayArgs(t, id)...)
	return append(args, more...)
}

// gatewayArgs are a gateway with every listener there is.
func gatewayArgs(t testing.TB, id string) []string {
	cert, key := testkit.Certificate(t)
	args := []string{"--gateway.id", id, "--gateway.compression", "--gateway.tls-cert", cert, "--gateway.tls-key", key}
	for _, addr := range []string{"tcp", "ws", "wss", "im-tcp", "im-ws", "internal"} {
		args = append(args, "--gateway."+addr+"-addr", "127.0.0.1:0")
	}
	return args
}

// startSplit is two processes of each role over real Redis and real Kafka.
func startSplit(t testing.TB) *system {
	name := "e2e-" + random(t)
	s := &system{name: "split", redis: startProxy(t, testkit.Redis(t))}
	shared := []string{"--redis.addrs", s.redis.addr, "--redis.prefix", name,
		"--kafka.brokers", testkit.Kafka(t), "--kafka.topic", name, "--kafka.group", name, "--kafka.partitions", "4",
		"--cluster.secret", "e2e"}
	var internal []string
	for range 2 {
		p := spawn(t, append([]string{"logic", "--logic.rest-addr", "127.0.0.1:0", "--logic.internal-addr", "127.0.0.1:0"}, shared...)...)
		s.logics = append(s.logics, p)
		internal = append(internal, p.ready.Logic["internal_addr"])
	}
	for i := range 2 {
		s.jobs = append(s.jobs, spawn(t, append([]string{"job", "--job.id", fmt.Sprint("job-", i+1), "--job.internal-addr", "127.0.0.1:0"}, shared...)...))
	}
	for i := range 2 {
		s.gateways = append(s.gateways, s.addGateway(t, fmt.Sprint("gw-", i+1), internal))
	}
	return s
}

func (s *system) addGateway(t testing.TB, id string, logics []string, more ...string) *proc {
	args := append([]string{"gateway", "--gateway.logic-addrs", strings.Join(logics, ","), "--cluster.secret", "e2e"}, gatewayArgs(t, id)...)
	return spawn(t, append(args, more...)...)
}

// another is one more gateway; in "all", which has only one, a system of its own.
func (s *system) another(t testing.TB, id string, more ...string) *proc {
	if !s.split() {
		return spawnAll(t, id, more...)
	}
	return s.addGateway(t, id, []string{s.logics[1].ready.Logic["internal_addr"]}, more...)
}

func random(t testing.TB) string {
	b := make([]byte, 6)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// dialers are a client on every gateway over every transport.
func (s *system) dialers() map[string]func(t testing.TB) *testkit.Client {
	m := map[string]func(t testing.TB) *testkit.Client{}
	for i, g := range s.gateways {
		m[fmt.Sprintf("gw%d-tcp", i+1)] = func(t testing.TB) *testkit.Client { return testkit.DialTCP(t, g.ready.Gateway["tcp_addr"]) }
		m[fmt.Sprintf("gw%d-ws", i+1)] = func(t testing.TB) *testkit.Client { return testkit.DialWS(t, g.ready.Gateway["ws_addr"]) }
	}
	return m
}

// transports are a client on every gateway in every form.
func (s *system) transports() map[string]func(t testing.TB) *testkit.Client {
	m := map[string]func(t testing.TB) *testkit.Client{}
	for i, g := range s.gateways {
		for name, o := range map[string]testkit.Options{
			"tcp": {}, "ws": {WS: true}, "ws-deflate": {WS: true, Deflate: true}, "json": {WS: true, JSON: true},
			"json-deflate": {WS: true, JSON: true, Deflate: true},
			"tls-tcp":      {TLS: true}, "wss": {TLS: true, WS: true}, "wss-json": {TLS: true, WS: true, JSON: true},
		} {
			key := map[bool]string{false: "tcp_addr", true: "ws_addr"}[o.WS]
			if o.TLS {
				key = "wss_addr"
			}
			m[fmt.Sprintf("gw%d-%s", i+1, name)] = func(t testing.TB) *testkit.Client {
				return testkit.Dial(t, g.ready.Gateway[key], o)
			}
		}
	}
	return m
}

// rest calls the n-th logic node and returns status and body.
func (s *system) rest(t testing.TB, n int, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method,
		"http://"+s.logics[n%len(s.logics)].ready.Logic["rest_addr"]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// push makes a push that must be accepted, at the first logic node.
func (s *system) push(t testing.TB, path, body string) {
	t.Helper()
	if status, text := s.rest(t, 0, "POST", path, body); status != 200 || text != `{"code":0,"message":""}` {
		t.Fatalf("POST %s: %d %s", path, status, text)
	}
}

// get reads the data of a goim GET.
func (s *system) get(t testing.TB, n int, path string, data any) {
	t.Helper()
	status, text := s.rest(t, n, "GET", path, "")
	envelope := struct {
		Code int `json:"code"`
		Data any `json:"data"`
	}{Data: data}
	if err := json.Unmarshal([]byte(text), &envelope); err != nil || status != 200 || envelope.Code != 0 {
		t.Fatalf("GET %s: %d %s %v", path, status, text, err)
	}
}

// offlineMetric counts pushes that had no receiver.
const offlineMetric = `halley_logic_pushes_done_total{result="offline"}`

// metric sums a metric over the given processes' internal address of a role.
func metric(t testing.TB, procs []*proc, addr func(r ready) string, name string) (sum float64) {
	t.Helper()
	for _, p := range procs {
		resp, err := http.Get("http://" + addr(p.ready) + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				v, err := strconv.ParseFloat(rest, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum += v
			}
		}
		resp.Body.Close()
	}
	return sum
}

// proxy passes TCP connections on and can hold everything back.
type proxy struct {
	addr string
	mu   sync.RWMutex // held for writing while paused
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String()}
	var conns sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ln.Close(); conns.Wait() })
	go func() { // ends when ln is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { p.pass(ctx, c, target) })
		}
	}()
	return p
}

func (p *proxy) pass(ctx context.Context, client net.Conn, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	closeBoth := func() { client.Close(); server.Close() }
	defer context.AfterFunc(ctx, closeBoth)()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client); closeBoth() })
	both.Go(func() { p.copy(client, server); closeBoth() })
	both.Wait()
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.RLock()
			_, werr := to.Write(buf[:n])
			p.mu.RUnlock()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pause holds everything back until resume is called.
func (p *proxy) pause() (resume func()) {
	p.mu.Lock()
	return sync.OnceFunc(p.mu.Unlock)
}
