package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// stream is the gateway's end of a delivery stream of one job. It implements
// push.Stream: in one process the job calls it directly, otherwise pkg/rpc does.
type stream struct {
	// Set by Open, then read-only.
	srv  *Server
	job  string
	peer push.Receiver

	closeOnce sync.Once

	// Guarded by srv.admission.mu.
	next map[int32]expected // by partition

	// Guarded by srv.interest.mu.
	counts     []cluster.RoomCount // to be announced: counts, and the opening list
	newRooms   []*nodeRoom         // to be announced and then confirmed
	announced  []announcement      // not confirmed, oldest first
	seq        uint64              // of the last announcement
	confirmed  uint64              // of the last one the job has confirmed
	listing    bool                // the opening list is not complete
	conns      int64               // sessions of the node, as announced last
	recount    bool                // they have changed since, and it is time to say so
	announcing bool                // a goroutine is in announce
	ended      bool                // the stream has ended, for reason
	reason     error
}

// expected is the batch a stream must bring next for a partition.
type expected struct {
	generation int32
	seq        uint64
}

var _ push.Stream = (*stream)(nil)

// Open accepts a delivery stream from a job; peer gets the answers. It may
// be called concurrently. The node is this one and is ignored: the signature is
// job.Sender's, so that in one process the job can call the gateway directly.
func (srv *Server) Open(_ context.Context, _ cluster.Node, h push.Hello, peer push.Receiver) (push.Stream, error) {
	if h.Version < 1 || h.Version > cluster.Version+1 {
		return nil, fmt.Errorf("job %s speaks version %d, this gateway %d", h.Job, h.Version, cluster.Version)
	}
	if srv.ended.Load() {
		return nil, fmt.Errorf("gateway %s has stopped", srv.cfg.ID)
	}
	if h.Node != srv.cfg.ID || h.Epoch != srv.Epoch() {
		return nil, fmt.Errorf("job %s means %s in epoch %d, this is %s in epoch %d", h.Job, h.Node, h.Epoch, srv.cfg.ID, srv.Epoch())
	}
	st := &stream{srv: srv, job: h.Job, peer: peer, next: map[int32]expected{}}
	srv.streams.add(st)
	srv.interest.open(st)
	return st, nil
}

// Deliver admits b to the loops, all of it or nothing, and answers at once.
func (st *stream) Deliver(b *push.Batch) error {
	a := st.srv.admission.admit(st, b)
	st.peer.Ack(a)
	return nil
}

// Confirm notes that the job knows all rooms announced up to seq.
func (st *stream) Confirm(seq uint64) error {
	st.srv.interest.confirmed(st, seq)
	return nil
}

// Counts notes how many members rooms have on other gateways.
func (st *stream) Counts(rooms []cluster.RoomCount) error {
	st.srv.interest.setOthers(rooms)
	return nil
}

// Close ends the stream.
func (st *stream) Close() { st.end(nil) }

func (st *stream) end(err error) {
	st.closeOnce.Do(func() {
		st.srv.streams.remove(st)
		if announcing := st.srv.interest.close(st, err); !announcing {
			st.peer.Closed(err)
		}
	})
}

// admission decides over batches. It keeps, per partition, which generation may
// deliver and how far each log was delivered, so that repeats are recognised.
type admission struct {
	srv *Server

	mu         sync.Mutex
	partitions map[int32]*partition // guarded by mu
}

// partition is what a node knows of a partition of the queue, over all streams.
type partition struct {
	generation int32
	seen       time.Time // of the last batch of generation
	marks      map[uint64]mark
}

// mark is the last push of a log that was admitted.
type mark struct {
	index uint64
	part  uint32
	at    time.Time
}

const (
	// staleFor is how long batches of an older generation are refused after the
	// newer one was heard; later the older number is a group that began again.
	staleFor = 30 * time.Second
	// maxMarks bounds the logs remembered per partition: every start of a logic
	// node begins one. The one not heard for longest goes first.
	maxMarks = 256
)

// admit answers b. Under mu it is decided and posted, so that batches of one
// partition reach the loops in one order, whichever streams they came on.
func (a *admission) admit(st *stream, b *push.Batch) push.Ack {
	ack := push.Ack{Partition: b.Partition, Generation: b.Generation, Seq: b.Seq}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.partitions[b.Partition]
	if p == nil {
		p = &partition{marks: map[uint64]mark{}}
		a.partitions[b.Partition] = p
	}
	now := time.Now()
	if b.Generation < p.generation && now.Sub(p.seen) < staleFor {
		a.srv.m.batches[push.AckStale].Inc()
		ack.Status = push.AckStale
		return ack
	}
	p.generation, p.seen = b.Generation, now

	want := st.next[b.Partition]
	if want.generation != b.Generation || want.seq == 0 {
		want = expected{b.Generation, 1}
	}
	if b.Seq > want.seq {
		// Something before it was refused: this one must wait for its turn.
		ack.Seq, ack.Status = want.seq, push.AckBusy
	} else if b.Seq == want.seq {
		if a.deliver(b.Items, p, now) {
			want.seq++
		} else {
			ack.Status = push.AckBusy
		}
	}
	st.next[b.Partition] = want
	a.srv.m.batches[ack.Status].Inc()
	return ack
}

// deliver splits items over the loops and posts them, or does nothing and
// reports false when one of the loops has no room.
func (a *admission) deliver(items []push.Message, p *partition, now time.Time) bool {
	d := a.srv.split(items, p)
	if !d.reserve() {
		return false
	}
	d.post()
	for i := range items {
		p.advance(items[i].ID, now)
	}
	return true
}

// repeated says that the push was admitted before.
func (p *partition) repeated(id push.ID) bool {
	m, ok := p.marks[id.Spool]
	return ok && !id.Zero() && (id.Index < m.index || id.Index == m.index && id.Part <= m.part)
}

func (p *partition) advance(id push.ID, now time.Time) {
	if id.Zero() || p.repeated(id) {
		return
	}
	p.marks[id.Spool] = mark{id.Index, id.Part, now}
	if len(p.marks) > maxMarks {
		p.forgetOldest()
	}
}

func (p *partition) forgetOldest() {
	var oldest uint64
	var at time.Time
	for spool, m := range p.marks {
		if at.IsZero() || m.at.Before(at) {
			oldest, at = spool, m.at
		}
	}
	delete(p.marks, oldest)
}

// streams are the open ones, by job: a starting gateway waits for them.
type streams struct {
	mu   sync.Mutex
	open map[*stream]struct{} // guarded by mu
}

func (ss *streams) add(st *stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.open[st] = struct{}{}
}

func (ss *streams) remove(st *stream) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.open, st)
}

// have says that every job has a stream open.
func (ss *streams) have(jobs []string) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	open := map[string]bool{}
	for st := range ss.open {
		open[st.job] = true
	}
	for _, j := range jobs {
		if !open[j] {
			return false
		}
	}
	return true
}

func (ss *streams) count() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.open)
}

// closeAll ends every stream.
func (ss *streams) closeAll() {
	ss.mu.Lock()
	all := make([]*stream, 0, len(ss.open))
	for st := range ss.open {
		all = append(all, st)
	}
	ss.mu.Unlock()
	for _, st := range all {
		st.Close()
	}
}
