package gateway

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
)

const (
	// maxCasts bounds the pushes to all that are under way on a node; maxPaced
	// those among them that have a speed. Beyond, jobs are told to wait.
	maxCasts = 1024
	maxPaced = 16
	// itemCost is what a message takes in a mailbox beside its bytes.
	itemCost = 64
)

// delivery is a batch split over the loops of a node.
type delivery struct {
	srv    *Server
	loops  []loopDelivery // by loop index
	casts  int
	paced  int
	latest []push.ID // of this batch, the last one per log
	drops  drops     // counted when the batch is admitted
}

// drops are messages of a batch that have no receiver here, by reason.
type drops struct{ repeated, noMember, moved, expired, unresolved int }

// loopDelivery is the mail that brings one loop its part of a batch.
type loopDelivery struct {
	cost  int64 // reserved in the mailbox
	items []item
}

// item is one message for one loop: to a room, to some sessions or to all.
type item struct {
	msg      *message
	room     *nodeRoom
	sessions []sessionID
	cast     *castShare
	part     float64 // of the cast's rate
}

// split looks up which loops are concerned by items. Expired ones, repeats and
// those without a receiver here are counted and left out.
func (srv *Server) split(items []push.Message, p *partition) *delivery {
	d := &delivery{srv: srv, loops: make([]loopDelivery, len(srv.loops))}
	now := time.Now().UnixMicro()
	msgs := make([]message, len(items))
	for i := range items {
		in := &items[i]
		if p.repeated(in.ID) || d.repeated(in.ID) {
			d.drops.repeated++
			continue
		}
		if in.Expire != 0 && in.Expire < now {
			d.drops.expired++
			continue
		}
		msgs[i].op = in.Op
		d.add(&msgs[i], in)
	}
	return d
}

// repeated says that id came earlier in this batch, and notes it: a producer that
// repeats a call may put 1 2 1 2 on the queue.
func (d *delivery) repeated(id push.ID) bool {
	if id.Zero() {
		return false
	}
	for i := range d.latest {
		if last := &d.latest[i]; last.Spool == id.Spool {
			if id.Index < last.Index || id.Index == last.Index && id.Part <= last.Part {
				return true
			}
			*last = id
			return false
		}
	}
	d.latest = append(d.latest, id)
	return false
}

// encode makes the inner packet when the message is known to have a receiver.
func (m *message) encode(body []byte) {
	if m.inner == nil {
		m.inner = protocol.AppendPacket(make([]byte, 0, protocol.HeaderSize+len(body)),
			protocol.Packet{Ver: protocol.PushVer, Op: protocol.Op(m.op), Body: body})
	}
}

func (d *delivery) add(m *message, in *push.Message) {
	switch in.To.Kind {
	case push.Room:
		d.addRoom(m, in)
	case push.Keys:
		d.addKeys(m, in)
	case push.All:
		d.addAll(m, in)
	default:
		d.drops.unresolved++ // mids never travel on the queue
	}
}

func (d *delivery) addRoom(m *message, in *push.Message) {
	r := d.srv.interest.get(cluster.Scope(in.App, in.To.Room))
	if r == nil || r.loops.Load() == 0 {
		d.drops.noMember++
		return
	}
	m.room = r
	m.encode(in.Body)
	for set := r.loops.Load(); set != 0; set &= set - 1 {
		d.put(bits.TrailingZeros64(set), item{msg: m, room: r})
	}
}

func (d *delivery) addKeys(m *message, in *push.Message) {
	if in.To.Epoch != 0 && in.To.Epoch != uint64(d.srv.Epoch()) {
		d.drops.moved += len(in.To.Keys)
		return
	}
	var perLoop [maxLoops][]sessionID
	for _, key := range in.To.Keys {
		r := d.srv.directory.get(cluster.Scope(in.App, key))
		if r.loop == nil {
			d.drops.moved++
			continue
		}
		perLoop[r.loop.index] = append(perLoop[r.loop.index], r.id)
	}
	for i := range d.loops {
		if len(perLoop[i]) > 0 {
			m.encode(in.Body)
			d.put(i, item{msg: m, sessions: perLoop[i]})
		}
	}
}

