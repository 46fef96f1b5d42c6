package tlsloop

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// record is a log that tests look into.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) count(s string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), s)
}

func (r *record) log() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

func TestLoadCertificatesSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := files(t, dir, "test", tomorrow())
	_, otherKey := files(t, t.TempDir(), "other", tomorrow())
	empty, broken, none := filepath.Join(dir, "empty"), filepath.Join(dir, "broken"), filepath.Join(dir, "none")
	write(t, empty, nil)
	write(t, broken, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("noise")}))
	f := func(certFile, keyFile string, want ...string) {
		t.Helper()
		_, err := LoadCertificates(certFile, keyFile, quiet())
		if err == nil {
			t.Errorf("no error, want %q", want)
			return
		}
		for _, s := range want {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v, want %q in it", err, s)
			}
		}
	}
	f(none, keyFile, "certificate", none, "no such file")
	f(certFile, none, "key", none, "no such file")
	f(dir, keyFile, "certificate", dir, "is a directory")
	f(empty, keyFile, "certificate "+empty, "no PEM")
	f(certFile, empty, "key "+empty, "no PEM")
	f(keyFile, certFile, "certificate "+keyFile, "no CERTIFICATE", "PRIVATE KEY")
	f(certFile, certFile, "key "+certFile, "no PRIVATE KEY", "CERTIFICATE")
	f(certFile, otherKey, certFile, otherKey, "does not match")
	f(broken, keyFile, broken, keyFile, "malformed")
}

func TestLoadCertificatesOutOfTime(t *testing.T) {
	f := func(until time.Time, warnings int) {
		t.Helper()
		var r record
		certFile, keyFile := files(t, t.TempDir(), "test", until)
		c, err := LoadCertificates(certFile, keyFile, r.log())
		if err != nil || !c.NotAfter().Equal(until.Truncate(time.Second)) {
			t.Fatal(err)
		}
		if n := r.count("not valid today"); n != warnings {
			t.Errorf("until %v: %d warnings, want %d", until, n, warnings)
		}
	}
	f(tomorrow(), 0)
	f(time.Now().Add(-time.Hour), 1)
	f(time.Now().Add(100*24*time.Hour), 1) // begins later
}

// name is whom a new client sees.
func name(t testing.TB, p *Pool) string {
	t.Helper()
	state := connect(t, p, clientConfig(tls.VersionTLS13)).client.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName
}

// Files that are replaced one after the other, as by a copy.
func TestCheckFilesReplaced(t *testing.T) {
	testkit.LeakCheck(t)
	dir := t.TempDir()
	var r record
	certFile, keyFile := files(t, dir, "old", tomorrow())
	certs, err := LoadCertificates(certFile, keyFile, r.log())
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(t, Options{Certificates: certs})
	p.state = poolRunning // without Run, which looks at the files too
	old := connect(t, p, clientConfig(tls.VersionTLS13))
	defer p.workers.Wait()

	newCert, newKey := files(t, t.TempDir(), "new", tomorrow())
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(newCert, certFile)
	certs.check()
	certs.check()
	if n := r.count("does not match"); n != 1 || name(t, p) != "old" {
		t.Errorf("half a pair: %d warnings", n)
	}
	rename(newKey, keyFile)
	certs.check()
	if got := name(t, p); got != "new" || r.count("read again") != 1 {
		t.Errorf("clients see %q", got)
	}
	_, _ = old.client.Write([]byte("still here"))
	if plain, _ := old.arrived(); string(plain) != "still here" {
		t.Errorf("an open connection: %q", plain)
	}

	for range 3 { // more trouble than is worth a line each
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		certs.check()
		write(t, keyFile, []byte("nonsense"))
		certs.check()
	}
	if n := r.count("going on with the old one"); n != 1 || name(t, p) != "new" {
		t.Errorf("%d warnings within a minute, want 1", n)
	}
	certs.trouble.last = time.Now().Add(-troubleEvery)
	write(t, keyFile, []byte("other nonsense"))
	certs.check()
	if r.count("going on with the old one") != 2 || r.count("swallowed=6") != 1 {
		t.Errorf("no count of what was swallowed: %s", r.text.String())
	}
	if err := certs.Reload(); err == nil || name(t, p) != "new" {
		t.Errorf("Reload: %v", err)
	}
}

// Trouble that ends without a trace in the files' time and size, as after a chown:
// they are tried on, and it is one line in the log.
func TestCheckTriesAgain(t *testing.T) {
	var r record
	certFile, keyFile := files(t, t.TempDir(), "test", tomorrow())
	certs, err := LoadCertificates(certFile, keyFile, r.log())
	if err != nil {
		t.Fatal(err)
	}
	before, good := certs.current.Load(), readFile(t, keyFile)
	when := time.Now().Add(time.Minute)
	inPlace := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(keyFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(keyFile, when, when); err != nil {
			t.Fatal(err)
		}
	}
	inPlace(bytes.Repeat([]byte("x"), len(good)))
	for range 3 {
		certs.check()
	}
	if n := r.count("going on with the old one"); n != 1 || certs.trouble.swallowed != 0 {
		t.Errorf("%d lines and %d swallowed, want one", n, certs.trouble.swallowed)
	}
	inPlace(good)
	for range 3 {
		certs.check()
	}
	if certs.current.Load() == before || r.count("read again") != 1 {
		t.Errorf("the good pair was read %d times, want 1", r.count("read again"))
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Kubernetes: the files are links through a link to a folder, which is set to
// another folder in one step. And it is Run that notices.
func TestRunNoticesLinks(t *testing.T) {
	testkit.LeakCheck(t)
	dir := t.TempDir()
	link := func(to, from string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, "..data-"+version), 0o700); err != nil {
			t.Fatal(err)
		}
		files(t, filepath.Join(dir, "..data-"+version), version, tomorrow())
	}
	link("..data-one", "..data")
	link("..data/tls.crt", "tls.crt")
	link("..data/tls.key", "tls.key")
	certs, err := LoadCertificates(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), quiet())
	if err != nil {
		t.Fatal(err)
	}
	p := startPool(t, Options{Certificates: certs})
	if got := name(t, p); got != "one" {
		t.Fatal(got)
	}
	link("..data-two", "..data-tmp")
	if err := os.Rename(filepath.Join(dir, "..data-tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, func() bool { return name(t, p) == "two" }, "the other certificate")
}

// A file that is written in place: the same inode, another time or size.
func TestCheckWrittenInPlace(t *testing.T) {
	certFile, keyFile := files(t, t.TempDir(), "old", tomorrow())
	certs, err := LoadCertificates(certFile, keyFile, quiet())
	if err != nil {
		t.Fatal(err)
	}
	f := func(change func(), want bool) {
		t.Helper()
		before := certs.current.Load()
		change()
		certs.check()
		if got := certs.current.Load() != before; got != want {
			t.Errorf("read again: %v, want %v", got, want)
		}
	}
	now := time.Now()
	f(func() {}, false)
	f(func() {
		if err := os.Chtimes(keyFile, now, now.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}, true)
	f(func() {}, false)
	f(func() { // as long ago as before, but longer
		info, _ := os.Stat(certFile)
		text := readFile(t, certFile)
		if err := os.WriteFile(certFile, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(certFile, now, info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}, true)
	f(func() { // another file that looks the same
		info, _ := os.Stat(certFile)
		text := readFile(t, certFile)
		write(t, certFile, text)
		if err := os.Chtimes(certFile, now, info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}, true)
}
