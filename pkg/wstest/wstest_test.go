package wstest

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/halley-im/halley/pkg/testkit"
)

func TestReference(t *testing.T) {
	testkit.LeakCheck(t)
	r := reference{limit: testLimit, frames: testFrames, head: testHead}
	Run(t, r.start(t))
}

func deflating() reference {
	return reference{limit: testLimit, frames: testFrames, head: testHead, deflate: true}
}

func TestReferenceDeflate(t *testing.T) {
	testkit.LeakCheck(t)
	Run(t, deflating().start(t))
}

// A server is right without Strict, and without saying what its bounds are.
func TestReferenceLenient(t *testing.T) {
	testkit.LeakCheck(t)
	target := deflating().start(t)
	target.Strict, target.Frames, target.Head, target.Subprotocols = false, 0, 0, false
	report(t, Check(target))
}

func report(t *testing.T, failures []Failure) {
	t.Helper()
	for _, f := range failures {
		t.Error(f)
	}
}

func TestReferenceTLS(t *testing.T) {
	testkit.LeakCheck(t)
	server, pool := certificate(t)
	r := deflating()
	l := listen(t)
	serve(t, tls.NewListener(l, server), r.handle)
	target := Target{Path: "/echo", Limit: r.limit, Frames: r.frames, Head: r.head, Deflate: true, Subprotocols: true, Strict: true}
	target.Dial = func() (net.Conn, error) {
		return tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "server.example.com"})
	}
	report(t, Check(target))
}

// certificate makes one that is signed by itself.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"server.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// The tables hold what they say.
func TestTables(t *testing.T) {
	for _, g := range goodText {
		if !utf8.ValidString(g.s) {
			t.Errorf("%s: %q is not UTF-8", g.name, g.s)
		}
	}
	for _, b := range badText {
		if utf8.ValidString(b.bad) || utf8.ValidString(b.prefix+b.bad+b.suffix) || !utf8.ValidString(b.prefix) {
			t.Errorf("%s: %q is UTF-8", b.name, b.bad)
		}
	}
	for _, b := range brokenDeflate {
		if _, err := new(inflater).inflate([]byte(b.payload), 1<<20); err == nil {
			t.Errorf("%s: %x can be inflated", b.name, b.payload)
		}
	}
	for _, s := range []string{helloDeflated, helloStored, helloFinal, helloTwo} {
		if msg, err := new(inflater).inflate([]byte(s), 5); string(msg) != "Hello" || err != nil {
			t.Errorf("%x: %q, %v", s, msg, err)
		}
	}
}

var caseName = regexp.MustCompile(`^(\d{4}:)?\d+(\.\d+)*/[0-9a-z]\S*$`)

// A name stands for one case, and begins with its section.
func TestNames(t *testing.T) {
	target := Target{Limit: 16 << 20, Frames: 1024, Head: 8192, Deflate: true, FailFast: true, Strict: true}
	names := Names(target)
	if len(names) < 1000 {
		t.Errorf("%d cases", len(names))
	}
	seen := map[string]bool{}
	for _, name := range names {
		if !caseName.MatchString(name) || seen[name] {
			t.Errorf("name %q: no section, or twice", name)
		}
		seen[name] = true
	}
	for _, c := range cases(&target) {
		if c.why == "" || !strings.Contains(c.why, " ") {
			t.Errorf("%s: why?", c.name)
		}
	}
}

// What a target says of itself decides which cases it gets.
func TestNamesOfTarget(t *testing.T) {
	f := func(name string, target Target, want bool) {
		t.Helper()
		target.Limit = testLimit
		if got := slices.Contains(Names(target), name); got != want {
			t.Errorf("%s for %+v: %v, want %v", name, target, got, want)
		}
	}
	for _, given := range []bool{false, true} {
		n := 0
		if given {
			n = 5000
		}
		f("10.4/one-more-by-the-header", Target{Strict: given}, given)
		f("8.1/at-once-in-first-fragment", Target{FailFast: given}, given)
		f("7692:7.2.3.1/hello", Target{Deflate: given}, given)
		f("6585:5/head-one-byte-larger", Target{Head: n}, given)
		f("10.4/one-frame-more", Target{Frames: n}, given)
		f("5.4/10000-fragments-of-1", Target{Frames: n}, !given)
		f("5.2/text-of-8192-kib", Target{}, false)
	}
}

// RFC 6455 §5.7.
func TestFrames(t *testing.T) {
	f := func(want string, c chunk) {
		t.Helper()
		if got := hex.EncodeToString(c.appendTo(nil, nil)); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
	f("818537fa213d7f9f4d5158", text("Hello"))
	f("810548656c6c6f", frame{head: fin | opText, data: str("Hello"), unmasked: true})
	f("8a8537fa213d7f9f4d5158", pong("Hello"))
	f("827e0100"+strings.Repeat("ab", 256), frame{head: fin | opBinary, data: repeat("\xab", 256), unmasked: true})
	f("827f0000000000010000"+strings.Repeat("ab", 65536), frame{head: fin | opBinary, data: repeat("\xab", 65536), unmasked: true})
	f("888237fa213d3412", closing(1000, ""))
	f("82fe000537fa213d7f9f4d5158", frame{head: fin | opBinary, data: str("Hello"), form: form16})
	f("018337fa213d7f9f4d"+"808237fa213d5b95", fragments{opText, str("Hello"), 3})
	f("018137fa213d7f"+"008137fa213d52"+"808137fa213d5b", fragments{opText, str("Hel"), 1})
	f("818037fa213d", fragments{opText, str(""), 1})
	f("fa213d", part{text("x"), 3, 6})
}

// What the deflater writes a reader of DEFLATE understands, with the window or
// without.
func TestDeflater(t *testing.T) {
	msg := strings.Repeat("The quick brown fox. ", 100)
	for _, noTakeover := range []bool{false, true} {
		d, sizes := deflater{noTakeover: noTakeover}, []int{}
		var history []byte
		for range 3 {
			s := d.deflate(msg, 6)
			if noTakeover {
				history = nil
			}
			got, err := io.ReadAll(flate.NewReaderDict(strings.NewReader(s+tail+lastEnd), history))
			if string(got) != msg || err != nil {
				t.Fatalf("noTakeover %v: %q, %v", noTakeover, got, err)
			}
			history = bytes.Clone(got)
			sizes = append(sizes, len(s))
		}
		if smaller := sizes[1] < sizes[0]; smaller == noTakeover || sizes[1] != sizes[2] {
			t.Errorf("noTakeover %v: sizes %d", noTakeover, sizes)
		}
	}
}
