package gateway

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/ws"
)

// Budgets bound what a node takes on. Over one of them it refuses new connections
// and keeps all it has: a WebSocket upgrade is answered with 503 and the names of
// other nodes, TCP is closed.

const (
	// maxRefusing bounds the connections of a loop that are open only until their
	// upgrade has been answered; more are closed at once.
	maxRefusing = 64
	// refuseTime is how long such a connection may take for its request.
	refuseTime = 2 * time.Second
	// retryAfter is when a refused client may try again.
	retryAfter = 5 * time.Second
)

// Files is how many descriptors a gateway needs beside those of its clients:
// listeners, one for the address and one per loop; epoll, eventfd and a timer per
// loop; connections that are refused, and one that is being accepted.
func (c *Config) Files() int {
	loops := c.Loops
	if loops == 0 {
		loops = DefaultLoops()
	}
	return len(listenersOf(c))*(1+loops) + loops*(4+maxRefusing+1)
}

// admitConn decides over a new connection. False: it must be closed.
func (l *loop) admitConn(s *session, ln *listener) bool {
	l.srv.m.accepted.Inc()
	why := l.srv.admitConn(s)
	if why == closePeer {
		s.mark(flagCounted)
		l.conns.Add(1)
		return true
	}
	// A TLS handshake is what a budget of handshakes wants to spare.
	if s.form.isWS() && l.refusing < maxRefusing && !(ln.tls && why == closeRate) {
		l.refusing++
		x := l.sideOf(s)
		x.refusal, x.deadline = why, l.now+uint32(ticks(refuseTime))
		return true
	}
	l.detach(s, why)
	s.state = stateClosing
	return false
}

// admitConn counts a connection if the node's budgets have room for it, or says
// which has not.
func (srv *Server) admitConn(s *session) closeReason {
	ip := s.addr()
	switch {
	case srv.draining.Load():
		return closeDrain
	case srv.overMemory.Load():
		return closeMemory
	case !srv.rate.take(time.Now()):
		return closeRate
	case srv.open.Add(1) > int64(srv.cfg.MaxConnections) && srv.cfg.MaxConnections > 0:
		srv.open.Add(-1)
		return closeFull
	case !srv.ips.add(ip, srv.cfg.MaxPerIP):
		srv.open.Add(-1)
		return closePerIP
	}
	return closePeer
}

// closedConn gives back what admitConn has counted.
func (l *loop) closedConn(s *session) {
	switch {
	case s.is(flagCounted):
		l.conns.Add(-1)
		l.srv.open.Add(-1)
		l.srv.ips.remove(s.addr())
	case s.side != nil && s.side.refusal != closePeer:
		l.refusing--
	}
}

// refusal is why an upgrade must be refused, closePeer if it need not.
func (l *loop) refusal(s *session) closeReason {
	if s.side == nil {
		return closePeer
	}
	return s.side.refusal
}

// refuseUpgrade answers a valid upgrade of a client for which there is no room.
// l.out has the 101 from before on. A browser's script cannot see a 503: it gets
// the 101, and a close frame with code 4503.
func (l *loop) refuseUpgrade(s *session, why closeReason, before int, browser bool) {
	if browser {
		l.write(s, l.out)
		l.out = l.out[:0]
		if s.state >= stateClosing {
			return // it has gone within the write
		}
		s.state = stateNew
		l.closeWS(s, why, statusBusy, closeTable[why].text)
		return
	}
	body, err := json.Marshal(l.srv.busyAnswer(why))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	l.out = ws.AppendBusy(l.out[:before], retryAfter, append(body, '\n'))
	l.write(s, l.out)
	l.out = l.out[:0]
	if s.state >= stateClosing {
		return
	}
	l.detach(s, why)
	s.state, s.active = stateClosing, l.srv.coarse()
	l.finish(s)
}

// statusBusy is the close code for a browser that is refused: 503, as it were.
const statusBusy ws.StatusCode = 4503

