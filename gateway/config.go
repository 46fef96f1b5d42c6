package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/halley-im/halley/pkg/tlsloop"
	"github.com/halley-im/halley/pkg/ws"
)

// Config is what an operator may set under [gateway].
type Config struct {
	ID           string   `help:"name of this gateway in the cluster, unlike that of any other gateway or job (default: the host name)"`
	TCPAddr      string   `help:"clients over TCP, goim's protocol; host:port"`
	WSAddr       string   `help:"clients over WebSocket at /sub; host:port"`
	WSSAddr      string   `help:"clients over TLS, WebSocket or TCP; host:port, used when tls_cert is set"`
	IMTCPAddr    string   `name:"im-tcp-addr" help:"im-cloud's clients over TCP; host:port (default: none)"`
	IMWSAddr     string   `name:"im-ws-addr" help:"im-cloud's clients over WebSocket at /sub; host:port (default: none)"`
	EchoAddr     string   `help:"WebSocket echo service for conformance tests; host:port on a loopback address (default: none)"`
	EchoTLSAddr  string   `help:"the same over TLS; host:port on a loopback address (default: none)"`
	InternalAddr string   `help:"jobs, logic, metrics and health; host:port, for the inside only"`
	PublicHost   string   `help:"host name or address that clients are told to connect to (default: the host of the client listener)"`
	LogicAddrs   []string `help:"internal addresses of logic nodes, host:port, comma-separated; tried in turn"`

	TLSCert        string `help:"PEM file with the certificate and its chain; read again when it changes"`
	TLSKey         string `help:"PEM file with the certificate's key"`
	TLSPostQuantum bool   `help:"offer X25519MLKEM768, against those who record today and decrypt in years; 60 µs more CPU per handshake"`
	TLSHandshakes  int    `help:"TLS handshakes at the same time; more wait"`

	Loops   int    `help:"event loops; 0 means one per core"`
	Workers int    `help:"calls to logic that may run at the same time"`
	Weight  int    `help:"share of new clients relative to other gateways, from 1"`
	Region  string `help:"region this gateway runs in"`
	Zone    string `help:"zone this gateway runs in"`
	Env     string `help:"deployment environment this gateway belongs to"`

	MaxConnections int `help:"client connections at most; 0 takes what the file limit leaves"`
	MaxPerIP       int `help:"client connections of one IPv4 address or one IPv6 /64 at most; 0 is no limit"`
	MaxHandshakes  int `help:"new connections per second at most; 0 is no limit"`
	MaxMemory      int `help:"bytes that process and sockets may use before new clients are refused; 0 is no limit but the cgroup's and the machine's"`
	MaxBacklog     int `help:"bytes that may wait for slow clients of this node, the kernel's buffers included; beyond, the slowest are closed; 0 takes a quarter of the memory"`
	MaxOutbound    int `help:"bytes that may wait for one client; longer than a second, or 16 times as much, and it is closed as too slow"`
	MaxMessage     int `help:"bytes of a WebSocket message from a client at most"`
	Sndbuf         int `help:"kernel send buffer of one client connection, bytes"`
	Mailbox        int `help:"bytes of messages that may wait for one loop before jobs are told to wait"`

	Origins     []string `help:"origins whose pages may connect, as https://app.example.com or https://*.example.com, comma-separated (default: all)"`
	Compression bool     `help:"permessage-deflate for WebSocket clients that offer it"`

	HandshakeTimeout time.Duration `help:"from connect to authenticated, at most"`
	Heartbeat        time.Duration `help:"how often clients are told to send a heartbeat"`
	HeartbeatMax     int           `help:"heartbeats that may be missing before a client is closed"`
	UserTimeout      time.Duration `help:"a client that acknowledges nothing for so long while something is sent is gone; 0 leaves it to the kernel"`
	DrainTimeout     time.Duration `help:"time to close all clients on SIGTERM"`
	DrainRate        int           `help:"clients to close per second while draining; 0 is as fast as drain_timeout demands"`
}

// Default is the configuration of a gateway that nobody configured.
func Default() Config {
	return Config{
		TCPAddr:          "127.0.0.1:3101",
		WSAddr:           "127.0.0.1:3102",
		WSSAddr:          "127.0.0.1:3103",
		InternalAddr:     "127.0.0.1:3109",
		LogicAddrs:       []string{"127.0.0.1:3119"},
		TLSHandshakes:    1024, // with clients 200 ms away 5,000 in a second; one that stalls holds 24 KB
		Weight:           10,
		Workers:          4,
		MaxOutbound:      256 << 10, // about 2 s of a busy room; more only costs RAM × clients
		MaxMessage:       64 << 10,
		Sndbuf:           64 << 10, // a stalled socket with the kernel's default absorbed 4.2 MB
		Mailbox:          16 << 20,
		HandshakeTimeout: 5 * time.Second,
		Heartbeat:        4 * time.Minute, // goim's
		HeartbeatMax:     2,
		UserTimeout:      30 * time.Second,
		DrainTimeout:     5 * time.Second,
	}
}

// ClientAddrs are the addresses on which clients authenticate.
func (c *Config) ClientAddrs() (addrs []string) {
	for _, ln := range listenersOf(c) {
		if !ln.form.isEcho() {
			addrs = append(addrs, ln.addr)
		}
	}
	return addrs
}