func (d *delivery) addAll(m *message, in *push.Message) {
	m.encode(in.Body)
	share := &castShare{rate: in.To.Rate(d.srv.sessions.Load())}
	share.left.Store(int32(len(d.loops)))
	d.casts++
	if share.rate > 0 {
		d.paced++
	}
	parts := d.srv.parts()
	for i := range d.loops {
		d.put(i, item{msg: m, cast: share, part: parts[i]})
	}
}

// parts are the loops' shares of the node's connections; they add up to 1.
func (srv *Server) parts() []float64 {
	parts := make([]float64, len(srv.loops))
	var sum float64
	for i, l := range srv.loops {
		parts[i] = float64(l.conns.Load())
		sum += parts[i]
	}
	for i := range parts {
		if sum == 0 {
			parts[i] = 1 / float64(len(parts))
		} else {
			parts[i] /= sum
		}
	}
	return parts
}

func (d *delivery) put(loop int, it item) {
	ld := &d.loops[loop]
	ld.items = append(ld.items, it)
	ld.cost += int64(len(it.msg.inner) + itemCost)
}

// reserve takes room for all parts, or none and reports false.
func (d *delivery) reserve() bool {
	if !d.srv.casts.take(d.casts, d.paced) {
		return false
	}
	for i := range d.loops {
		if d.loops[i].cost > 0 && !d.srv.loops[i].mailbox.reserve(d.loops[i].cost) {
			for j := range i {
				d.srv.loops[j].mailbox.release(d.loops[j].cost)
			}
			d.srv.casts.put(d.casts, d.paced)
			return false
		}
	}
	return true
}

// post hands the parts to their loops. A loop that has no sessions refuses its
// part, which is then for nobody.
func (d *delivery) post() {
	m := d.srv.m
	m.repeats.Add(d.drops.repeated)
	m.noMember.Add(d.drops.noMember)
	m.moved.Add(d.drops.moved)
	m.expired.Add(d.drops.expired)
	m.unresolved.Add(d.drops.unresolved)
	for i := range d.loops {
		ld := &d.loops[i]
		if ld.cost > 0 && !d.srv.loops[i].mailbox.post(ld) {
			d.srv.loops[i].mailbox.release(ld.cost)
			ld.abandon(d.srv)
		}
	}
}

// abandon ends the casts of a part that no loop will run.
func (ld *loopDelivery) abandon(srv *Server) {
	for _, it := range ld.items {
		if it.cast != nil {
			it.cast.done(srv)
		}
	}
}

// run gives the items to rooms and sessions; settle writes them.
func (ld *loopDelivery) run(l *loop) {
	l.mailbox.release(ld.cost)
	for i := range ld.items {
		l.deliver(&ld.items[i])
	}
}

// deliver gives one item to its receivers; if that panics, the others still get
// theirs.
func (l *loop) deliver(it *item) {
	defer l.recovered(nil)
	switch {
	case it.room != nil:
		l.toRoom(it.room, it.msg)
	case it.cast != nil:
		l.addCast(it.cast, it.msg, it.part)
	default:
		for _, id := range it.sessions {
			l.toSession(id, it.msg)
		}
	}
}

// castLimit counts the pushes to all that are under way on a node.
type castLimit struct{ all, paced atomic.Int32 }

func (c *castLimit) take(all, paced int) bool {
	if all == 0 {
		return true
	}
	if c.all.Load() > 0 && c.all.Load()+int32(all) > maxCasts || paced > 0 && c.paced.Load() > 0 && c.paced.Load()+int32(paced) > maxPaced {
		return false
	}
	c.all.Add(int32(all))
	c.paced.Add(int32(paced))
	return true
}

func (c *castLimit) put(all, paced int) {
	c.all.Add(int32(-all))
	c.paced.Add(int32(-paced))
}
