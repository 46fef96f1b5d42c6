package job

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// testGateways is a Sender whose gateways answer as their fields say.
type testGateways struct {
	mu    sync.Mutex
	nodes map[string]*testGateway
}

func (s *testGateways) get(id string) *testGateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.nodes[id]
	if g == nil {
		g = &testGateway{id: id, admit: func(*testStream, *push.Batch) push.AckStatus { return push.AckDone }}
		s.nodes[id] = g
	}
	return g
}

func (s *testGateways) Open(_ context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	return s.get(n.ID).open(n, h, r)
}

// testGateway is one gateway. Without further settings it admits everything and
// answers before Deliver returns, as the real one does in the same process.
type testGateway struct {
	id string

	mu      sync.Mutex
	refuse  error // of open
	silent  bool  // admits, but does not answer: see testStream.answerAll
	rooms   []cluster.RoomCount
	list    bool // sends its room list when a stream opens, before open returns
	admit   func(*testStream, *push.Batch) push.AckStatus
	confirm func(seq uint64)
	opens   []time.Time
	hellos  []push.Hello
	streams []*testStream
	got     []testGot
}

// testGot is one admitted message.
type testGot struct {
	stream     int
	generation int32
	partition  int32
	message    push.Message
}

func (g *testGateway) open(_ cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	g.mu.Lock()
	g.opens = append(g.opens, time.Now())
	g.hellos = append(g.hellos, h)
	if g.refuse != nil {
		defer g.mu.Unlock()
		return nil, g.refuse
	}
	st := &testStream{g: g, r: r, number: len(g.streams), next: map[[2]int32]uint64{}}
	g.streams = append(g.streams, st)
	list, rooms := g.list, slices.Clone(g.rooms)
	g.mu.Unlock()
	if list {
		st.announce(rooms, true)
	}
	return st, nil
}

// stream is the newest one, nil before the first.
func (g *testGateway) stream() *testStream {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.streams) == 0 {
		return nil
	}
	return g.streams[len(g.streams)-1]
}

// bodies are what was admitted, joined by blanks.
func (g *testGateway) bodies() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, x := range g.got {
		out = append(out, string(x.message.Body))
	}
	return strings.Join(out, " ")
}

// set changes how the gateway behaves.
func (g *testGateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// opened are the attempts so far, and the streams among them.
func (g *testGateway) opened() (attempts []time.Time, hellos []push.Hello, streams []*testStream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.opens), slices.Clone(g.hellos), slices.Clone(g.streams)
}

func (g *testGateway) all() []testGot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}

func (g *testGateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.got)
}

// testStream is a gateway's end of one stream.
type testStream struct {
	g      *testGateway
	r      push.Receiver
	number int

	// Guarded by g.mu.
	next      map[[2]int32]uint64 // by partition and generation
	batches   []*push.Batch       // as they came, repeats too
	at        []time.Time         // of batches
	held      []push.Ack
	seq       uint64 // of the last Interest
	confirmed uint64
	counts    []cluster.RoomCount
	countedAt []time.Time
	closed    bool

	announcing sync.Mutex
}

var errTestClosed = errors.New("the stream has ended")

func (st *testStream) Deliver(b *push.Batch) error {
	st.g.mu.Lock()
	if st.closed {
		st.g.mu.Unlock()
		return errTestClosed
	}
	st.batches, st.at = append(st.batches, b), append(st.at, time.Now())
	a := push.Ack{Partition: b.Partition, Generation: b.Generation, Seq: b.Seq}
	key := [2]int32{b.Partition, b.Generation}
	want := st.next[key] + 1
	switch {
	case b.Seq > want:
		a.Seq, a.Status = want, push.AckBusy
	case b.Seq == want:
		if a.Status = st.g.admit(st, b); a.Status == push.AckDone {
			st.next[key] = want
			for _, m := range b.Items {
				st.g.got = append(st.g.got, testGot{st.number, b.Generation, b.Partition, m})
			}
		}
	}
	silent := st.g.silent
	if silent {
		st.held = append(st.held, a)
	}
	st.g.mu.Unlock()
	if !silent {
		st.r.Ack(a)
	}
	return nil
}

// answerAll gives the answers that were held back.
func (st *testStream) answerAll() {
	st.g.mu.Lock()
	held := st.held
	st.held = nil
	st.g.mu.Unlock()
	for _, a := range held {
		st.r.Ack(a)
	}
}

func (st *testStream) announce(rooms []cluster.RoomCount, complete bool) {
	st.interest(push.Interest{Rooms: rooms, Complete: complete})
}

// count says how many sessions the gateway has.
func (st *testStream) count(conns int64) { st.interest(push.Interest{Conns: conns, Counted: true}) }

func (st *testStream) interest(i push.Interest) {
	st.announcing.Lock()
	defer st.announcing.Unlock()
	st.g.mu.Lock()
	st.seq++
	i.Seq = st.seq
	st.g.mu.Unlock()
	st.r.Interest(i)
}

func (st *testStream) Confirm(seq uint64) error {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	st.confirmed = max(st.confirmed, seq)
	if st.g.confirm != nil {
		st.g.confirm(seq)
	}
	return nil
}

func (st *testStream) Counts(rooms []cluster.RoomCount) error {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	st.counts = append(st.counts, rooms...)
	st.countedAt = append(st.countedAt, time.Now())
	return nil
}

func (st *testStream) Close() { st.end(nil) }

func (st *testStream) end(err error) {
	st.g.mu.Lock()
	was := st.closed
	st.closed = true
	st.g.mu.Unlock()
	if !was {
		st.r.Closed(err)
	}
}

// told is what the gateway knows of the room on other gateways, unknown if
// nothing.
func (st *testStream) told(room string) int32 {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	n := int32(unknown)
	for _, c := range st.counts {
		if c.Room == room {
			n = c.Count
		}
	}
	return n
}

// toldTimes are when Counts was called, and of how many rooms it told in all.
func (st *testStream) toldTimes() (at []time.Time, rooms int) {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	return slices.Clone(st.countedAt), len(st.counts)
}

func (st *testStream) confirmedSeq() uint64 {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	return st.confirmed
}

// sent are the batches that came, repeats too, and when.
func (st *testStream) sent() ([]*push.Batch, []time.Time) {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	return slices.Clone(st.batches), slices.Clone(st.at)
}

func (st *testStream) sentCount() int {
	b, _ := st.sent()
	return len(b)
}

func (st *testStream) isClosed() bool {
	st.g.mu.Lock()
	defer st.g.mu.Unlock()
	return st.closed
}
