package tlsloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

func TestNotTLS(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{Timeout: time.Hour})
	f := func(in, want string) {
		t.Helper()
		l, err := stalled(t, p, []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.outcome(); err == nil {
			t.Errorf("%.10q: no error", in)
		}
		if sent := string(bytes.Join(l.sent, nil)); !strings.HasPrefix(sent, want) || want == "" && sent != "" {
			t.Errorf("%.10q was answered %q, want %q", in, sent, want)
		}
	}
	const answer, alert = "HTTP/1.0 400 Bad Request\r\n", "\x15\x03"
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer)
	f("POST /x HTTP/1.1\r\n\r\n", answer)
	f("HEAD / HTTP/1.1\r\n\r\n", answer)
	f("\x00\x00\x00\x10\x00\x10\x00\x01", "") // a packet
	f("SSH-2.0-x\r\n", "")
	f("\x80\x2e\x01\x00\x02", alert)                     // SSL 2
	f("\x16\x03\x01\xff\xff", alert)                     // too long a record
	f("\x16\x03\x01\x00\x05hello", alert)                // no handshake message
	f("\x15\x03\x01\x00\x02\x02\x28", "")                // an alert: the client gives up
	f("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00", alert) // empty records
	if s := p.Stats(); s.Failed != 10 || s.Done != 0 {
		t.Errorf("%+v", s)
	}
}

// What we do not speak, with a reason for the client.
func TestRefusedClients(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{})
	f := func(change func(*tls.Config), want string) {
		t.Helper()
		config := &tls.Config{InsecureSkipVerify: true}
		change(config)
		l := newLink(t, p, config)
		err := l.shake()
		if err == nil || l.err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("client: %v, want %q; server: %v", err, want, l.err)
		}
	}
	f(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "protocol version")
	f(func(c *tls.Config) { c.NextProtos = []string{"h2"} }, "no application protocol")
	f(func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	}, "handshake failure")
	f(func(c *tls.Config) { c.InsecureSkipVerify = false; c.ServerName = "test" }, "certificate") // does not trust us
	f(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, "")
}

func TestNegotiation(t *testing.T) {
	testkit.LeakCheck(t)
	plain, pq := startPool(t, Options{}), startPool(t, Options{PostQuantum: true})
	f := func(p *Pool, want tls.CurveID) {
		t.Helper()
		config := clientConfig(tls.VersionTLS13)
		config.NextProtos = []string{"h2", "http/1.1"}
		s := connect(t, p, config).client.ConnectionState()
		if s.NegotiatedProtocol != "http/1.1" || s.CurveID != want {
			t.Errorf("%q, %v, want http/1.1 and %v", s.NegotiatedProtocol, s.CurveID, want)
		}
	}
	f(plain, tls.X25519)
	f(pq, tls.X25519MLKEM768)
}

// ClientHellos of one long record, and of two.
func TestLongClientHello(t *testing.T) {
	testkit.LeakCheck(t)
	p := startPool(t, Options{})
	for _, protocols := range []int{200, 600} { // of 51 bytes
		config := clientConfig(tls.VersionTLS13)
		config.NextProtos = []string{"http/1.1"}
		for i := range protocols {
			config.NextProtos = append(config.NextProtos, fmt.Sprintf("%050d", i))
		}
		if s := connect(t, p, config).client.ConnectionState(); s.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%d protocols: %q", protocols, s.NegotiatedProtocol)
		}
	}
	if n := p.bursts.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

// The client has guessed another curve than we want (HelloRetryRequest, RFC 8446
// §4.1.4): one more flight each, and what is behind comes through as ever.
func TestSecondClientHello(t *testing.T) {
	testkit.LeakCheck(t)
	p := newPool(t, Options{})
	p.config.CurvePreferences = []tls.CurveID{tls.CurveP256}
	runPool(t, p)
	l := connect(t, p, clientConfig(tls.VersionTLS13))
	if s := l.client.ConnectionState(); s.CurveID != tls.CurveP256 || !s.HelloRetryRequest {
		t.Errorf("%v, another try %v", s.CurveID, s.HelloRetryRequest)
	}
	_, _ = l.client.Write([]byte("hello"))
	if plain, err := l.arrived(); string(plain) != "hello" || !errors.Is(err, ErrAgain) {
		t.Errorf("%q, %v", plain, err)
	}
}

func TestResumption(t *testing.T) {
	everywhere(t, func(t *testing.T, version uint16) {
		testkit.LeakCheck(t)
		p := startPool(t, Options{})
		config := clientConfig(version)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			l := connect(t, p, config)
			sealed, _ := l.server.Append(nil, []byte("x"))
			l.takes(sealed, "x") // and the ticket
			if got := l.client.ConnectionState().DidResume; got != (i > 0) {
				t.Errorf("connection %d: resumed %v", i, got)
			}
			_, _ = l.client.Write([]byte("hello"))
			if plain, _ := l.arrived(); string(plain) != "hello" {
				t.Errorf("%q", plain)
			}
		}
		if s := p.Stats(); s.Done != 3 || s.Resumed != 2 {
			t.Errorf("%+v", s)
		}
	})
}
