package tlsloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// echoServer is a loop with real sockets: one goroutine owns all connections, as
// gnet's does, and others only bring it what has come.
type echoServer struct {
	t     testing.TB
	pool  *Pool
	piece int // how many bytes of a read are fed at once; 0: all
	mails chan func()
	wg    sync.WaitGroup
	buf   []byte
	conns map[*echoConn]struct{}
}

type echoConn struct {
	net net.Conn
	tls *Conn
}

// startEcho returns the address of an echo server.
func startEcho(t testing.TB, p *Pool, piece int, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &echoServer{t: t, pool: p, piece: piece, mails: make(chan func(), 1024), buf: make([]byte, 16<<10), conns: map[*echoConn]struct{}{}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go s.loop(stop, stopped)
	s.wg.Go(func() { // ends when ln is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mails <- func() { s.open(c) }
		}
	})
	t.Cleanup(func() { // after all clients, and before the pool ends
		ln.Close()
		s.mails <- func() {
			for c := range s.conns {
				c.net.Close()
			}
		}
		s.wg.Wait()
		close(stop)
		<-stopped
	})
	return ln.Addr().String()
}

func (s *echoServer) loop(stop, stopped chan struct{}) {
	defer close(stopped)
	for {
		select {
		case mail := <-s.mails:
			mail()
		case <-stop:
			for {
				select {
				case mail := <-s.mails:
					mail()
				default:
					return
				}
			}
		}
	}
}

func (s *echoServer) open(nc net.Conn) {
	c := &echoConn{net: nc}
	s.conns[c] = struct{}{}
	c.tls = s.pool.Server(
		func(b []byte) { s.mails <- func() { _, _ = nc.Write(b) } }, // a client that has gone
		func(err error) {
			s.mails <- func() {
				if err != nil {
					nc.Close()
					return
				}
				c.tls.Establish()
				s.read(c)
			}
		})
	s.wg.Go(func() { // ends when nc is closed
		for {
			b := make([]byte, 64<<10)
			n, err := nc.Read(b)
			if n > 0 {
				s.mails <- func() { s.traffic(c, b[:n]) }
			}
			if err != nil {
				s.mails <- func() { nc.Close(); c.tls.Close(); delete(s.conns, c) }
				return
			}
		}
	})
}

// traffic is OnTraffic.
func (s *echoServer) traffic(c *echoConn, in []byte) {
	for len(in) > 0 {
		n := len(in)
		if s.piece > 0 {
			n = min(n, s.piece)
		}
		if err := c.tls.Feed(in[:n]); err != nil {
			c.net.Close()
			return
		}
		in = in[n:]
		if !c.tls.Handshaking() {
			s.read(c)
		}
	}
}

func (s *echoServer) read(c *echoConn) {
	for {
		n, err := c.tls.Read(s.buf)
		if n > 0 {
			sealed, err := c.tls.Append(nil, s.buf[:n])
			if err != nil {
				s.t.Error(err)
			}
			_, _ = c.net.Write(sealed) // a client that has gone
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_, _ = c.net.Write(c.tls.AppendCloseNotify(nil))
			_ = c.net.(*net.TCPConn).CloseWrite()
			return
		default:
			if c.tls.HasOutput() {
				sealed, _ := c.tls.Append(nil, nil)
				_, _ = c.net.Write(sealed)
			}
			if !errors.Is(err, ErrAgain) {
				c.net.Close()
			}
			return
		}
	}
}

// Many clients at once, on sockets, with everything that a client does.
func TestSockets(t *testing.T) {
	for name, piece := range map[string]int{"at once": 0, "bytes": 1, "pieces": 1000} {
		t.Run(name, func(t *testing.T) {
			testkit.LeakCheck(t)
			p := startPool(t, Options{Handshakes: 4})
			addr := startEcho(t, p, piece, "127.0.0.1:0")
			cache := tls.NewLRUClientSessionCache(2)
			var clients sync.WaitGroup
			for i := range 24 {
				config := clientConfig([]uint16{tls.VersionTLS12, tls.VersionTLS13}[i%2])
				if i%4 > 1 {
					config.ClientSessionCache = cache
				}
				clients.Go(func() { talk(t, addr, config) })
			}
			clients.Wait()
			if s := p.Stats(); s.Done != 24 || s.Failed != 0 || s.Running != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// talk is a client: small and large messages, then a goodbye of both sides.
func talk(t *testing.T, addr string, config *tls.Config) {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	for _, size := range []int{1, 100, 16 << 10, 70_000} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		go func() { _, _ = c.Write(want) }() // ends when it is read, at the latest with c
		got := make([]byte, size)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %v", size, err)
			return
		}
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A request without TLS is answered, then the connection ends.
func TestSocketPlainHTTP(t *testing.T) {
	testkit.LeakCheck(t)
	addr := startEcho(t, startPool(t, Options{}), 0, "127.0.0.1:0")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 Bad Request\r\n") {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestServe serves until it is killed, for tools at hand:
//
//	HALLEY_TLSLOOP=127.0.0.1:4433 go test -run TestServe -timeout 0 ./pkg/tlsloop
//	openssl s_client -connect 127.0.0.1:4433
func TestServe(t *testing.T) {
	addr := os.Getenv("HALLEY_TLSLOOP")
	if addr == "" {
		t.Skip("by hand: see the comment")
	}
	startEcho(t, startPool(t, Options{PostQuantum: true}), 0, addr)
	select {}
}
