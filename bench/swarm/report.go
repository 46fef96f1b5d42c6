package swarm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
)

// Report is what the clients have seen since they were opened. Of marked ones
// only what is wrong counts.
type Report struct {
	Wanted  int // clients there shall be
	Opening int // on their way
	Open    int // authenticated, now
	Opened  int // that have been
	Refused map[string]int
	// Ended is how often an open connection has ended for which reason, though nobody
	// wanted it to; MarkedEnded is that of marked ones.
	Ended, MarkedEnded map[string]int
	LastOpen, LastEnd  time.Duration // when the last was opened, has ended

	Pushes   int64 // messages
	Measured int64 // of them, due in the window
	Frames   int64 // op-9 packets: over WebSocket as many as there were writes, or more
	Framed   int64 // messages in them
	Reads    int64
	Bytes    int64
	LastPush time.Duration // when the last message came

	Faults
	Foreign int64 // messages of somebody else
	Beats   int64 // answers to heartbeats
	Unsaid  int64 // heartbeats that were not answered before the next was due

	Latency  Times    // of messages due in the window, since the last report
	Connects Times    // from connecting to the answer to op 7, since the last report
	Examples []string // the first few faults

	latency, connects histogram
}

// Faults are what must not be.
type Faults struct {
	Lost         int64 `json:"lost"` // known when it is known what was sent
	Doubled      int64 `json:"doubled"`
	Reordered    int64 `json:"reordered"`
	Stale        int64 `json:"stale"` // doubled or reordered, by 64 places and more
	Misdelivered int64 `json:"misdelivered"`
	Corrupt      int64 `json:"corrupt"`
	Unsent       int64 `json:"unsent"` // delivered though refused
	Broken       int64 `json:"broken"` // connections on which something came that the protocol does not allow
}

// Add adds g to f.
func (f *Faults) Add(g Faults) {
	f.Lost += g.Lost
	f.Doubled += g.Doubled
	f.Reordered += g.Reordered
	f.Stale += g.Stale
	f.Misdelivered += g.Misdelivered
	f.Corrupt += g.Corrupt
	f.Unsent += g.Unsent
	f.Broken += g.Broken
}

func newReport() Report {
	return Report{
		Refused: map[string]int{}, Ended: map[string]int{}, MarkedEnded: map[string]int{},
		latency: histogram{NewHistogram()}, connects: histogram{NewHistogram()},
	}
}

const maxExamples = 5

func (r *Report) example(format string, args ...any) {
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

func (r *Report) judge(v stamp.Verdict) {
	switch v {
	case stamp.Doubled:
		r.Doubled++
	case stamp.Reordered:
		r.Reordered++
	case stamp.Stale:
		r.Stale++
	}
}

// take is the command that answers with the report.
func (s *Swarm) take(work.None) (r Report, err error) {
	err = s.do(func() error {
		var err1, err2 error
		s.report.Latency, err1 = s.report.latency.take()
		s.report.Connects, err2 = s.report.connects.take()
		s.report.Wanted, s.report.Opening = len(s.clients), s.opening+len(s.clients)-s.next
		r = s.report
		r.Refused, r.Ended, r.MarkedEnded = maps.Clone(r.Refused), maps.Clone(r.Ended), maps.Clone(r.MarkedEnded)
		r.Examples = slices.Clone(r.Examples)
		return errors.Join(err1, err2)
	})
	return r, err
}

// Window is the time in which messages must be due to be measured.
type Window struct{ From, To time.Duration }

func (w Window) has(d time.Duration) bool { return d >= w.From && d < w.To }

// setWindow is the command that sets the window.
func (s *Swarm) setWindow(w Window) (work.None, error) {
	return work.None{}, s.do(func() error { s.window = w; return nil })
}

// Count is how many messages a lane has had accepted: between Least and Most, where
// it is not known of some. Sum is that of the numbers of accepted ones.
type Count struct {
	Least, Most uint32
	Sum         uint64
}

// Expectation is what has been accepted, by target and lane. A target that is not
// in it has been sent nothing.
type Expectation struct {
	Self map[int][]Count
	Room map[int][]Count
	All  []Count
}

func (e *Expectation) of(k stamp.Kind, n int) []Count {
	switch k {
	case stamp.Self:
		return e.Self[n]
	case stamp.Room:
		return e.Room[n]
	default:
		return e.All
	}
}

// expect is the command that tells the clients what they must have got.
func (s *Swarm) expect(e Expectation) (work.None, error) {
	return work.None{}, s.do(func() error { s.expected = &e; return nil })
}

// Gap is the difference between what has come and what was accepted, of the clients
// that are open and count.
type Gap struct {
	Lost     int64
	Unsent   int64
	Clients  int   // that lack something
	Complete int   // that lack nothing
	Wanted   int64 // messages that should have come
	Skipped  int64 // of marked clients, open or not: messages that have not come though one behind them has
}

// missing is the command that answers with it. It looks at every client.
func (s *Swarm) missing(work.None) (g Gap, err error) {
	err = s.do(func() error {
		if s.expected == nil {
			return errors.New("nothing to expect has been told")
		}
		for i := range s.clients {
			switch c := &s.clients[i]; {
			case c.marked:
				for _, t := range s.tracks[i*s.perClient : (i+1)*s.perClient] {
					g.Skipped += int64(t.Skipped())
				}
			case c.state == open:
				s.compare(c, &g)
			}
		}
		return nil
	})
	return g, err
}

// compare adds the gap of one client to g.
func (s *Swarm) compare(c *client, g *Gap) {
	n, lost := s.number(c), int64(0)
	targets := [stamp.Kinds]int{stamp.Self: n, stamp.Room: -1}
	if s.spec.RoomSize > 0 {
		targets[stamp.Room] = s.spec.room(n)
	}
	for k, target := range targets {
		for lane, count := range s.expected.of(stamp.Kind(k), target) {
			track := s.track(c, stamp.Kind(k), lane)
			seen := track.Seen()
			g.Wanted += int64(count.Least)
			lost += max(0, int64(count.Least)-int64(seen))
			g.Unsent += max(0, int64(seen)-int64(count.Most))
			if seen == count.Least && seen == count.Most && track.Sum() != count.Sum {
				lost++     // at least one accepted message, in place of which
				g.Unsent++ // one has come that was refused
			}
		}
	}
	g.Lost += lost
	if lost > 0 {
		g.Clients++
	} else {
		g.Complete++
	}
}
