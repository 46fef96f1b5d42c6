package ws

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packet reads a vector of pkg/protocol, which the frames of testdata carry.
func packet(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "protocol", "testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	return string(unhex(t, string(text)))
}

// The frames that docs/protocol.md shows, from a client.
func TestGoldenFromClient(t *testing.T) {
	f := func(name string, want ...event) {
		t.Helper()
		src := golden(t, name)
		checkFeed(t, src, nil, want...)
		if len(want) > 1 {
			return
		}
		if out := AppendClientFrame(nil, want[0].op, testMask, []byte(want[0].payload)); !bytes.Equal(out, src) {
			t.Fatalf("%s: appended %x, want %x", name, out, src)
		}
	}
	f("client-auth", event{OpBinary, packet(t, "auth")})
	f("client-heartbeat", event{OpBinary, packet(t, "heartbeat")})
	f("client-heartbeat-text", event{OpText, packet(t, "heartbeat")})
	f("client-heartbeat-fragmented", event{OpPing, ""}, event{OpBinary, packet(t, "heartbeat")})
}

// The frames that docs/protocol.md shows, from a server.
func TestGoldenFromServer(t *testing.T) {
	f := func(name string, op OpCode, payload string, out []byte) {
		t.Helper()
		src := golden(t, name)
		if !bytes.Equal(out, src) {
			t.Fatalf("%s: appended %x, want %x", name, out, src)
		}
		var a Assembler
		n, gotOp, got, done, err := a.NextFromServer(slices.Clone(src), &Rules{Limit: 1 << 20})
		if n != len(src) || gotOp != op || string(got) != payload || !done || err != nil {
			t.Fatalf("%s: %d bytes, op %x, %x, done %v, %v", name, n, gotOp, got, done, err)
		}
	}
	reply, push := packet(t, "auth-reply"), packet(t, "push-ws")
	f("server-auth-reply", OpBinary, reply, AppendFrame(nil, OpBinary, []byte(reply)))
	f("server-push", OpBinary, push, AppendFrame(nil, OpBinary, []byte(push)))
	f("server-close", OpClose, "\x03\xf4restarting", AppendClose(nil, StatusRestart, "restarting"))
}

// docs/protocol.md shows every vector as it is, and every vector is tested.
func TestGoldenFilesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.h*")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	var tests []byte
	for _, name := range []string{"golden_test.go", "upgrade_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, text...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(doc, append([]byte("\n"), bytes.TrimSpace(text)...)) {
			t.Errorf("docs/protocol.md does not show %s", file)
		}
		name := filepath.Base(file)
		if !bytes.Contains(tests, []byte(`"`+strings.TrimSuffix(name, filepath.Ext(name))+`"`)) {
			t.Errorf("%s is not tested", file)
		}
	}
}
