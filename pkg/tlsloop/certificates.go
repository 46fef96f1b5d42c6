package tlsloop

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Certificates is a certificate with its key, from two PEM files that may change
// while it is in use. It may be used concurrently.
type Certificates struct {
	// Set by LoadCertificates, then read-only.
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate] // never nil

	mu sync.Mutex
	// guards below
	cert, key os.FileInfo // of the files that were tried last; nil: it was not there
	failed    string      // why they could not be used; empty: they could
	trouble   throttle
}

const (
	// checkEvery is how often the files are looked at: two system calls.
	checkEvery = time.Second
	// troubleEvery is how often the same trouble is logged.
	troubleEvery = time.Minute
)

// LoadCertificates reads a certificate, with the chain behind it, and its key. The
// error names the file and says what is wrong. A certificate that is not valid today
// is taken, and logged: clients will say so, and the clock may be wrong.
func LoadCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again, changed or not. New handshakes use the new pair from
// now on, connections that are open go on. When the files cannot be used, the error
// says why and the pair that was in use stays.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, key := c.look()
	return c.reloadLocked(cert, key)
}

// NotAfter is the end of the present certificate's time.
func (c *Certificates) NotAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// get is for tls.Config.GetCertificate.
func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// watch reloads when a file has changed, until ctx ends.
func (c *Certificates) watch(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.check()
		}
	}
}

// check reloads if a file is not the one that was tried last, or could not be used:
// what was wrong may end without a trace in the file, as a chown does and descriptors
// that had run out. The same trouble with the same files is logged once.
func (c *Certificates) check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, key := c.look()
	unchanged, failed := same(cert, c.cert) && same(key, c.key), c.failed
	if unchanged && failed == "" {
		return
	}
	if err := c.reloadLocked(cert, key); err != nil {
		if !unchanged || c.failed != failed {
			c.trouble.warn(c.log, "cannot use the changed TLS certificate, going on with the old one", "err", err)
		}
		return
	}
	c.log.Info("TLS certificate read again", "file", c.certFile, "valid_to", c.NotAfter())
}

// look follows links: Kubernetes changes a secret by setting a link to another
// folder, after which these are other files.
func (c *Certificates) look() (cert, key os.FileInfo) {
	cert, _ = os.Stat(c.certFile) // an error leaves nil; reading the file will name it
	key, _ = os.Stat(c.keyFile)
	return cert, key
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// reloadLocked reads the files, which looked so before.
func (c *Certificates) reloadLocked(cert, key os.FileInfo) error {
	c.cert, c.key, c.failed = cert, key, ""
	pair, err := readPair(c.certFile, c.keyFile)
	if err != nil {
		c.failed = err.Error()
		return err
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		c.log.Warn("the TLS certificate is not valid today", "file", c.certFile,
			"valid_from", pair.Leaf.NotBefore, "valid_to", pair.Leaf.NotAfter)
	}
	c.current.Store(pair)
	return nil
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	certPEM, err := readPEM("certificate", certFile, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	keyPEM, err := readPEM("key", keyFile, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

var errNoPEM = errors.New("no PEM block in it (-----BEGIN …-----)")

// readPEM reads a file that has a PEM block whose type ends with kind.
func readPEM(what, name, kind string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var found []string
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, kind) {
			return text, nil
		}
		found = append(found, block.Type)
	}
	if found == nil {
		return nil, fmt.Errorf("%s %s: %w", what, name, errNoPEM)
	}
	return nil, fmt.Errorf("%s %s: no %s in it, but %s", what, name, kind, strings.Join(found, ", "))
}

// throttle logs a repeating warning at most once per troubleEvery and says then how
// many it swallowed. The caller serialises.
type throttle struct {
	last      time.Time
	swallowed int
}

func (t *throttle) warn(log *slog.Logger, msg string, args ...any) {
	now := time.Now()
	if !t.last.IsZero() && now.Sub(t.last) < troubleEvery {
		t.swallowed++
		return
	}
	if t.swallowed > 0 {
		args = append(args, "swallowed", t.swallowed)
	}
	t.last, t.swallowed = now, 0
	log.Warn(msg, args...)
}
