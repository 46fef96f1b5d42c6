package tlsloop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Certificates is a certificate with its key, from two PEM files that may change.
type Certificates struct {
	// Set by LoadCertificates, then read-only.
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate]

	mu   sync.Mutex
	seen [2]fileState // guarded by mu: of the files when they were read last
}

// fileState tells whether a file is the one it was: links that are set to another
// file count, which is how Kubernetes changes secrets.
type fileState struct {
	inode uint64
	size  int64
	time  time.Time
}

// checkEvery is how often the files are looked at.
const checkEvery = time.Second

// LoadCertificates reads a certificate, with the chain behind it, and its key. The
// error names the file and what is wrong. One that is not valid today is taken and
// logged: clients will say so.
func LoadCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again. When they cannot be used the pair that is in use
// stays. Connections that are open do not notice.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = [2]fileState{stateOf(c.certFile), stateOf(c.keyFile)}
	certPEM, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(c.keyFile)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		c.log.Warn("the TLS certificate is not valid today", "file", c.certFile, "from", pair.Leaf.NotBefore, "to", pair.Leaf.NotAfter)
	}
	c.current.Store(&pair)
	return nil
}

// get is tls.Config.GetCertificate.
func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	pair := c.current.Load()
	if pair == nil {
		return nil, errors.New("no certificate")
	}
	return pair, nil
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

// check reloads if a file has changed since it was read last. A broken pair is
// reported once, and tried again when a file changes again: the two are seldom
// written in one moment.
func (c *Certificates) check() {
	c.mu.Lock()
	changed := c.seen != [2]fileState{stateOf(c.certFile), stateOf(c.keyFile)}
	c.mu.Unlock()
	if !changed {
		return
	}
	if err := c.Reload(); err != nil {
		c.log.Error("could not read the changed TLS certificate, going on with the old one", "err", err)
		return
	}
	c.log.Info("TLS certificate read again", "file", c.certFile, "valid_to", c.current.Load().Leaf.NotAfter)
}

// stateOf is zero for a file that cannot be looked at.
func stateOf(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	s := fileState{size: info.Size(), time: info.ModTime()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}
