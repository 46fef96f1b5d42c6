package tlsloop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second // of tests, for what must come

// files writes a new certificate for name, valid until then, and its key.
func files(t testing.TB, dir, name string, until time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return certFile, keyFile
}

// write puts a new file in the place of name.
func write(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// quiet is a log for tests that do not look at it.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func loadTest(t testing.TB) *Certificates {
	t.Helper()
	certFile, keyFile := files(t, t.TempDir(), "test", tomorrow())
	c, err := LoadCertificates(certFile, keyFile, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newPool makes a pool that does not run.
func newPool(t testing.TB, o Options) *Pool {
	t.Helper()
	if o.Certificates == nil {
		o.Certificates = loadTest(t)
	}
	return NewPool(o)
}

// runPool runs p until the test ends, or stop is called.
func runPool(t testing.TB, p *Pool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		_ = p.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func startPool(t testing.TB, o Options) *Pool {
	t.Helper()
	p := newPool(t, o)
	runPool(t, p)
	return p
}

// clientConfig is that of a client that trusts anybody.
func clientConfig(version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
}

// wireEnd is a client's net.Conn in memory. Nothing a client does blocks but reads.
type wireEnd struct {
	net.Conn             // nil
	up       chan []byte // what the client has written

	mu     sync.Mutex
	more   sync.Cond
	down   bytes.Buffer // what the client may read
	closed bool
}

func newWireEnd() *wireEnd {
	w := &wireEnd{up: make(chan []byte, 4096)}
	w.more.L = &w.mu
	return w
}

func (w *wireEnd) Read(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.down.Len() == 0 {
		if w.closed {
			return 0, io.EOF
		}
		w.more.Wait()
	}
	return w.down.Read(b)
}

func (w *wireEnd) Write(b []byte) (int, error) {
	w.up <- bytes.Clone(b)
	return len(b), nil
}

// give lets the client read b.
func (w *wireEnd) give(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down.Write(b)
	w.more.Broadcast()
}

func (w *wireEnd) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.more.Broadcast()
	return nil
}

func (w *wireEnd) RemoteAddr() net.Addr             { return nowhere{} }
func (w *wireEnd) SetDeadline(time.Time) error      { return nil }
func (w *wireEnd) SetReadDeadline(time.Time) error  { return nil }
func (w *wireEnd) SetWriteDeadline(time.Time) error { return nil }

// link is a connection in memory whose loop is the test.
type link struct {
	t      testing.TB
	wire   *wireEnd
	client *tls.Conn
	server *Conn
	mails  chan func()
	sent   [][]byte // the server's flights
	err    error    // of done
	ended  bool     // done has come
	buf    []byte
}

// newLink makes a link on which nothing has happened.
func newLink(t testing.TB, p *Pool, config *tls.Config) *link {
	l := &link{t: t, wire: newWireEnd(), mails: make(chan func(), 16), buf: make([]byte, 16<<10)}
	l.client = tls.Client(l.wire, config)
	l.server = p.Server(
		func(b []byte) { l.mails <- func() { l.sent = append(l.sent, b); l.wire.give(b) } },
		func(err error) { l.mails <- func() { l.ended, l.err = true, err } })
	return l
}

// shake does the handshake: the loop's part here, the client's on a goroutine.
func (l *link) shake() (client error) {
	l.t.Helper()
	result := make(chan error, 1)
	go func() { result <- l.client.Handshake() }() // ends when done has come
	timeout := time.After(patience)
	for !l.ended {
		select {
		case b := <-l.wire.up:
			if err := l.server.Feed(b); err != nil {
				l.t.Fatal(err)
			}
		case mail := <-l.mails:
			mail()
		case <-timeout:
			l.t.Fatal("no end of the handshake")
		}
	}
	if l.err == nil {
		l.server.Establish()
	} else {
		l.wire.Close()
	}
	return <-result
}

// connect makes a link that is established.
func connect(t testing.TB, p *Pool, config *tls.Config) *link {
	t.Helper()
	l := newLink(t, p, config)
	if err := l.shake(); err != nil || l.err != nil {
		t.Fatalf("client: %v, server: %v", err, l.err)
	}
	if l.server.Handshaking() {
		t.Fatal("still handshaking")
	}
	return l
}

// arrived feeds what the client has written, and reads all.
func (l *link) arrived() (plain []byte, err error) {
	l.t.Helper()
	for {
		select {
		case b := <-l.wire.up:
			if err := l.server.Feed(b); err != nil {
				l.t.Fatal(err)
			}
			var more []byte
			more, err = l.readAll()
			plain = append(plain, more...)
		default:
			return plain, err
		}
	}
}

// readAll reads until an error; the caller has fed.
func (l *link) readAll() (plain []byte, err error) {
	for {
		n, err := l.server.Read(l.buf)
		plain = append(plain, l.buf[:n]...)
		if err != nil {
			return plain, err
		}
	}
}

// takes gives the client what the server has sealed and reads len(want) of it.
func (l *link) takes(sealed []byte, want string) {
	l.t.Helper()
	l.wire.give(sealed)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(l.client, got); err != nil || string(got) != want {
		l.t.Fatalf("client has read %q, %v, want %q", got, err, want)
	}
}
