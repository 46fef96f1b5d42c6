package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

const (
	pathDeliver = "/internal/deliver"
	upgradeName = "halley-delivery"
	headerHello = "X-Halley-Hello" // push.Hello as JSON
	openTime    = 3 * time.Second
)

// Deliverer is a gateway as a delivery stream needs it; see job.Sender.Open.
type Deliverer interface {
	Open(ctx context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error)
}

// Open implements job.Sender: it opens a delivery stream to the gateway n.
//
// GET /internal/deliver with "Upgrade: halley-delivery" and the hello in a
// header is answered with 101; then frames go both ways. The gateway's first
// frame is a refusal or already an announcement.
func (c *GatewayClient) Open(ctx context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.Internal)
	if err != nil {
		return nil, fmt.Errorf("open stream to %s: %w", n.ID, err)
	}
	st := &clientStream{newLink(conn), r}
	stop := context.AfterFunc(ctx, func() { st.end(ctx.Err()) })
	typ, payload, err := st.open(c.secret, n, h)
	if !stop() { // the time was up; what else was reported follows from that
		err = ctx.Err()
	}
	if err != nil {
		st.end(err)
		return nil, fmt.Errorf("open stream to %s: %w", n.ID, err)
	}
	go st.write() // ends with the link
	go func() {   // ends with the link
		if err := st.handle(typ, payload); err != nil {
			st.end(err)
		}
		st.read(st.handle)
		r.Closed(st.reason())
	}()
	return st, nil
}

// clientStream is the job's end.
type clientStream struct {
	*link
	receiver push.Receiver
}

// open does the HTTP part and returns the first frame.
func (s *clientStream) open(secret string, n cluster.Node, h push.Hello) (typ byte, payload []byte, err error) {
	hello, err := json.Marshal(h)
	if err != nil {
		return 0, nil, err
	}
	_, err = fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nAuthorization: %s\r\n%s: %s\r\n\r\n",
		pathDeliver, n.Internal, upgradeName, bearer(secret), headerHello, hello)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(s.br, nil)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return 0, nil, fmt.Errorf("status %s", resp.Status)
	}
	typ, payload, err = s.readFrame()
	if err == nil && typ == frameRefusal {
		err = fmt.Errorf("refused: %.200s", payload)
	}
	return typ, payload, err
}

// Deliver implements push.Stream.
func (s *clientStream) Deliver(b *push.Batch) error {
	return s.send(frameBatch, func(dst []byte) []byte { return appendBatch(dst, b) })
}

// Confirm implements push.Stream.
func (s *clientStream) Confirm(seq uint64) error {
	return s.send(frameConfirm, func(dst []byte) []byte { return protowire.AppendVarint(dst, seq) })
}

// Counts implements push.Stream.
func (s *clientStream) Counts(rooms []cluster.RoomCount) error {
	return s.send(frameCounts, func(dst []byte) []byte { return appendRooms(dst, rooms) })
}

// Close implements push.Stream.
func (s *clientStream) Close() { s.end(errClosed) }

func (s *clientStream) handle(typ byte, payload []byte) error {
	switch typ {
	case frameAck:
		a, err := parseAck(payload)
		if err != nil {
			return err
		}
		s.receiver.Ack(a)
	case frameInterest:
		i, err := parseInterest(payload)
		if err != nil {
			return err
		}
		s.receiver.Interest(i)
	}
	return nil // types of a later version are ignored
}

// deliverHandler answers the upgrade on the gateway.
func deliverHandler(base context.Context, g Deliverer, log *slog.Logger) fasthttp.RequestHandler {
	return func(rc *fasthttp.RequestCtx) {
		if string(rc.Request.Header.Peek(fasthttp.HeaderUpgrade)) != upgradeName {
			rc.Error("want Upgrade: "+upgradeName+"\n", fasthttp.StatusUpgradeRequired)
			return
		}
		var h push.Hello
		if err := json.Unmarshal(rc.Request.Header.Peek(headerHello), &h); err != nil {
			rc.Error(headerHello+": "+err.Error()+"\n", fasthttp.StatusBadRequest)
			return
		}
		rc.SetStatusCode(fasthttp.StatusSwitchingProtocols)
		rc.Response.Header.Set(fasthttp.HeaderConnection, "Upgrade")
		rc.Response.Header.Set(fasthttp.HeaderUpgrade, upgradeName)
		rc.Hijack(func(conn net.Conn) { serveStream(base, conn, g, h, log) })
	}
}

// serveStream is the gateway's end: it returns when the stream has ended.
func serveStream(base context.Context, conn net.Conn, g Deliverer, h push.Hello, log *slog.Logger) {
	l := newLink(conn)
	defer func() {
		// Nobody else recovers here: the HTTP handler has returned long ago.
		if p := recover(); p != nil {
			log.Error("panic on a delivery stream", "job", h.Job, "err", p, "stack", string(debug.Stack()))
		}
		l.end(errClosed)
	}()
	stop := context.AfterFunc(base, func() { l.end(context.Cause(base)) })
	defer stop()

	st, err := g.Open(base, cluster.Node{}, h, gatewayPeer{l})
	if err != nil {
		// The link ends either way; what cannot be written need not be known.
		_, _ = conn.Write(appendFrame(nil, frameRefusal, func(dst []byte) []byte { return append(dst, err.Error()...) }))
		return
	}
	var writer sync.WaitGroup
	writer.Go(l.write)
	l.read(func(typ byte, payload []byte) error { return handleAtGateway(st, typ, payload) })
	st.Close()
	writer.Wait()
}

// gatewayPeer sends the gateway's answers. It never blocks; when the link has
// ended, the reader notices and closes the stream.
type gatewayPeer struct{ *link }

// Ack implements push.Receiver.
func (p gatewayPeer) Ack(a push.Ack) {
	_ = p.send(frameAck, func(dst []byte) []byte { return appendAck(dst, a) })
}

// Interest implements push.Receiver.
func (p gatewayPeer) Interest(i push.Interest) {
	_ = p.send(frameInterest, func(dst []byte) []byte { return appendInterest(dst, i) })
}

// Closed implements push.Receiver: the gateway has closed the stream.
func (p gatewayPeer) Closed(error) { p.end(errClosed) }

func handleAtGateway(st push.Stream, typ byte, payload []byte) error {
	switch typ {
	case frameBatch:
		b, err := parseBatch(payload)
		if err != nil {
			return err
		}
		return st.Deliver(b)
	case frameConfirm:
		r := reader{src: payload}
		seq := r.varint()
		if r.bad {
			return errFrame
		}
		return st.Confirm(seq)
	case frameCounts:
		r := reader{src: payload}
		rooms := r.rooms()
		if r.bad {
			return errFrame
		}
		return st.Counts(rooms)
	}
	return nil // types of a later version are ignored
}