// tlsAddr is where TLS is spoken, "" when there is no certificate.
func (c *Config) tlsAddr() string {
	if c.TLSCert == "" {
		return ""
	}
	return c.WSSAddr
}

// maxLoops is the width of nodeRoom.loops.
const maxLoops = 64

// Validate reports the first field that cannot be used, and what is allowed.
func (c *Config) Validate() error {
	if c.ID == "" || len(c.ID) > 255 {
		return fmt.Errorf("gateway.id %q: from 1 to 255 bytes are allowed", c.ID)
	}
	if err := c.checkListeners(); err != nil {
		return err
	}
	if err := ws.CheckOrigins(c.Origins); err != nil {
		return fmt.Errorf("gateway.origins: %w", err)
	}
	for _, n := range []struct {
		name      string
		value     int
		low, high int
	}{
		{"gateway.loops", c.Loops, 0, maxLoops},
		{"gateway.weight", c.Weight, 1, 1 << 20},
		{"gateway.tls_handshakes", c.TLSHandshakes, 1, 1 << 16},
		{"gateway.max_connections", c.MaxConnections, 0, 10_000_000},
		{"gateway.max_per_ip", c.MaxPerIP, 0, 10_000_000},
		{"gateway.max_handshakes", c.MaxHandshakes, 0, 10_000_000},
		{"gateway.max_outbound", c.MaxOutbound, 4 << 10, 1 << 30},
		{"gateway.max_message", c.MaxMessage, 4 << 10, 16 << 20},
		{"gateway.sndbuf", c.Sndbuf, 4 << 10, 64 << 20},
		{"gateway.mailbox", c.Mailbox, 1 << 20, 1 << 30},
		{"gateway.heartbeat_max", c.HeartbeatMax, 1, 100},
		{"gateway.drain_rate", c.DrainRate, 0, 10_000_000},
		{"gateway.workers", c.Workers, 1, 1024},
	} {
		if n.value < n.low || n.value > n.high {
			return fmt.Errorf("%s %d: from %d to %d is allowed", n.name, n.value, n.low, n.high)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"gateway.max_memory", c.MaxMemory},
		{"gateway.max_backlog", c.MaxBacklog},
	} {
		if n.value != 0 && (n.value < minMemory || n.value > maxMemory) {
			return fmt.Errorf("%s %d: 0, or from %d to %d bytes is allowed", n.name, n.value, minMemory, maxMemory)
		}
	}
	for _, d := range []struct {
		name      string
		value     time.Duration
		low, high time.Duration
	}{
		{"gateway.handshake_timeout", c.HandshakeTimeout, 100 * time.Millisecond, time.Minute},
		{"gateway.heartbeat", c.Heartbeat, 100 * time.Millisecond, 24 * time.Hour},
		{"gateway.user_timeout", c.UserTimeout, 0, time.Hour},
		{"gateway.drain_timeout", c.DrainTimeout, 0, time.Hour},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("%s %v: from %v to %v is allowed", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}

// Bounds of memory, in bytes. Who says less has another unit in mind.
const minMemory, maxMemory = 1 << 20, 1 << 46

// checkListeners checks the addresses and what they need.
func (c *Config) checkListeners() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("gateway.tls_cert, gateway.tls_key: set both or none")
	}
	if c.TLSCert != "" {
		if _, err := tlsloop.LoadCertificates(c.TLSCert, c.TLSKey, slog.New(slog.DiscardHandler)); err != nil {
			return fmt.Errorf("gateway.tls_cert, gateway.tls_key: %w", err)
		}
	}
	if c.EchoTLSAddr != "" && c.TLSCert == "" {
		return errors.New("gateway.echo_tls_addr: needs gateway.tls_cert and gateway.tls_key")
	}
	if err := checkAddr(c.InternalAddr); err != nil {
		return fmt.Errorf("gateway.internal_addr %q: %w", c.InternalAddr, err)
	}
	keys := map[string]string{}
	for _, a := range []struct{ key, addr string }{
		{"gateway.tcp_addr", c.TCPAddr}, {"gateway.ws_addr", c.WSAddr}, {"gateway.wss_addr", c.tlsAddr()},
		{"gateway.im_tcp_addr", c.IMTCPAddr}, {"gateway.im_ws_addr", c.IMWSAddr},
		{"gateway.echo_addr", c.EchoAddr}, {"gateway.echo_tls_addr", c.EchoTLSAddr},
	} {
		needed := a.key == "gateway.tcp_addr" || a.key == "gateway.ws_addr" || a.key == "gateway.wss_addr" && c.TLSCert != ""
		if a.addr == "" && !needed {
			continue
		}
		if err := checkAddr(a.addr); err != nil {
			return fmt.Errorf("%s %q: %w", a.key, a.addr, err)
		}
		if other := keys[a.addr]; other != "" && !portIsZero(a.addr) {
			return fmt.Errorf("%s %q: must differ from %s", a.key, a.addr, other)
		}
		keys[a.addr] = a.key
		if strings.HasPrefix(a.key, "gateway.echo") && !isLoopback(a.addr) {
			return fmt.Errorf("%s %q: only a loopback address is allowed, it gives back whatever comes", a.key, a.addr)
		}
	}
	return nil
}

// isLoopback says that only this machine reaches addr.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ipErr == nil && ip.Unmap().IsLoopback())
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
