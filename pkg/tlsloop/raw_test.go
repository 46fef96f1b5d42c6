package tlsloop

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/testkit"
)

// Records that crypto/tls's client never sends are sealed here, with the keys of a
// connection that it has made.

const (
	typeAlert       = 21
	typeApplication = 23
)

// half is one direction of a connection with AES-128-GCM.
type half struct {
	t       *testing.T
	version uint16
	secret  []byte // TLS 1.3: of the present keys
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
}

func (h *half) setKey(key, iv []byte) {
	block, err := aes.NewCipher(key)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		h.t.Fatal(err)
	}
	h.iv, h.seq = iv, 0
}

// set13 takes a traffic secret into use (RFC 8446 §7.3).
func (h *half) set13(secret []byte) {
	h.secret = secret
	h.setKey(h.expand("key", 16), h.expand("iv", 12))
}

// update is what a KeyUpdate does to this direction (RFC 8446 §7.2).
func (h *half) update() { h.set13(h.expand("traffic upd", sha256.Size)) }

// expand is HKDF-Expand-Label without a context (RFC 8446 §7.1).
func (h *half) expand(label string, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, h.secret, string(append(info, 0)), size)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// nonce13 is of RFC 8446 §5.3.
func (h *half) nonce13() []byte {
	nonce := bytes.Clone(h.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	return nonce
}

// seal makes a record of a type and its content.
func (h *half) seal(kind byte, content []byte) []byte {
	defer func() { h.seq++ }()
	if h.version == tls.VersionTLS13 {
		inner := append(bytes.Clone(content), kind)
		header := binary.BigEndian.AppendUint16([]byte{typeApplication, 3, 3}, uint16(len(inner)+h.aead.Overhead()))
		return h.aead.Seal(header, h.nonce13(), inner, header)
	}
	explicit := binary.BigEndian.AppendUint64(nil, h.seq) // RFC 5288 §3
	extra := append(bytes.Clone(explicit), kind, 3, 3, byte(len(content)>>8), byte(len(content)))
	record := binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(8+len(content)+h.aead.Overhead()))
	return h.aead.Seal(append(record, explicit...), append(bytes.Clone(h.iv), explicit...), content, extra)
}

// open takes a record of TLS 1.3 off b.
func (h *half) open(b []byte) (kind byte, content, rest []byte) {
	h.t.Helper()
	n := recordSize(b)
	inner, err := h.aead.Open(nil, h.nonce13(), b[headerLen:n], b[:headerLen])
	if err != nil {
		h.t.Fatalf("record %d of these keys: %v", h.seq, err)
	}
	h.seq++
	return inner[len(inner)-1], inner[:len(inner)-1], b[n:]
}

// rawLink is a link whose client was replaced by its keys.
type rawLink struct {
	*link
	up, down *half // down is of TLS 1.3 only
}

func connectRaw(t *testing.T, version uint16) *rawLink {
	t.Helper()
	p := newPool(t, Options{})
	p.config.SessionTicketsDisabled = true // else the server has sent a record
	runPool(t, p)
	var keys bytes.Buffer
	config := clientConfig(version)
	config.KeyLogWriter = &keys
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	l := connect(t, p, config)
	r := &rawLink{link: l, up: &half{t: t, version: version}, down: &half{t: t, version: version}}
	secrets := map[string][2][]byte{}
	for line := range strings.Lines(keys.String()) {
		f := strings.Fields(line)
		random, _ := hex.DecodeString(f[1])
		secret, _ := hex.DecodeString(f[2])
		secrets[f[0]] = [2][]byte{random, secret}
	}
	if version == tls.VersionTLS13 {
		r.up.set13(secrets["CLIENT_TRAFFIC_SECRET_0"][1])
		r.down.set13(secrets["SERVER_TRAFFIC_SECRET_0"][1])
		return r
	}
	// The server's random is in its ServerHello, behind headers and version.
	serverRandom := l.sent[0][headerLen+4+2:][:32]
	master := secrets["CLIENT_RANDOM"]
	block := prf12(master[1], "key expansion", append(bytes.Clone(serverRandom), master[0]...), 2*16+2*4)
	r.up.setKey(block[:16], block[32:36])
	r.up.seq = 1 // behind Finished
	return r
}

