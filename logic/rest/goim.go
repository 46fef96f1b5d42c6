package rest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/auth"
	"github.com/halley-im/halley/pkg/push"
)

// goimEndpoint is goim's routing table (internal/logic/http/server.go:33-44).
func goimEndpoint(path []byte) endpoint {
	switch string(path) {
	case "/goim/push/keys":
		return endpoint{fasthttp.MethodPost, (*API).goimPushKeys}
	case "/goim/push/mids":
		return endpoint{fasthttp.MethodPost, (*API).goimPushMids}
	case "/goim/push/room":
		return endpoint{fasthttp.MethodPost, (*API).goimPushRoom}
	case "/goim/push/all":
		return endpoint{fasthttp.MethodPost, (*API).goimPushAll}
	case "/goim/online/top":
		return endpoint{fasthttp.MethodGet, (*API).goimOnlineTop}
	case "/goim/online/room":
		return endpoint{fasthttp.MethodGet, (*API).goimOnlineRoom}
	case "/goim/online/total":
		return endpoint{fasthttp.MethodGet, (*API).goimOnlineTotal}
	case "/goim/nodes/weighted":
		return endpoint{fasthttp.MethodGet, (*API).goimNodesWeighted}
	case "/goim/nodes/instances":
		return endpoint{fasthttp.MethodGet, (*API).goimNodesInstances}
	default:
		return endpoint{}
	}
}

// serveGoim routes as gin does: another method is another path, and one slash too
// many is redirected.
func (a *API) serveGoim(ctx *fasthttp.RequestCtx, path, query []byte) {
	method := string(ctx.Method())
	if e := goimEndpoint(path); e.method == method {
		e.serve(a, ctx, query)
		return
	}
	if trimmed, slash := bytes.CutSuffix(path, []byte("/")); slash && goimEndpoint(trimmed).method == method {
		redirect(ctx, string(trimmed))
		return
	}
	notFound(ctx)
}

func (a *API) goimPushKeys(ctx *fasthttp.RequestCtx, query []byte) {
	var b binding
	var op, ack first
	var keys []string
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "operation":
			op.set(p.value)
		case "keys":
			keys = append(keys, string(p.value))
		case "ack":
			ack.set(p.value)
		}
	}
	m := push.Message{Op: int32(b.integer(op.value, 32)), To: push.Target{Kind: push.Keys, Keys: keys}}
	if err := b.err(); err != nil {
		bindFailure(ctx, err)
		return
	}
	if len(keys) == 0 { // goim: Redis refuses an MGET of nothing
		envelope(ctx, codeRequest, "", nil)
		return
	}
	for _, k := range keys {
		if err := auth.CheckName(k); err != nil {
			bindFailure(ctx, fmt.Errorf("keys: %w", err))
			return
		}
	}
	a.goimPush(ctx, m, ack)
}

func (a *API) goimPushMids(ctx *fasthttp.RequestCtx, query []byte) {
	var b, ofMids binding // operation is converted before mids, wherever it stands
	var op, ack first
	var mids []int64
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "operation":
			op.set(p.value)
		case "mids":
			mids = append(mids, ofMids.integer(p.value, 64))
		case "ack":
			ack.set(p.value)
		}
	}
	m := push.Message{Op: int32(b.integer(op.value, 32)), To: push.Target{Kind: push.Mids, Mids: mids}}
	if err := firstError(b.err(), ofMids.err()); err != nil {
		bindFailure(ctx, err)
		return
	}
	a.goimPush(ctx, m, ack)
}

func (a *API) goimPushRoom(ctx *fasthttp.RequestCtx, query []byte) {
	var b binding
	var op, typ, room, ack first
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "operation":
			op.set(p.value)
		case "type":
			typ.set(p.value)
		case "room":
			room.set(p.value)
		case "ack":
			ack.set(p.value)
		}
	}
	m := push.Message{Op: int32(b.integer(op.value, 32)), To: push.Target{Kind: push.Room}}
	b.require("Op", m.Op != 0)
	b.require("Type", len(typ.value) > 0)
	b.require("Room", len(room.value) > 0)
	m.To.Room = roomName(typ.value, room.value)
	if err := firstError(b.err(), prefixed("room", auth.CheckName(m.To.Room))); err != nil {
		bindFailure(ctx, err)
		return
	}
	a.goimPush(ctx, m, ack)
}

func (a *API) goimPushAll(ctx *fasthttp.RequestCtx, query []byte) {
	var b binding
	var op, speed, ack first
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "operation":
			op.set(p.value)
		case "speed":
			speed.set(p.value)
		case "ack":
			ack.set(p.value)
		}
	}
	m := push.Message{Op: int32(b.integer(op.value, 32)), To: push.Target{Kind: push.All, Speed: int32(b.integer(speed.value, 32))}}
	b.require("Op", m.Op != 0)
	if err := b.err(); err != nil {
		bindFailure(ctx, err)
		return
	}
	a.goimPush(ctx, m, ack)
}

// goimPush takes a push over; its body is the request's, whatever its type.
func (a *API) goimPush(ctx *fasthttp.RequestCtx, m push.Message, ack first) {
	queued, err := parseAck(string(ack.value), a.cfg.GoimAck)
	if err != nil {
		bindFailure(ctx, err)
		return
	}
	body := ctx.PostBody()
	if err := a.checkBody(len(body)); err != nil {
		a.tooLarge(ctx, dialectGoim, err)
		return
	}
	m.Body = append([]byte(nil), body...) // fasthttp uses the buffer again
	err = a.accept(ctx, m, queued)
	var refused errPush
	switch {
	case err == nil:
		success(ctx)
	case errors.As(err, &refused):
		bindFailure(ctx, err)
	case logic.Busy(err):
		setBusy(ctx)
		envelope(ctx, codeServer, err.Error(), nil)
	default:
		setState(ctx, err)
		envelope(ctx, codeServer, err.Error(), nil)
	}
}

// first is a parameter of which the first occurrence counts.
type first struct {
	value []byte
	seen  bool
}

func (f *first) set(value []byte) {
	if !f.seen {
		f.value, f.seen = value, true
	}
}

// roomName is goim's room id (internal/logic/model/room.go:9).
func roomName[T []byte | string](typ, room T) string { return string(typ) + "://" + string(room) }

func prefixed(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

// firstError is the first that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
