package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/auth"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/push"
)

// Answers of im-cloud (apps/logic/app/Api/BaseController.php:19-55).
const (
	imType     = "application/json;charset=utf-8"
	imPushed   = `{"msg":"","data":["ok"],"code":0}`
	imMissing  = "缺少参数" // a parameter is missing
	imNotFound = `{"code":0,"msg":"not found that action"}`
	imMethod   = `{"code":0,"msg":"not support this method"}`
)

// imEndpoint is im-cloud's routing table (apps/logic/config/router.php:8-40).
func imEndpoint(path []byte) endpoint {
	switch string(path) {
	case "/im/push/keys":
		return endpoint{fasthttp.MethodPost, (*API).imPushKeys}
	case "/im/push/mids":
		return endpoint{fasthttp.MethodPost, (*API).imPushMids}
	case "/im/push/room":
		return endpoint{fasthttp.MethodPost, (*API).imPushRoom}
	case "/im/push/all":
		return endpoint{fasthttp.MethodPost, (*API).imPushAll}
	case "/im/online/top":
		return endpoint{fasthttp.MethodGet, (*API).imOnlineTop}
	case "/im/online/room":
		return endpoint{fasthttp.MethodGet, (*API).imOnlineRoom}
	case "/im/online/total":
		return endpoint{fasthttp.MethodGet, (*API).imOnlineTotal}
	case "/im/nodes/instances":
		return endpoint{fasthttp.MethodGet, (*API).imNodesInstances}
	case "/health":
		return endpoint{fasthttp.MethodGet, (*API).imHealth}
	default:
		return endpoint{}
	}
}

// serveIM routes as im-cloud's FastRoute does: HEAD is GET, nothing is redirected.
func (a *API) serveIM(ctx *fasthttp.RequestCtx, path, query []byte) {
	method := string(ctx.Method())
	if method == fasthttp.MethodHead {
		method = fasthttp.MethodGet
	}
	ctx.SetContentType(imType)
	switch e := imEndpoint(path); {
	case e.serve == nil:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		ctx.SetBodyString(imNotFound)
	case e.method != method:
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		ctx.SetBodyString(imMethod)
	default:
		e.serve(a, ctx, query)
	}
}

// imError answers what is wrong; the status is whatever is set, 200 for bad
// parameters.
func imError(ctx *fasthttp.RequestCtx, message string) {
	body := append([]byte(`{"msg":`), appendPHP(nil, message)...)
	ctx.SetContentType(imType)
	ctx.SetBody(append(body, `,"data":[],"code":1}`...))
}

// imData answers a question; data is JSON.
func imData(ctx *fasthttp.RequestCtx, data []byte) {
	body := append([]byte(`{"msg":"","data":`), data...)
	ctx.SetBody(append(body, `,"code":0}`...))
}

// imInput reads the parameters and sees that none of those named is missing; if
// it returns nil, the request was answered.
func (a *API) imInput(ctx *fasthttp.RequestCtx, query []byte, needed ...string) phpInput {
	in, err := readInput(ctx, query)
	if err != nil {
		imError(ctx, err.Error())
		return nil
	}
	for _, name := range needed {
		if !in.has(name) {
			imError(ctx, imMissing)
			return nil
		}
	}
	return in
}

func (a *API) imPushKeys(ctx *fasthttp.RequestCtx, query []byte) {
	in := a.imInput(ctx, query, "keys", "msg")
	if in == nil {
		return
	}
	keys := in["keys"].all()
	for _, k := range keys {
		if err := auth.CheckName(k); err != nil {
			imError(ctx, fmt.Sprintf("keys: %v", err))
			return
		}
	}
	a.imPush(ctx, in, push.Target{Kind: push.Keys, Keys: keys})
}

func (a *API) imPushMids(ctx *fasthttp.RequestCtx, query []byte) {
	in := a.imInput(ctx, query, "mids", "msg")
	if in == nil {
		return
	}
	t := push.Target{Kind: push.Mids}
	for _, s := range in["mids"].all() {
		mid, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			imError(ctx, fmt.Sprintf("mids: %q is no integer of 64 bits", s))
			return
		}
		t.Mids = append(t.Mids, mid)
	}
	a.imPush(ctx, in, t)
}

func (a *API) imPushRoom(ctx *fasthttp.RequestCtx, query []byte) {
	in := a.imInput(ctx, query, "room", "type", "msg")
	if in == nil {
		return
	}
	room := imRoom(in.text("type"), in.text("room"))
	if err := auth.CheckName(room); err != nil {
		imError(ctx, fmt.Sprintf("room: %v", err))
		return
	}
	a.imPush(ctx, in, push.Target{Kind: push.Room, Room: room})
}

