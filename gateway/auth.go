package gateway

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/rpc"
)

// registrar asks logic who new clients are and tells it who has left. Both are
// batched; neither is ever waited for on a loop.
type registrar struct {
	srv     *Server
	joining *batcher[joining]
	leaving *batcher[cluster.Route]
	ctx     context.Context // of the calls; set by run, before the first call
}

// joining is a client that waits for logic.
type joining struct {
	loop *loop
	id   sessionID
	req  rpc.ConnectRequest
}

const (
	maxJoining = 1 << 16 // clients that wait for logic; more are told to come back
	maxLeaving = 1 << 20 // routes still to be removed; the lease's end removes the rest
	callTime   = 4 * time.Second
)

func newRegistrar(srv *Server) *registrar {
	r := &registrar{srv: srv}
	r.joining = newBatcher(maxJoining, r.connect)
	r.leaving = newBatcher(maxLeaving, r.disconnect)
	return r
}

// connect is one call for a batch of clients.
func (r *registrar) connect(batch []joining) {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	req := rpc.ConnectBatch{Version: cluster.Version, Node: r.srv.cfg.ID, Epoch: r.srv.Epoch()}
	for _, j := range batch {
		req.Clients = append(req.Clients, j.req)
	}
	replies, err := r.srv.backend.Connect(ctx, req)
	if err == nil && len(replies) != len(batch) {
		panic("BUG: logic answered " + strconv.Itoa(len(replies)) + " of " + strconv.Itoa(len(batch)) + " clients")
	}
	if err != nil {
		r.srv.m.backendErrors.Inc()
		r.srv.warn("connect clients", err)
		for _, j := range batch {
			j.loop.mailbox.post(unreachable{j.id})
		}
		return
	}
	for i, j := range batch {
		if m := (&connected{j.id, replies[i]}); !j.loop.mailbox.post(m) {
			m.abandon(r.srv)
		}
	}
}

// disconnect removes routes, trying again until logic has done it or the gateway
// has no time left.
func (r *registrar) disconnect(batch []cluster.Route) {
	for wait := 50 * time.Millisecond; r.ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		ctx, cancel := context.WithTimeout(r.ctx, callTime)
		err := r.srv.backend.Disconnect(ctx, batch)
		cancel()
		if err == nil {
			return
		}
		r.srv.m.backendErrors.Inc()
		r.srv.warn("disconnect clients", err)
		select {
		case <-r.ctx.Done():
		case <-time.After(wait):
		}
	}
	r.srv.m.routesLeft.Add(len(batch))
}

// settled says that every route that was to be removed has been.
func (r *registrar) settled() bool { return r.leaving.idle() }

// authenticate sends the token of op 7 to logic. What the client sends meanwhile
// is held back.
func (l *loop) authenticate(s *session, p protocol.Packet) {
	s.state = stateConnecting
	x := l.sideOf(s)
	x.waiting = l.welcome(s, p)
	req := rpc.ConnectRequest{Token: bytes.Clone(p.Body), Cookie: x.cookie, IP: s.addr().String(), IM: s.form.isIM()}
	x.cookie = ""
	if !l.srv.registrar.joining.add(joining{l, s.id(), req}) {
		l.closeReading(s, closeBackend)
	}
}

// welcome is the answer to op 7.
func (l *loop) welcome(s *session, p protocol.Packet) *reply {
	r := &reply{op: protocol.OpAuthReply, ver: p.Ver, seq: p.Seq}
	if s.form.isIM() {
		r.body = imWelcome
	}
	return r
}

// unreachable is the mail that says: logic could not be asked.
type unreachable struct{ id sessionID }

func (m unreachable) run(l *loop) {
	if s := l.table.get(m.id); s != nil && s.state == stateConnecting {
		l.close(s, closeBackend)
	}
}

// connected is logic's answer to one client.
type connected struct {
	id sessionID
	rpc.ConnectReply
}

func (m *connected) run(l *loop) {
	s := l.table.get(m.id)
	if s == nil || s.state != stateConnecting {
		m.abandon(l.srv)
		return
	}
	switch {
	case m.Error != "":
		l.srv.log.Debug("client refused", "ip", s.addr(), "err", m.Error)
		l.close(s, closeAuth)
	case m.Stamp == 0:
		l.close(s, closeReplaced) // a newer connection of this key stands
	default:
		l.admit(s, m)
	}
}

// abandon removes the route of a client that has left before it had arrived.
func (m *connected) abandon(srv *Server) {
	if m.Error == "" && m.Stamp != 0 {
		srv.registrar.leave(m.route(srv))
	}
}

func (m *connected) route(srv *Server) cluster.Route {
	return cluster.Route{
		Key: cluster.Scope(m.App, m.Key), Mid: scopedMid(m.App, m.Mid),
		Node: srv.cfg.ID, Epoch: srv.Epoch(), Stamp: m.Stamp,
	}
}

// scopedMid is the registry's name of a user; ids below 1 mean none, as with goim.
func scopedMid(app string, mid int64) string {
	if mid <= 0 {
		return ""
	}
	return cluster.Scope(app, strconv.FormatInt(mid, 10))
}

// admit makes s the holder of its key and puts it into its room. Op 8 is sent
// when messages to both reach it.
func (l *loop) admit(s *session, m *connected) {
	route := m.route(l.srv)
	me := ref{l, s.id(), m.Stamp}
	h, loser := l.srv.directory.put(route.Key, route.Mid, me)
	s.handle, s.accepts = h, l.opSets.hold(m.Accepts)
	if m.Hints {
		s.mark(flagHints)
	}
	l.srv.sessions.Add(1)
	switch {
	case loser == me:
		l.close(s, closeReplaced)
		return
	case loser.loop != nil:
		loser.loop.mailbox.post(replaced{loser.id})
	}
	s.state, s.active = stateWelcoming, l.now
	if m.Room == "" || l.join(s, cluster.Scope(m.App, m.Room)) {
		l.joined(s)
	}
}

// replaced is the mail that ends a session whose key a newer one has taken.
type replaced struct{ id sessionID }

func (m replaced) run(l *loop) {
	if s := l.table.get(m.id); s != nil {
		l.close(s, closeReplaced)
	}
}

// leave has a route removed.
func (r *registrar) leave(route cluster.Route) {
	if !r.leaving.add(route) {
		r.srv.m.routesLeft.Inc()
	}
}
