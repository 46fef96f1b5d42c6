package gateway

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// Config is what an operator may set under [gateway].
type Config struct {
	ID               string        `help:"name of this gateway in the cluster, unlike that of any other gateway or job (default: the host name)"`
	TCPAddr          string        `help:"clients over TCP, goim's protocol; host:port"`
	WSAddr           string        `help:"clients over WebSocket at /sub; host:port"`
	InternalAddr     string        `help:"jobs, logic, metrics and health; host:port, for the inside only"`
	PublicHost       string        `help:"host name or address that clients are told to connect to (default: the host of the client listener)"`
	LogicAddrs       []string      `help:"internal addresses of logic nodes, host:port, comma-separated; tried in turn"`
	Loops            int           `help:"event loops; 0 means one per core"`
	Weight           int           `help:"share of new clients relative to other gateways, from 1"`
	Region           string        `help:"region this gateway runs in"`
	Zone             string        `help:"zone this gateway runs in"`
	Env              string        `help:"deployment environment this gateway belongs to"`
	MaxConnections   int           `help:"client connections at most; 0 takes what the file limit leaves"`
	MaxOutbound      int           `help:"bytes that may wait for one client; longer than a second, or 16 times as much, and it is closed as too slow"`
	Sndbuf           int           `help:"kernel send buffer of one client connection, bytes"`
	Mailbox          int           `help:"bytes of messages that may wait for one loop before jobs are told to wait"`
	HandshakeTimeout time.Duration `help:"from connect to authenticated, at most"`
	Heartbeat        time.Duration `help:"how often clients are told to send a heartbeat"`
	HeartbeatMax     int           `help:"heartbeats that may be missing before a client is closed"`
	DrainTimeout     time.Duration `help:"time to close all clients on SIGTERM"`
	Workers          int           `help:"calls to logic that may run at the same time"`
}

// Default is the configuration of a gateway that nobody configured.
func Default() Config {
	return Config{
		TCPAddr:          "127.0.0.1:3101",
		WSAddr:           "127.0.0.1:3102",
		InternalAddr:     "127.0.0.1:3109",
		LogicAddrs:       []string{"127.0.0.1:3119"},
		Weight:           10,
		MaxOutbound:      256 << 10, // about 2 s of a busy room; more only costs RAM × clients
		Sndbuf:           64 << 10,  // a stalled socket with the kernel's default absorbed 4.2 MB
		Mailbox:          16 << 20,
		HandshakeTimeout: 5 * time.Second,
		Heartbeat:        4 * time.Minute, // goim's
		HeartbeatMax:     2,
		DrainTimeout:     5 * time.Second,
		Workers:          4,
	}
}

// maxLoops is the width of nodeRoom.loops.
const maxLoops = 64

// Validate reports the first field that cannot be used, and what is allowed.
func (c *Config) Validate() error {
	if c.ID == "" || len(c.ID) > 255 {
		return fmt.Errorf("gateway.id %q: from 1 to 255 bytes are allowed", c.ID)
	}
	for _, a := range []struct{ name, addr string }{
		{"gateway.tcp_addr", c.TCPAddr}, {"gateway.ws_addr", c.WSAddr}, {"gateway.internal_addr", c.InternalAddr},
	} {
		if err := checkAddr(a.addr); err != nil {
			return fmt.Errorf("%s %q: %w", a.name, a.addr, err)
		}
	}
	if c.TCPAddr == c.WSAddr && !portIsZero(c.TCPAddr) {
		return fmt.Errorf("gateway.ws_addr %q: must differ from gateway.tcp_addr", c.WSAddr)
	}
	for _, n := range []struct {
		name      string
		value     int
		low, high int
	}{
		{"gateway.loops", c.Loops, 0, maxLoops},
		{"gateway.weight", c.Weight, 1, 1 << 20},
		{"gateway.max_connections", c.MaxConnections, 0, 10_000_000},
		{"gateway.max_outbound", c.MaxOutbound, 4 << 10, 1 << 30},
		{"gateway.sndbuf", c.Sndbuf, 4 << 10, 64 << 20},
		{"gateway.mailbox", c.Mailbox, 1 << 20, 1 << 30},
		{"gateway.heartbeat_max", c.HeartbeatMax, 1, 100},
		{"gateway.workers", c.Workers, 1, 1024},
	} {
		if n.value < n.low || n.value > n.high {
			return fmt.Errorf("%s %d: from %d to %d is allowed", n.name, n.value, n.low, n.high)
		}
	}
	for _, d := range []struct {
		name      string
		value     time.Duration
		low, high time.Duration
	}{
		{"gateway.handshake_timeout", c.HandshakeTimeout, 100 * time.Millisecond, time.Minute},
		{"gateway.heartbeat", c.Heartbeat, 100 * time.Millisecond, 24 * time.Hour},
		{"gateway.drain_timeout", c.DrainTimeout, 0, time.Hour},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("%s %v: from %v to %v is allowed", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}

// checkAddr accepts host:port with a numeric port.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want host:port: %w", err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q: a number from 0 to 65535 is allowed", port)
	}
	return nil
}

func portIsZero(addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	return port == "0"
}