// imRoom is a room id. im-cloud's documents write the type as "live://", which
// its code makes live://://1000 of; both forms mean live://1000 here.
func imRoom(typ, room string) string { return roomName(strings.TrimSuffix(typ, "://"), room) }

func (a *API) imPushAll(ctx *fasthttp.RequestCtx, query []byte) {
	if in := a.imInput(ctx, query, "msg"); in != nil {
		a.imPush(ctx, in, push.Target{Kind: push.All})
	}
}

// imPush takes a push over. The operation is always Raw, whatever the caller asks
// for (im-cloud since 2.0.0), and the answer never waits for the queue.
func (a *API) imPush(ctx *fasthttp.RequestCtx, in phpInput, t push.Target) {
	msg := []byte(in.text("msg"))
	if err := a.checkBody(len(msg)); err != nil {
		a.tooLarge(ctx, dialectIM, err)
		return
	}
	err := a.accept(ctx, push.Message{Op: int32(protocol.OpRaw), To: t, Body: msg}, false)
	var refused errPush
	switch {
	case err == nil:
		ctx.SetBodyString(imPushed)
	case errors.As(err, &refused):
		imError(ctx, err.Error())
	default:
		setBusy(ctx)
		imError(ctx, err.Error())
	}
}

func (a *API) imOnlineTop(ctx *fasthttp.RequestCtx, query []byte) {
	in := a.imInput(ctx, query, "type", "limit")
	if in == nil {
		return
	}
	limit, err := strconv.Atoi(in.text("limit"))
	if err != nil || limit < 1 {
		imError(ctx, fmt.Sprintf("limit: %q is no integer above 0", in.text("limit")))
		return
	}
	prefix := in.text("type")
	if err := auth.CheckName(prefix); err != nil {
		imError(ctx, fmt.Sprintf("type: %v", err))
		return
	}
	rooms, err := a.logic.TopRooms(ctx, "", prefix, limit)
	if err != nil {
		imUnavailable(ctx)
		return
	}
	data := []byte{'['}
	for i, r := range rooms {
		if i > 0 {
			data = append(data, ',')
		}
		id, _ := logic.RoomID(r.Room)
		data = appendPHP(append(data, `{"roomId":`...), id)
		data = strconv.AppendInt(append(data, `,"count":`...), int64(r.Count), 10)
		data = append(data, '}')
	}
	imData(ctx, append(data, ']'))
}

func (a *API) imOnlineRoom(ctx *fasthttp.RequestCtx, query []byte) {
	in := a.imInput(ctx, query, "type", "rooms")
	if in == nil {
		return
	}
	var asked, names []string // each room once, in the caller's order
	seen := map[string]bool{}
	for _, room := range in["rooms"].all() {
		name := imRoom(in.text("type"), room)
		if err := auth.CheckName(name); err != nil {
			imError(ctx, fmt.Sprintf("rooms: %v", err))
			return
		}
		if !seen[room] {
			seen[room] = true
			asked, names = append(asked, room), append(names, name)
		}
	}
	counts, err := a.logic.RoomCounts(ctx, "", names)
	if err != nil {
		imUnavailable(ctx)
		return
	}
	data := []byte{'{'}
	for i, room := range asked {
		if i > 0 {
			data = append(data, ',')
		}
		data = strconv.AppendInt(append(appendPHP(data, room), ':'), int64(counts[i]), 10)
	}
	imData(ctx, append(data, '}'))
}

// imUnavailable answers a question while the registry is away.
func imUnavailable(ctx *fasthttp.RequestCtx) {
	setBusy(ctx)
	imError(ctx, "the registry does not answer")
}

func (a *API) imOnlineTotal(ctx *fasthttp.RequestCtx, _ []byte) {
	conns, ips := a.logic.Total()
	imData(ctx, fmt.Appendf(nil, `{"conn_count":%d,"ip_count":%d}`, conns, ips))
}

func (a *API) imNodesInstances(ctx *fasthttp.RequestCtx, _ []byte) {
	all := a.instances()
	if all == nil {
		all = []instance{} // PHP's empty array
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic("BUG: an answer that JSON cannot hold: " + err.Error())
	}
	imData(ctx, data)
}

func (a *API) imHealth(ctx *fasthttp.RequestCtx, _ []byte) { ctx.SetBodyString("ok") }
