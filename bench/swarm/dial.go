package swarm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// upgradeKey is RFC 6455 §1.3's example; mask as good as any.
const upgradeKey = "dGhlIHNhbXBsZSBub25jZQ=="

var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// endpoint is where c connects to.
func (s *Swarm) endpoint(c *client) *endpoint { return &s.endpoints[s.number(c)%len(s.endpoints)] }

// number is which client of the whole run c is.
func (s *Swarm) number(c *client) int { return s.spec.First + int(c.index) }

// dial begins to connect c, from its own source address.
func (s *Swarm) dial(c *client) error {
	to := s.endpoint(c)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd, c.state = int32(fd), connecting
	if s.spec.Rcvbuf > 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, s.spec.Rcvbuf)
	}
	err = errors.Join(err, s.bind(c), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err != nil {
		return err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.addr.Addr().As4(), Port: int(to.addr.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return s.watch(c, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

// bind gives c its source address: one has 28,000 ports towards a destination.
func (s *Swarm) bind(c *client) error {
	if s.spec.Net == 0 {
		return nil
	}
	// The port is chosen by connect, when the destination is known: then it need
	// be free only towards that.
	if err := unix.SetsockoptInt(int(c.fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	n := s.number(c)/s.spec.PerSource + 1
	from := unix.SockaddrInet4{Addr: [4]byte{127, byte(s.spec.Net + n>>16), byte(n >> 8), byte(n)}}
	if err := unix.Bind(int(c.fd), &from); err != nil {
		return fmt.Errorf("bind to %v: %w", from.Addr, err)
	}
	return nil
}

// watch sets what epoll shall tell about c.
func (s *Swarm) watch(c *client, op int, events uint32) error {
	return unix.EpollCtl(s.ep, op, int(c.fd), &unix.EpollEvent{Events: events, Fd: c.index, Pad: c.fd})
}

// connected sends the first bytes of c if it is connected.
func (s *Swarm) connected(c *client) {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		s.end(c, "connect: "+err.Error())
		return
	}
	if s.endpoint(c).transport == overWSS {
		s.secure(c)
		return
	}
	s.begin(c)
}

// begin speaks first, once there is a connection.
func (s *Swarm) begin(c *client) {
	to := s.endpoint(c)
	switch err := s.watch(c, unix.EPOLL_CTL_MOD, unix.EPOLLIN); {
	case err != nil:
		s.end(c, err.Error())
	case s.spec.Bare:
		s.opened(c)
	case to.transport == overTCP:
		s.join(c)
	default:
		c.state = upgrading
		s.send(c, ws.AppendRequest(nil, to.host, to.path, upgradeKey))
	}
}

// join sends op 7.
func (s *Swarm) join(c *client) {
	c.state = joining
	n := s.number(c)
	token := fmt.Appendf(nil, `{"mid":%d,"key":"%s","room_id":"`, s.spec.MidBase+int64(n), Key(s.spec.Run, n))
	if s.spec.RoomSize > 0 {
		token = fmt.Appendf(token, "%s://%s", RoomType, RoomID(s.spec.Run, s.spec.room(n)))
	}
	token = append(token, `","platform":"android","accepts":[`...)
	for i, op := range s.spec.Accepts {
		if i > 0 {
			token = append(token, ',')
		}
		token = fmt.Append(token, op)
	}
	s.packetOut(c, protocol.Packet{Ver: 1, Op: protocol.OpAuth, Seq: 1, Body: append(token, "]}"...)})
}

func (s *Swarm) packetOut(c *client, p protocol.Packet) {
	out := protocol.AppendPacket(nil, p)
	if s.endpoint(c).transport != overTCP {
		out = ws.AppendClientFrame(nil, ws.OpBinary, mask, out)
	}
	s.send(c, out)
}

// send writes to c. What clients send is so little that it always fits.
func (s *Swarm) send(c *client, out []byte) {
	var n int
	var err error
	if c.tls != nil {
		n, err = c.tls.conn.Write(out)
	} else {
		n, err = unix.Write(int(c.fd), out)
	}
	if err != nil || n != len(out) {
		s.end(c, fmt.Sprintf("write of %d bytes: %d, %v", len(out), n, err))
	}
}

// opened notes that c is authenticated.
func (s *Swarm) opened(c *client) {
	c.state = open
	s.opening--
	s.report.Open++
	s.report.Opened++
	s.report.LastOpen = s.now
	s.report.connects.add(s.now - c.begun)
}

// end closes c and notes why. Of clients that nobody told not to read, none
// should end before it is told to.
func (s *Swarm) end(c *client, why string) {
	if c.state == closed {
		return
	}
	s.forget(c)
	switch was := c.state; {
	case was != open:
		s.opening--
		s.report.Refused[why]++
	case c.marked:
		s.report.Open--
		s.report.MarkedEnded[why]++
	default:
		s.report.Open--
		s.report.Ended[why]++
		s.report.LastEnd = s.now
	}
	c.state = closed
}

// forget closes the socket of c.
func (s *Swarm) forget(c *client) {
	if c.fd >= 0 {
		_ = unix.Close(int(c.fd)) // which takes it out of the epoll too; it may be reset already
	}
	c.fd, c.partial, c.tls, c.waiting = -1, nil, nil, 0
}
