package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write deploy/halley.toml anew")

// documented is deploy/halley.toml as it must be: every key with its meaning and
// its default, commented out.
func documented(t *testing.T) string {
	t.Helper()
	c := cli{Settings: defaultSettings()}
	c.Settings.Gateway.ID, c.Settings.Job.ID = "", "" // made of the machine's name
	parser, err := newParser(&c, nil, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse("", nil); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := parser.Print(&raw, true); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("# Every setting of halley with its default. Each is also a flag (--gateway.ws-addr) and an\n" +
		"# environment variable (HALLEY_GATEWAY_WS_ADDR), which go before this file.\n\n")
	for line := range strings.Lines(raw.String()) {
		if line != "\n" && line[0] != '[' && line[0] != '#' {
			line = "#" + line
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestConfigFileDocumentsEverything(t *testing.T) {
	file := filepath.Join("deploy", "halley.toml")
	want := documented(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%s is not up to date (%v): go test -run %s -update .", file, err, t.Name())
	}
	// With every key in effect it says what holds without it.
	var active strings.Builder
	for line := range strings.Lines(want) {
		if len(line) > 1 && line[0] == '#' && line[1] != ' ' {
			line = line[1:]
		}
		active.WriteString(line)
	}
	full := filepath.Join(t.TempDir(), "full.toml")
	text := strings.Replace(active.String(), "id = ''", "id = 'gw'", 1)
	text = strings.Replace(text, "id = ''", "id = 'j'", 1)
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	with := halley(t, "", "all", "-c", full, "--check")
	without := halley(t, "", "all", "--gateway.id", "gw", "--job.id", "j", "--check")
	if with != without {
		t.Errorf("the file changes something:\n%s\n---\n%s", with, without)
	}
}

// halley runs a command line that must end by itself. With wantErr the error must
// have that in it, otherwise there must be none; it returns what was printed.
func halley(t *testing.T, wantErr string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, args, &out, io.Discard)
	switch {
	case wantErr == "" && err != nil:
		t.Fatalf("halley %v: %v", args, err)
	case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
		t.Fatalf("halley %v: error %v, want %q in it", args, err, wantErr)
	}
	return out.String()
}

func toml(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "halley.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A flag goes before the environment, that before the file, that before the
// default.
func TestPrecedence(t *testing.T) {
	file := toml(t, "[gateway]\nweight = 20\nregion = 'file'\nzone = 'file'\nlogic_addrs = ['a:1', 'b:2']\n[logic]\nbackoff.factor = 2.5\n")
	t.Setenv("HALLEY_GATEWAY_REGION", "env")
	t.Setenv("HALLEY_GATEWAY_ZONE", "env")
	out := halley(t, "", "all", "-c", file, "--gateway.zone=flag", "--check")
	for _, want := range []string{"weight = 20", "region = 'env'", "zone = 'flag'", "logic_addrs = ['a:1', 'b:2']", "backoff.factor = 2.5", "heartbeat_max = 2"} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// What cannot work says which key it is and what is allowed.
func TestBadSettings(t *testing.T) {
	f := func(wantErr string, args ...string) {
		t.Helper()
		halley(t, wantErr, append(args, "--check")...)
	}
	f("unknown key gateway.wsaddr", "all", "-c", toml(t, "[gateway]\nwsaddr = 'x'"))
	f("unknown key gatway.ws_addr", "all", "-c", toml(t, "[gatway]\nws_addr = 'x'"))
	f("unknown key gateway.ws-addr", "all", "-c", toml(t, "[gateway]\nws-addr = 'x'"))
	f("line 2", "all", "-c", toml(t, "[gateway]\nws_addr = "))
	f("no such file", "all", "-c", "/does/not/exist.toml")
	f("weight", "all", "-c", toml(t, "[gateway]\nweight = 'heavy'"))
	f("key gateway.logic_addrs", "gateway", "-c", toml(t, "[gateway]\nlogic_addrs = [1]"))
	f("--gateway.wsaddr", "all", "--gateway.wsaddr=x")
	f("gateway.weight 0: from 1 to", "all", "--gateway.weight=0")
	f("gateway.ws_addr", "all", "--gateway.ws-addr=3102")
	f("gateway.heartbeat", "all", "--gateway.heartbeat=1ms")
	f("gateway.max_memory 4096: 0, or from 1048576", "all", "--gateway.max-memory=4096")
	f("gateway.tls_cert, gateway.tls_key: set both", "all", "--gateway.tls-cert=cert.pem")
	f("open /does/not/exist.pem", "all", "--gateway.tls-cert=/does/not/exist.pem", "--gateway.tls-key=/does/not/exist.key")
	f("gateway.origins", "all", "--gateway.origins=app.example.com")
	f("rooms.rules", "all", "--rooms.rules=live://*")
	f("log.level", "all", "--log.level=loud")
	f("redis addrs", "logic", "--redis.addrs=nowhere")
	f("kafka", "job", "--kafka.brokers=")
	f("auth.insecure_open", "all", "--gateway.ws-addr=0.0.0.0:3102")
	f("auth.insecure_open", "gateway", "--gateway.tcp-addr=:3101")
	f("api.insecure_open", "all", "--logic.rest-addr=0.0.0.0:3111")
	f("cluster.secret", "logic", "--logic.internal-addr=10.0.0.1:3119")
	f("gateway.logic_addrs", "gateway", "--gateway.logic-addrs=")
	f("logic.max_body 2000000: at most", "logic", "--logic.max-body=2000000")
	f("auth.mode", "all", "--auth.mode=magic")

	halley(t, "unexpected argument nonsense", "nonsense")
	halley(t, "gateway.max_connections 100000000", "all", "--gateway.max-connections=100000000")
	halley(t, "room \"1\": want type://id", "push", "room", "1", "x")
	halley(t, "is a logic node running at 127.0.0.1:1?", "push", "all", "x", "--addr", "127.0.0.1:1")
}

// Secrets are not shown.
func TestCheckHidesSecrets(t *testing.T) {
	out := halley(t, "", "logic", "--cluster.secret=s3cret", "--redis.password=pa55", "--redis.username=u", "--check")
	if strings.Contains(out, "s3cret") || strings.Contains(out, "pa55") || strings.Count(out, "(set, not shown)") != 2 {
		t.Errorf("got\n%s", out)
	}
}

// A port in use, and no Redis, end the start with a sentence.
func TestStartFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	free := []string{"all", "--gateway.tcp-addr=127.0.0.1:0", "--gateway.ws-addr=127.0.0.1:0", "--gateway.internal-addr=127.0.0.1:0",
		"--logic.rest-addr=127.0.0.1:0", "--logic.internal-addr=127.0.0.1:0", "--job.internal-addr=127.0.0.1:0"}
	taken := ln.Addr().String()
	for _, key := range []string{"gateway.tcp-addr", "gateway.ws-addr", "gateway.internal-addr", "logic.rest-addr", "logic.internal-addr", "job.internal-addr"} {
		halley(t, strings.ReplaceAll(key, "-", "_")+" "+taken, append(free, "--"+key+"="+taken)...)
	}
	halley(t, "redis.addrs [127.0.0.1:1]", "logic", "--redis.addrs=127.0.0.1:1")
	halley(t, "redis.addrs [127.0.0.1:1]", "job", "--redis.addrs=127.0.0.1:1")
}

// What several users of descriptors may take together fits the limit.
func TestFileBudget(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, r := range []roles{rolesOf("all"), rolesOf("gateway"), rolesOf("logic"), rolesOf("job")} {
		cfg := defaultSettings().Gateway
		b, err := fileBudget(r, &cfg)
		if err != nil {
			t.Fatal(err)
		}
		if sum := b.clients + b.rest + b.internal*len(r) + reservedFiles + cfg.Files(); sum > int(limit.Cur) {
			t.Errorf("%v: %+v is %d of %d files", r, b, sum, limit.Cur)
		}
		if r.has(roleGateway) != (b.clients > 0) || r.has(roleLogic) != (b.rest > 0) {
			t.Errorf("%v: %+v", r, b)
		}
	}
}