// prf12 is of RFC 5246 §5.
func prf12(secret []byte, label string, seed []byte, size int) (out []byte) {
	mac := func(parts ...[]byte) []byte {
		m := hmac.New(sha256.New, secret)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	for a := mac(seed); len(out) < size; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:size]
}

// feed feeds records and reads all.
func (r *rawLink) feed(records ...[]byte) (plain string, err error) {
	r.t.Helper()
	if err := r.server.Feed(bytes.Join(records, nil)); err != nil {
		r.t.Fatal(err)
	}
	b, err := r.readAll()
	return string(b), err
}

// raw runs f with both layouts.
func raw(t *testing.T, version uint16, f func(t *testing.T, r *rawLink)) {
	for name, known := range map[string]bool{"layout": layout.known, "other layout": false} {
		t.Run(name, func(t *testing.T) {
			testkit.LeakCheck(t)
			defer func(known bool) { layout.known = known }(layout.known)
			layout.known = known
			f(t, connectRaw(t, version))
		})
	}
}

func keyUpdate(wantOurs byte) []byte { return []byte{24, 0, 0, 1, wantOurs} } // RFC 8446 §4.6.3

// A client's new keys, with and without the wish that the server takes new ones.
func TestKeyUpdate(t *testing.T) {
	raw(t, tls.VersionTLS13, func(t *testing.T, r *rawLink) {
		first, update := r.up.seal(typeApplication, []byte("old ")), r.up.seal(typeHandshake, keyUpdate(0))
		r.up.update()
		if plain, err := r.feed(first, update, r.up.seal(typeApplication, []byte("new"))); plain != "old new" || !errors.Is(err, ErrAgain) {
			t.Fatalf("%q, %v", plain, err)
		}
		if r.server.HasOutput() {
			t.Error("answered, unasked")
		}

		update = r.up.seal(typeHandshake, keyUpdate(1))
		r.up.update()
		if plain, err := r.feed(update, r.up.seal(typeApplication, []byte("again"))); plain != "again" || !errors.Is(err, ErrAgain) {
			t.Fatalf("%q, %v", plain, err)
		}
		if !r.server.HasOutput() {
			t.Fatal("no answer")
		}
		sealed, err := r.server.Append(nil, []byte("behind it"))
		if err != nil || r.server.HasOutput() {
			t.Fatal(err)
		}
		kind, content, rest := r.down.open(sealed)
		if kind != typeHandshake || !bytes.Equal(content, keyUpdate(0)) {
			t.Fatalf("answered %d %x", kind, content)
		}
		r.down.update()
		if _, content, _ := r.down.open(rest); string(content) != "behind it" {
			t.Errorf("%q", content)
		}
	})
}

// Answers to key updates that nobody takes must not pile up.
func TestKeyUpdateFlood(t *testing.T) {
	raw(t, tls.VersionTLS13, func(t *testing.T, r *rawLink) {
		for n := 1; ; n++ {
			update := r.up.seal(typeHandshake, keyUpdate(1))
			r.up.update()
			_, err := r.feed(update, r.up.seal(typeApplication, []byte("x")))
			if errors.Is(err, errKeyUpdates) {
				if n < 50 {
					t.Errorf("after %d", n)
				}
				return
			}
			if !errors.Is(err, ErrAgain) || n > 1000 {
				t.Fatalf("after %d: %v", n, err)
			}
		}
	})
}

