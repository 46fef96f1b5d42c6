package swarm

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/protocol"
)

// open is the command that begins to open clients. Those there are are closed.
func (s *Swarm) open(spec Spec) (work.None, error) {
	if err := spec.check(); err != nil {
		return work.None{}, err
	}
	endpoints := make([]endpoint, len(spec.Addrs))
	for i, a := range spec.Addrs {
		var err error
		if endpoints[i], err = parseEndpoint(a); err != nil {
			return work.None{}, err
		}
	}
	return work.None{}, s.do(func() error {
		for i := range s.clients {
			s.forget(&s.clients[i])
		}
		s.report, s.expected, s.beating, s.window = newReport(), nil, beating{}, Window{}
		s.churning = churning{}
		s.spec, s.endpoints = spec, endpoints
		s.perClient = 0
		for k, lanes := range spec.Lanes {
			s.base[k] = s.perClient
			s.perClient += lanes
		}
		s.clients = make([]client, spec.N)
		s.tracks = make([]stamp.Track, spec.N*s.perClient)
		for i := range s.clients {
			s.clients[i] = client{fd: -1, index: int32(i)}
		}
		s.next, s.opening, s.begun = 0, 0, s.clock.Now()
		return nil
	})
}

// Drop is how the clients are closed: without a word. With Again they are opened
// anew, like after the loss of a network.
type Drop struct{ Again bool }

func (s *Swarm) drop(d Drop) (work.None, error) {
	return work.None{}, s.do(func() error {
		for i := range s.clients {
			c := &s.clients[i]
			s.forget(c)
			*c = client{fd: -1, index: int32(i)}
		}
		s.report.Open, s.opening, s.beating, s.churning = 0, 0, beating{}, churning{}
		s.next = len(s.clients)
		clear(s.tracks)
		if d.Again {
			s.report.Opened, s.next, s.begun = 0, 0, s.clock.Now()
			clear(s.report.Refused)
		}
		return nil
	})
}

// Mark says which clients shall count no more.
type Mark struct {
	Every int  // one in so many
	Blind bool // and shall not read
}

// mark is the command that marks clients and answers how many.
func (s *Swarm) mark(m Mark) (marked int, err error) {
	if m.Every < 1 {
		return 0, errors.New("one in how many shall be marked?")
	}
	err = s.do(func() (err error) {
		for i := range s.clients {
			c := &s.clients[i]
			if s.number(c)%m.Every != 0 || c.state != open || c.marked {
				continue
			}
			c.marked, c.blind = true, m.Blind
			marked++
			if m.Blind {
				err = errors.Join(err, s.watch(c, unix.EPOLL_CTL_MOD, 0))
			}
		}
		return err
	})
	return marked, err
}

// readAgain is the command that lets blind clients read again, to the end.
func (s *Swarm) readAgain(work.None) (work.None, error) {
	return work.None{}, s.do(func() (err error) {
		for i := range s.clients {
			if c := &s.clients[i]; c.blind && c.state == open {
				c.blind = false
				err = errors.Join(err, s.watch(c, unix.EPOLL_CTL_MOD, unix.EPOLLIN))
			}
		}
		return err
	})
}

// Churn is the coming and going of marked clients: one after another is closed without
// a word and opened anew, PerSecond of them.
type Churn struct{ PerSecond float64 }

func (s *Swarm) churn(c Churn) (work.None, error) {
	return work.None{}, s.do(func() error {
		s.churning = churning{rate: c.PerSecond, begun: s.clock.Now()}
		return nil
	})
}

// churning is how far that is.
type churning struct {
	rate  float64
	begun time.Duration
	done  int64 // clients that were closed
	turn  int   // index of the next
}

// churnOn closes and opens the clients whose turn it is.
func (s *Swarm) churnOn() {
	ch := &s.churning
	if ch.rate <= 0 {
		return
	}
	due := int64((s.clock.Now() - ch.begun).Seconds() * ch.rate)
	for looked := 0; ch.done < due && looked < len(s.clients); looked++ {
		c := &s.clients[ch.turn]
		ch.turn = (ch.turn + 1) % len(s.clients)
		if !c.marked || c.blind || c.state != open && c.state != closed || s.opening >= s.spec.Window {
			continue
		}
		ch.done++
		if c.state == open {
			s.report.Open--
		}
		s.forget(c)
		*c = client{fd: -1, index: c.index, marked: true, begun: s.clock.Now()}
		clear(s.tracks[int(c.index)*s.perClient : (int(c.index)+1)*s.perClient])
		s.opening++
		if err := s.dial(c); err != nil {
			s.end(c, err.Error())
		}
	}
}

// beating is the sending of heartbeats: one client after another, each once in
// every.
type beating struct {
	every time.Duration
	begun time.Duration
	sent  int64 // turns that were taken
	turn  int   // index of the next
}

// beat is the command that sets how often each client sends a heartbeat; 0 is never.
// Whose turn it is stays.
func (s *Swarm) beat(every time.Duration) (work.None, error) {
	return work.None{}, s.do(func() error {
		s.beating = beating{every: every, begun: s.clock.Now(), turn: s.beating.turn}
		return nil
	})
}

// maxWaiting is for how many heartbeats an answer may come late.
const maxWaiting = 255

// sendBeats sends the heartbeats that are due.
func (s *Swarm) sendBeats() {
	b := &s.beating
	if b.every <= 0 || len(s.clients) == 0 {
		return
	}
	gap := b.every / time.Duration(len(s.clients))
	// A turn of each at a time: a gap may be so short that more are due than can be sent.
	now := s.clock.Now()
	for range s.clients {
		if b.begun+time.Duration(b.sent)*gap > now {
			return
		}
		c := &s.clients[b.turn]
		b.turn = (b.turn + 1) % len(s.clients)
		b.sent++
		if c.state != open || c.blind {
			continue
		}
		if c.waiting > 0 {
			s.report.Unsaid++
		}
		if c.waiting < maxWaiting {
			c.waiting++
		}
		s.packetOut(c, protocol.Packet{Ver: 1, Op: protocol.OpHeartbeat, Seq: 2})
	}
}
