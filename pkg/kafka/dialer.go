package kafka

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialer opens connections to brokers and can cut them all: kafka-go waits for
// answers under a mutex or in a goroutine where no ctx reaches, and closing the
// socket is the one way to end that.
type dialer struct {
	// Set by newDialer, then read-only.
	open func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex // guards below
	refuses bool
	conns   map[*trackedConn]struct{}
}

// trackedConn is known to its dialer until it is closed.
type trackedConn struct {
	net.Conn
	dialer *dialer
}

func newDialer(cfg *Config) *dialer {
	d := &dialer{open: cfg.dial, conns: make(map[*trackedConn]struct{})}
	if d.open == nil {
		d.open = (&net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return d
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.open(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: c, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuses {
		c.Close()
		return nil, net.ErrClosed
	}
	d.conns[t] = struct{}{}
	return t, nil
}

func (c *trackedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.conns, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// cut closes all connections. New ones can be opened.
func (d *dialer) cut() {
	d.mu.Lock()
	conns := make([]*trackedConn, 0, len(d.conns))
	for c := range d.conns {
		conns = append(conns, c)
	}
	d.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// close closes all connections and refuses new ones.
func (d *dialer) close() {
	d.mu.Lock()
	d.refuses = true
	d.mu.Unlock()
	d.cut()
}
