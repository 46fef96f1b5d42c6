package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// swarmKey is RFC 6455 §1.3's example; swarmMask as good as any.
const swarmKey = "dGhlIHNhbXBsZSBub25jZQ=="

var swarmMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// dial begins to connect c, from its own source address.
func (s *swarm) dial(c *swarmConn) error {
	to, err := netip.ParseAddrPort(s.spec.Addr)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd, c.state = int32(fd), swarmConnecting
	// The port is chosen by connect, when the destination is known: then it need
	// be free only towards that.
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if s.spec.Rcvbuf > 0 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, s.spec.Rcvbuf))
	}
	n := (s.spec.First + int(c.index)) / s.spec.PerIP
	from := unix.SockaddrInet4{Addr: [4]byte{127, byte(s.spec.Net), byte(n >> 8), byte(n)}}
	err = errors.Join(err, unix.Bind(fd, &from))
	if err != nil {
		return fmt.Errorf("bind to %v: %w", from.Addr, err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return s.watch(c, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

// watch sets what epoll shall tell about c.
func (s *swarm) watch(c *swarmConn, op int, events uint32) error {
	return unix.EpollCtl(s.ep, op, int(c.fd), &unix.EpollEvent{Events: events, Fd: c.index, Pad: c.fd})
}

// connected sends the first bytes of c if it is connected.
func (s *swarm) connected(c *swarmConn) {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		err = s.watch(c, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
	switch {
	case err != nil:
		s.end(c, "connect: "+err.Error())
	case s.spec.Bare:
		s.opened(c)
	case s.spec.WS:
		c.state = swarmUpgrading
		s.send(c, ws.AppendRequest(nil, s.spec.Addr, ws.Path, swarmKey))
	default:
		s.join(c)
	}
}

// join sends op 7: keys look as those that logic gives to clients without one.
func (s *swarm) join(c *swarmConn) {
	c.state = swarmJoining
	n := s.spec.First + int(c.index)
	s.packetOut(c, protocol.Packet{Ver: 1, Op: protocol.OpAuth, Seq: 1, Body: fmt.Appendf(nil,
		`{"mid":%d,"key":"6ba7b810-9dad-41d1-%04x-%012x","room_id":"%s","platform":"android","accepts":[1000,1001,1002]}`,
		100_000_000+s.spec.Net*1_000_000+n, s.spec.Net, n, swarmRoom(n/s.spec.RoomSize))})
}

// swarmRoom is the name of the n-th room.
func swarmRoom(n int) string { return fmt.Sprintf("live://%d", 1000+n) }

func (s *swarm) packetOut(c *swarmConn, p protocol.Packet) {
	out := protocol.AppendPacket(nil, p)
	if s.spec.WS {
		out = ws.AppendClientFrame(nil, ws.OpBinary, swarmMask, out)
	}
	s.send(c, out)
}

// send writes to c. What clients send is so little that it always fits.
func (s *swarm) send(c *swarmConn, out []byte) {
	if n, err := unix.Write(int(c.fd), out); err != nil || n != len(out) {
		s.end(c, fmt.Sprintf("write of %d bytes: %d, %v", len(out), n, err))
	}
}

// opened notes that c is authenticated.
func (s *swarm) opened(c *swarmConn) {
	c.state = swarmOpen
	s.opening--
	s.unmarked++
	s.report.Open++
}

// end closes c and notes why. Of clients that nobody told not to read, none
// should end before it is told to.
func (s *swarm) end(c *swarmConn, why string) {
	if c.fd >= 0 {
		_ = unix.Close(int(c.fd)) // which takes it out of the epoll too
	}
	switch {
	case c.state != swarmOpen:
		s.opening--
	case c.marked:
		s.report.Open--
	default:
		s.report.Open--
		s.unmarked--
	}
	if c.marked {
		s.report.MarkedEnded[why]++
	} else {
		s.report.Ended[why]++
	}
	c.fd, c.partial = -1, nil
}

// open makes the clients and waits until all are authenticated, or have ended.
// Those of the last open must have been closed.
func (s *swarm) open(spec swarmSpec) (report, error) {
	if spec.RoomSize < 1 || spec.PerIP < 1 || spec.Net < 1 || spec.Net > 254 {
		return report{}, fmt.Errorf("clients need a room size, a net and a number per address: %+v", spec)
	}
	s.do(func() {
		s.report.clear()
		s.spec, s.next, s.opening, s.unmarked = spec, 0, 0, 0
		s.conns = make([]swarmConn, spec.N)
		for i := range s.conns {
			s.conns[i] = swarmConn{fd: -1, index: int32(i)}
		}
	})
	err := s.await("clients are open", callPatience/2, func() bool { return s.next == s.spec.N && s.opening == 0 })
	if err != nil {
		return report{}, err
	}
	return s.getReport(none{})
}

// closeAll closes all clients without a word.
func (s *swarm) closeAll(none) (none, error) {
	s.do(func() {
		for i := range s.conns {
			if fd := s.conns[i].fd; fd >= 0 {
				_ = unix.Close(int(fd)) // it may be reset already
			}
		}
		s.conns, s.spec, s.next, s.beating = nil, swarmSpec{}, 0, beating{}
	})
	return none{}, nil
}

// markSpec says which clients shall count no more.
type markSpec struct {
	Every int  // one in so many
	Blind bool // and shall not read
}

// mark marks clients. Only what they still receive in the right order counts.
func (s *swarm) mark(m markSpec) (marked int, err error) {
	s.do(func() {
		for i := 0; i < len(s.conns); i += m.Every {
			c := &s.conns[i]
			if c.state != swarmOpen || c.fd < 0 || c.marked {
				continue
			}
			c.marked, c.blind = true, m.Blind
			s.unmarked--
			marked++
			if m.Blind {
				err = errors.Join(err, s.watch(c, unix.EPOLL_CTL_MOD, 0))
			}
		}
	})
	return marked, err
}

// resume lets blind clients read again, to the end.
func (s *swarm) resume(none) (none, error) {
	var err error
	s.do(func() {
		for i := range s.conns {
			if c := &s.conns[i]; c.blind && c.fd >= 0 {
				c.blind = false
				err = errors.Join(err, s.watch(c, unix.EPOLL_CTL_MOD, unix.EPOLLIN))
			}
		}
	})
	return none{}, err
}

// wait waits until every client that counts has got so many pushes, on average:
// whether each has is seen in the report.
func (s *swarm) wait(each int64) (none, error) {
	return none{}, s.await(fmt.Sprintf("%d pushes at every client", each), callPatience/2,
		func() bool { return s.report.Pushes >= each*int64(s.unmarked) })
}

// beatSpec is how many heartbeats, sent by one client after another.
type beatSpec struct{ N, PerSecond int }

// beat sends heartbeats and waits for all answers.
func (s *swarm) beat(b beatSpec) (none, error) {
	if b.N < 1 || b.PerSecond < 1 {
		return none{}, fmt.Errorf("no rate of heartbeats: %+v", b)
	}
	var want int64
	s.do(func() {
		s.beating.left, s.beating.gap, s.beating.next = b.N, time.Second/time.Duration(b.PerSecond), time.Now()
		want = s.report.Beats + int64(b.N)
	})
	patience := time.Duration(b.N)*time.Second/time.Duration(b.PerSecond) + callPatience/4
	return none{}, s.await("answers to heartbeats", patience, func() bool { return s.report.Beats >= want })
}

// sendBeats sends the heartbeats that are due.
func (s *swarm) sendBeats() {
	b := &s.beating
	if b.left == 0 {
		return
	}
	for now := time.Now(); b.left > 0 && s.report.Open > 0 && !b.next.After(now); b.next = b.next.Add(b.gap) {
		b.left--
		for b.conn = (b.conn + 1) % len(s.conns); s.conns[b.conn].fd < 0 || s.conns[b.conn].state != swarmOpen; {
			b.conn = (b.conn + 1) % len(s.conns)
		}
		s.packetOut(&s.conns[b.conn], protocol.Packet{Ver: 1, Op: protocol.OpHeartbeat, Seq: 2})
	}
}
