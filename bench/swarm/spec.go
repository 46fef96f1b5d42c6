package swarm

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/halley-im/halley/bench/stamp"
)

// Spec is which clients there shall be.
type Spec struct {
	Run       uint32   // of the messages that are to be checked
	Addrs     []string // ws://host:port/path, wss://, tcp://; client n uses one after another
	First, N  int      // clients First … First+N-1
	RoomSize  int      // so many to a room; 0: they are in none
	Origin    int      // the client that is the first of room FirstRoom; the next RoomSize ones
	FirstRoom int      // are in it too, and so on
	MidBase   int64    // the user id of client n is MidBase+n
	Accepts   []int32  // operations the clients take
	Lanes     [stamp.Kinds]int

	Rate      float64       // connections begun per second; 0: as fast as they are taken
	Window    int           // connections that may be on their way at the same time
	Patience  time.Duration // from connecting to the answer to op 7
	Net       int           // source addresses are 127.Net.x.y; 0: the kernel's choice
	PerSource int           // clients to a source address
	Rcvbuf    int           // kernel receive buffer, bytes; 0: the kernel's choice
	Bare      bool          // no handshake, WebSocket frames at once: for a floor
}

// Key is the connection key of client n: it looks like those that servers give.
func Key(run uint32, n int) string {
	return fmt.Sprintf("6ba7b810-9dad-41d1-%04x-%04x%08x", run>>16, run&0xffff, n)
}

// RoomID is the part behind live:// of the name of room n.
func RoomID(run uint32, n int) string { return fmt.Sprintf("%08x-%d", run, n) }

// RoomType is the part before.
const RoomType = "live"

// room is the room of client n, if there are any.
func (s *Spec) room(n int) int { return s.FirstRoom + (n-s.Origin)/s.RoomSize }

// transport is how an address is spoken to.
type transport uint8

const (
	overTCP transport = iota
	overWS
	overWSS
)

// endpoint is an address as it is used.
type endpoint struct {
	transport transport
	host      string // as in the URL
	path      string
	addr      netip.AddrPort
}

// ParseAddr checks an address of a server.
func ParseAddr(s string) error {
	_, err := parseEndpoint(s)
	return err
}

func parseEndpoint(s string) (e endpoint, err error) {
	const want = "want ws://HOST:PORT/sub, wss://HOST:PORT/sub or tcp://HOST:PORT, HOST being an IPv4 address"
	u, err := url.Parse(s)
	if err != nil {
		return e, fmt.Errorf("address %q: %s", s, want)
	}
	var ok bool
	e.transport, ok = map[string]transport{"tcp": overTCP, "ws": overWS, "wss": overWSS}[u.Scheme]
	e.host, e.path = u.Host, u.RequestURI()
	e.addr, err = netip.ParseAddrPort(strings.Replace(u.Host, "localhost:", "127.0.0.1:", 1))
	if err != nil || !ok || !e.addr.Addr().Is4() {
		return e, fmt.Errorf("address %q: %s", s, want)
	}
	return e, nil
}

// check says what is wrong with s.
func (s *Spec) check() error {
	switch {
	case s.N < 1 || s.First < s.Origin || s.Origin < 0 || s.FirstRoom < 0 || s.RoomSize < 0:
		return fmt.Errorf("%d clients from %d on, %d to a room: want at least one, and nothing below zero", s.N, s.First, s.RoomSize)
	case len(s.Addrs) == 0:
		return errors.New("no address to connect to")
	case s.Window < 1 || s.Patience <= 0:
		return fmt.Errorf("window %d, patience %v: want more than none", s.Window, s.Patience)
	case s.Net < 0 || s.Net > 254 || s.Net > 0 && s.PerSource < 1:
		return fmt.Errorf("source net %d with %d clients per address: want 0 to 254, and at least one", s.Net, s.PerSource)
	}
	return nil
}