// busyAnswer is the body of a 503.
type busyAnswer struct {
	Error      string   `json:"error"`       // a sentence
	Reason     string   `json:"reason"`      // as in the metrics
	RetryAfter int      `json:"retry_after"` // s
	Nodes      []string `json:"nodes"`       // ws URLs of other gateways, the least loaded first
}

func (srv *Server) busyAnswer(why closeReason) busyAnswer {
	return busyAnswer{closeTable[why].text, closeTable[why].label, int(retryAfter.Seconds()), srv.elsewhere()}
}

// elsewhere lists the other gateways that take clients, as logic named them last,
// each time from another one on: all nodes that are full name the same.
func (srv *Server) elsewhere() []string {
	urls := []string{}
	nodes := srv.others.Load()
	if nodes == nil || len(*nodes) == 0 {
		return urls
	}
	first := rand.IntN(len(*nodes))
	for i := range *nodes {
		n := &(*nodes)[(first+i)%len(*nodes)]
		if srv.tls != nil && n.WSSPort > 0 {
			urls = append(urls, fmt.Sprintf("wss://%s%s", net.JoinHostPort(n.Host, strconv.Itoa(n.WSSPort)), ws.Path))
		} else {
			urls = append(urls, fmt.Sprintf("ws://%s%s", net.JoinHostPort(n.Host, strconv.Itoa(n.WSPort)), ws.Path))
		}
	}
	return urls
}

// setUserTimeout has the kernel end a connection whose peer has acknowledged
// nothing for that long while there is something to acknowledge (RFC 5482):
// half-open peers are found also while we push to them.
func (l *loop) setUserTimeout(s *session) {
	if t := l.srv.cfg.UserTimeout; t > 0 {
		// It fails only when the connection has just ended.
		_ = unix.SetsockoptInt(s.conn.Fd(), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.Milliseconds()))
	}
}

// rate is a bound on events per second, with bursts of a tenth of a second: the
// generic cell rate algorithm (ITU-T I.371). The zero value has no bound.
type rate struct {
	each, burst int64        // ns
	next        atomic.Int64 // unix ns at which the bucket will be empty of debts
}

// set bounds the rate before it is used; 0 is no bound.
func (r *rate) set(perSecond int) {
	if perSecond > 0 {
		r.each = int64(time.Second) / int64(perSecond)
		r.burst = max(int64(time.Second)/10, r.each)
	}
}

// take counts an event; false says that it is one too many.
func (r *rate) take(at time.Time) bool {
	if r.each == 0 {
		return true
	}
	now := at.UnixNano()
	for {
		was := r.next.Load()
		next := max(was, now) + r.each
		if next-now > r.burst {
			return false
		}
		if r.next.CompareAndSwap(was, next) {
			return true
		}
	}
}

// ipCount counts connections by address; those of IPv6 by their /64, which is
// what a customer gets. Two maps of integers: 15 to 30 bytes an address.
type ipCount struct {
	mu sync.Mutex
	// guards below
	v4 map[uint32]int32
	v6 map[uint64]int32
}

func newIPCount() *ipCount { return &ipCount{v4: map[uint32]int32{}, v6: map[uint64]int32{}} }

// add counts a connection of ip unless it has limit already; 0 is no limit.
func (c *ipCount) add(ip netip.Addr, limit int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ip.Is4() {
		return more(c.v4, v4(ip), limit)
	}
	return more(c.v6, v6(ip), limit)
}

// remove undoes one add.
func (c *ipCount) remove(ip netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ip.Is4() {
		less(c.v4, v4(ip))
	} else {
		less(c.v6, v6(ip))
	}
}

// count is how many addresses there are.
func (c *ipCount) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.v4) + len(c.v6)
}

func more[K comparable](m map[K]int32, k K, limit int) bool {
	if limit > 0 && int(m[k]) >= limit {
		return false
	}
	m[k]++
	return true
}

func less[K comparable](m map[K]int32, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

func v4(ip netip.Addr) uint32 {
	b := ip.As4()
	return binary.BigEndian.Uint32(b[:])
}

func v6(ip netip.Addr) uint64 {
	b := ip.As16()
	return binary.BigEndian.Uint64(b[:])
}
