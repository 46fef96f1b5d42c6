package gateway

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// listeners holds the client addresses. A bound socket that does not listen
// keeps each port ours: every loop's engine listens on the same port with
// SO_REUSEPORT, and a loop that restarts finds it free of strangers.
type listeners []*listener

// listener is one client address and what is spoken there.
type listener struct {
	key, addr string // configuration
	form      form   // of its sessions, until their first message says more
	tls       bool
	bound     *net.TCPAddr
	fd        int // held
}

// listenersOf lists what a configuration asks for.
func listenersOf(cfg *Config) (list listeners) {
	for _, ln := range []*listener{
		{key: "gateway.tcp_addr", addr: cfg.TCPAddr, form: formTCP},
		{key: "gateway.ws_addr", addr: cfg.WSAddr, form: formWS},
		{key: "gateway.wss_addr", addr: cfg.tlsAddr(), form: formWS, tls: true},
		{key: "gateway.im_tcp_addr", addr: cfg.IMTCPAddr, form: formIMTCP},
		{key: "gateway.im_ws_addr", addr: cfg.IMWSAddr, form: formIMWS},
		{key: "gateway.echo_addr", addr: cfg.EchoAddr, form: formEcho},
		{key: "gateway.echo_tls_addr", addr: cfg.EchoTLSAddr, form: formEcho, tls: true},
	} {
		if ln.addr != "" {
			list = append(list, ln)
		}
	}
	return list
}

// bind reserves the addresses.
func (list listeners) bind() (err error) {
	for i, ln := range list {
		if ln.fd, ln.bound, err = hold(ln.addr); err != nil {
			list[:i].close()
			return fmt.Errorf("%s %s: %w", ln.key, ln.addr, err)
		}
	}
	return nil
}

func (list listeners) close() {
	for _, ln := range list {
		_ = unix.Close(ln.fd)
	}
}

// uris are the addresses in gnet's form.
func (list listeners) uris() (uris []string) {
	for _, ln := range list {
		uris = append(uris, uri(ln.bound))
	}
	return uris
}

// of tells the listener of a connection by the address it was accepted on.
func (list listeners) of(local net.Addr) *listener {
	a, ok := local.(*net.TCPAddr)
	for _, ln := range list {
		if ok && a.Port == ln.bound.Port && a.IP.Equal(ln.bound.IP) {
			return ln
		}
	}
	panic("BUG: a connection from no listener of ours")
}

// port is that of the listener with a key, 0 if there is none.
func (list listeners) port(key string) int {
	for _, ln := range list {
		if ln.key == key {
			return ln.bound.Port
		}
	}
	return 0
}

// uri names the family where it is IPv4: with tcp:// gnet would take IPv4 peers
// over IPv6, at 32 more bytes each.
func uri(a *net.TCPAddr) string {
	if a.IP.To4() != nil {
		return "tcp4://" + a.String()
	}
	return "tcp://" + a.String()
}

// hold binds addr twice: first alone, so that a port in use is an error (with
// SO_REUSEPORT a second halley would silently take half of the clients), then
// with SO_REUSEPORT, which is kept. Port 0 gets a free one.
func hold(addr string) (fd int, bound *net.TCPAddr, err error) {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return 0, nil, err
	}
	if want.IP == nil {
		want.IP = net.IPv6zero
	}
	alone, _, err := bindSocket(want, false)
	if err != nil {
		return 0, nil, err
	}
	if err := unix.Close(alone); err != nil {
		return 0, nil, err
	}
	return bindSocket(want, true)
}

func bindSocket(want *net.TCPAddr, reusePort bool) (fd int, bound *net.TCPAddr, err error) {
	sa, family := sockaddr(want)
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if reusePort {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil && !reusePort {
		// Only listening finds a listener that came with SO_REUSEADDR, too.
		err = unix.Listen(fd, 1)
	}
	if err == nil {
		bound, err = boundAddr(fd, want)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, nil, fmt.Errorf("bind: %w", err)
	}
	return fd, bound, nil
}

func sockaddr(a *net.TCPAddr) (unix.Sockaddr, int) {
	if ip := a.IP.To4(); ip != nil {
		sa := &unix.SockaddrInet4{Port: a.Port}
		copy(sa.Addr[:], ip)
		return sa, unix.AF_INET
	}
	sa := &unix.SockaddrInet6{Port: a.Port}
	copy(sa.Addr[:], a.IP.To16())
	return sa, unix.AF_INET6
}

func boundAddr(fd int, want *net.TCPAddr) (*net.TCPAddr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	out := *want
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		out.Port = sa.Port
	case *unix.SockaddrInet6:
		out.Port = sa.Port
	}
	return &out, nil
}
