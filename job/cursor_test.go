package job

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// The cursor that is committed against a simple model: per gateway the offsets it
// was not heard of yet.
func TestCursorAgainstModel(t *testing.T) {
	const steps, links = 100_000, 3
	rng := newRand(t)
	r := newRig(t, 1)
	r.cfg.BatchBytes, r.cfg.Window = 2<<10, 8<<10
	j := New(r.cfg, Deps{Source: r.queue, Nodes: r.registry, Rooms: r.registry, Sender: r.gateways}, discard, r.set)
	m := &cursorModel{t: t, ctx: t.Context(), job: j, rng: rng, next: -1}
	m.part = newPartition(j, &testAssignment{q: r.queue, gen: 1, next: []int64{0}}, 0, make(chan struct{}, 1), func() {})
	for i := range links {
		m.add(i)
	}
	for step := range steps {
		m.step()
		m.compare(step)
	}
	if m.commits < 1000 || m.acks < 1000 || m.refusals < 100 || m.losses < 100 || m.deaths < 100 {
		t.Errorf("commits %d, acks %d, refusals %d, losses %d, deaths %d: too few", m.commits, m.acks, m.refusals, m.losses, m.deaths)
	}
	m.part.close()
	if n := j.m.waiting.Load() + j.m.waitingBytes.Load() + j.m.inflight.Load(); n != 0 {
		t.Errorf("after the end %d is left in lanes", n)
	}
}

type cursorModel struct {
	t    *testing.T
	ctx  context.Context
	job  *Job
	rng  *rand.Rand
	part *partition

	links   []*link
	streams []*modelStream
	waits   [][]int64 // per link, offsets not acknowledged
	offset  int64     // of the last record
	next    int64     // everything before was handed over
	commits int       // times the cursor moved

	acks, refusals, losses, deaths int
}

// modelStream keeps the batches of a stream and answers nothing by itself.
type modelStream struct {
	testStream
	batches map[uint64]*push.Batch
	high    uint64 // highest number seen
	acked   uint64
	model   *cursorModel
}

func (s *modelStream) Deliver(b *push.Batch) error {
	if old := s.batches[b.Seq]; old != nil && old != b {
		s.model.t.Fatalf("batch %d is another one when it is sent again", b.Seq)
	}
	if b.Seq > s.high+1 || b.Seq <= s.acked {
		s.model.t.Fatalf("batch %d is sent after %d, acknowledged is %d", b.Seq, s.high, s.acked)
	}
	s.batches[b.Seq] = b
	s.high = max(s.high, b.Seq)
	return nil
}

// add puts a new gateway in place i.
func (m *cursorModel) add(i int) {
	l := newLink(m.job, cluster.Node{ID: fmt.Sprint(i, m.deaths), Epoch: 1}, func() {})
	if i == len(m.links) {
		m.links, m.streams, m.waits = append(m.links, l), append(m.streams, nil), append(m.waits, nil)
	}
	m.links[i], m.waits[i] = l, nil
	m.open(i)
}

func (m *cursorModel) open(i int) {
	l := m.links[i]
	m.streams[i] = &modelStream{model: m, batches: map[uint64]*push.Batch{}}
	l.mu.Lock()
	l.pipes++
	l.cur = &pipe{link: l, number: l.pipes, done: make(chan struct{}), stream: m.streams[i]}
	l.mu.Unlock()
	l.pump()
}

func (m *cursorModel) step() {
	i := m.rng.IntN(len(m.links))
	l, s := m.links[i], m.streams[i]
	l.mu.Lock()
	p := l.cur
	l.mu.Unlock()
	switch x := m.rng.IntN(100); {
	case x < 45:
		m.record()
	case x < 55:
		if m.part.flush(m.ctx) != nil {
			m.t.Fatal("flush")
		}
		m.next = m.part.routed // nothing before the first record
	case x < 85 && s.high > s.acked:
		m.acks++
		seq := s.acked + 1 + m.rng.Uint64N(s.high-s.acked)
		for ; s.acked < seq; s.acked++ {
			m.waits[i] = m.waits[i][len(s.batches[s.acked+1].Items):]
		}
		p.Ack(push.Ack{Generation: 1, Seq: seq})
	case x < 95 && s.high > s.acked:
		m.refusals++
		p.Ack(push.Ack{Generation: 1, Seq: s.acked + 1 + m.rng.Uint64N(s.high-s.acked), Status: push.AckBusy})
	case x < 97:
		l.unrest(time.Now().Add(time.Hour))
		l.pump()
	case x < 98:
		m.losses++
		p.Closed(nil)
		m.open(i)
	case x == 99 && m.rng.IntN(4) == 0:
		m.deaths++
		l.giveUp()
		m.add(i)
	}
}

// record routes one record to some of the gateways.
func (m *cursorModel) record() {
	rec := push.Record{Message: toAll(0, "x"), Offset: m.offset}
	for i, l := range m.links {
		l.mu.Lock()
		full := false
		if ln := l.lanes[0]; ln != nil {
			full = ln.bytes > m.job.cfg.LaneBytes/2 // the model does not wait
		}
		l.mu.Unlock()
		if full || m.rng.IntN(2) == 0 {
			continue
		}
		if err := m.part.put(m.ctx, l, &rec, 0, push.Share{}); err != nil {
			m.t.Fatal(err)
		}
		m.waits[i] = append(m.waits[i], m.offset)
	}
	m.offset++
	m.part.routed = m.offset
}

func (m *cursorModel) compare(step int) {
	offset, next, ok := m.part.cursor()
	if !ok {
		if m.next >= 0 {
			m.t.Fatalf("step %d: no cursor, want one", step)
		}
		return
	}
	if next != m.next {
		m.t.Fatalf("step %d: handed over up to %d, want %d", step, next, m.next)
	}
	want := m.next
	for i := range m.waits {
		if len(m.waits[i]) > 0 {
			want = min(want, m.waits[i][0])
		}
	}
	if offset != want {
		m.t.Fatalf("step %d: cursor %d, want %d", step, offset, want)
	}
	m.commits++
}
