package tlsloop

import (
	"crypto/tls"
	"runtime"
	"time"
)

// Options are those of a Pool. Zero is a default everywhere but in Certificates.
type Options struct {
	// Certificates is what is shown to clients.
	Certificates *Certificates
	// PostQuantum offers X25519MLKEM768 (FIPS 203), against those who record today
	// and decrypt in years. Measured: a handshake takes 60 µs more, an open connection
	// not a byte.
	PostQuantum bool
	// Handshakes is how many may be under way, each on a goroutine that mostly waits
	// for its client; 0 is 256. With clients 200 ms away 256 are 1,280 in a second.
	Handshakes int
	// Waiting is how many clients may wait for one of those goroutines, beyond that
	// they are refused; 0 is 16 times Handshakes. One holds what it has sent, mostly
	// a ClientHello of 0.3 to 2 KB: what is above 4 KiB comes out of 16 MiB for all.
	Waiting int
	// Parallel is how many handshakes may compute at one moment; 0 is half of the
	// processors. A handshake computes for a fraction of a millisecond: without this
	// bound the loops would stand in line behind all clients that come back at once.
	Parallel int
	// Timeout is from a client's first byte to the end of its handshake, waiting
	// included; 0 is 10 s.
	Timeout time.Duration
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() Options {
	if o.Handshakes <= 0 {
		o.Handshakes = 256
	}
	if o.Waiting <= 0 {
		o.Waiting = 16 * o.Handshakes
	}
	if o.Parallel <= 0 {
		o.Parallel = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// config is what crypto/tls is told. Renegotiation and early data (0-RTT) its
// servers do not have.
func (o Options) config() *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: o.Certificates.get,
		NextProtos:     []string{"http/1.1"}, // what browsers offer; who offers nothing is taken too
		CipherSuites:   suites12,
		// Of TLS 1.3 Go's own choice of suites stands; of the curves both ends' fast ones.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
		// One record of up to 16 KB for what is written at once. The default, small
		// records first, is for pages that a browser shows while they load. Ours are
		// messages: no use until whole, and each record costs 22 bytes and a seal.
		DynamicRecordSizingDisabled: true,
	}
	if o.PostQuantum {
		c.CurvePreferences = append([]tls.CurveID{tls.X25519MLKEM768}, c.CurvePreferences...)
	}
	return c
}

// suites12 are those of TLS 1.2 with forward secrecy and authenticated encryption
// (RFC 7540 appendix A forbids the rest): Go's defaults less CBC. Go picks by what
// the hardware does well.
var suites12 = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}
