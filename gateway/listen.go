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
type listeners struct {
	tcp, ws *net.TCPAddr // as really bound
	held    []int        // descriptors
}

// bind reserves the two addresses.
func bind(tcpAddr, wsAddr string) (*listeners, error) {
	ln := &listeners{}
	for _, x := range []struct {
		key, addr string
		to        **net.TCPAddr
	}{{"gateway.tcp_addr", tcpAddr, &ln.tcp}, {"gateway.ws_addr", wsAddr, &ln.ws}} {
		fd, addr, err := hold(x.addr)
		if err != nil {
			ln.close()
			return nil, fmt.Errorf("%s %s: %w", x.key, x.addr, err)
		}
		ln.held = append(ln.held, fd)
		*x.to = addr
	}
	return ln, nil
}

func (ln *listeners) close() {
	for _, fd := range ln.held {
		_ = unix.Close(fd)
	}
	ln.held = nil
}

// uris are the addresses in gnet's form.
func (ln *listeners) uris() []string { return []string{uri(ln.tcp), uri(ln.ws)} }

// uri names the family where it is IPv4: with tcp:// gnet would take IPv4 peers
// over IPv6, at 32 more bytes each.
func uri(a *net.TCPAddr) string {
	if a.IP.To4() != nil {
		return "tcp4://" + a.String()
	}
	return "tcp://" + a.String()
}

// isWS tells the listener of a connection by the address it was accepted on.
func (ln *listeners) isWS(local net.Addr) bool {
	a, ok := local.(*net.TCPAddr)
	return ok && a.Port == ln.ws.Port && a.IP.Equal(ln.ws.IP)
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