// A client wants to renegotiate (TLS 1.2), or sends another message that has no
// place here: the connection ends, with an alert.
func TestHandshakeMessagesAfterTheHandshake(t *testing.T) {
	ch := append([]byte{1, 0, 0, 100}, make([]byte, 100)...)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		raw(t, version, func(t *testing.T, r *rawLink) {
			_, err := r.feed(r.up.seal(typeApplication, []byte("x")), r.up.seal(typeHandshake, ch))
			if err == nil || errors.Is(err, ErrAgain) || !r.server.HasOutput() {
				t.Errorf("%v", err)
			}
			if _, again := r.feed(r.up.seal(typeApplication, []byte("x"))); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
		})
	}
}

// A handshake message that does not end is not gathered for ever.
func TestEndlessHandshakeMessage(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		raw(t, version, func(t *testing.T, r *rawLink) {
			limit := maxPostMessage
			if !layout.known {
				limit = 64 << 10
			}
			content := append([]byte{1, 0, 0xff, 0xff}, make([]byte, 1000)...)
			for sent := 0; ; sent += len(content) {
				_, err := r.feed(r.up.seal(typeHandshake, content))
				if err != nil && !errors.Is(err, ErrAgain) {
					return
				}
				if sent > limit+2*len(content) {
					t.Fatalf("%d bytes of one message were taken", sent)
				}
				content = make([]byte, 1000)
			}
		})
	}
}

func TestOddRecords(t *testing.T) {
	f := func(version uint16, kind byte, content string, wantPlain, wantErr string) {
		t.Helper()
		raw(t, version, func(t *testing.T, r *rawLink) {
			t.Helper()
			plain, err := r.feed(r.up.seal(typeApplication, []byte("a")), r.up.seal(kind, []byte(content)), r.up.seal(typeApplication, []byte("b")))
			if plain != wantPlain || err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%x: record of type %d, %.5q: read %q, %v, want %q, %s", version, kind, content, plain, err, wantPlain, wantErr)
			}
		})
	}
	again := ErrAgain.Error()
	f(tls.VersionTLS13, typeApplication, "", "ab", again) // empty
	f(tls.VersionTLS12, typeApplication, "", "ab", again)
	f(tls.VersionTLS13, typeAlert, "\x01\x5a", "ab", again) // user_canceled, RFC 8446 §6.1
	f(tls.VersionTLS12, typeAlert, "\x01\x5a", "ab", again) // a warning
	f(tls.VersionTLS13, typeAlert, "\x02\x28", "a", "handshake failure")
	f(tls.VersionTLS12, typeAlert, "\x02\x28", "a", "handshake failure")
	f(tls.VersionTLS13, typeAlert, "\x01\x00", "a", "EOF") // close_notify: what follows is ignored
	f(tls.VersionTLS12, typeAlert, "\x01\x00", "a", "EOF")
	f(tls.VersionTLS13, typeAlert, "\x01", "a", "unexpected message")
	f(tls.VersionTLS13, 99, "x", "a", "unexpected message")
	f(tls.VersionTLS13, typeHandshake, "", "a", "unexpected message")
	f(tls.VersionTLS13, typeApplication, strings.Repeat("c", 16<<10), "a"+strings.Repeat("c", 16<<10)+"b", again)
	f(tls.VersionTLS13, typeApplication, strings.Repeat("c", 16<<10+1), "a", "record overflow")
	f(tls.VersionTLS13, typeApplication, strings.Repeat("c", 18<<10), "a", "oversized record")
	f(tls.VersionTLS12, typeApplication, strings.Repeat("c", 16<<10+1), "a", "record overflow")
	f(tls.VersionTLS12, typeApplication, strings.Repeat("c", 20<<10), "a", "oversized record")
}

// Empty records without end are a flood.
func TestEmptyRecords(t *testing.T) {
	raw(t, tls.VersionTLS13, func(t *testing.T, r *rawLink) {
		for n := 0; ; n++ {
			_, err := r.feed(r.up.seal(typeApplication, nil))
			if !errors.Is(err, ErrAgain) {
				return
			}
			if n > 100 {
				t.Fatal("they are taken for ever")
			}
		}
	})
}
