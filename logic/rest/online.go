package rest

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/auth"
)

// topRoom is an element of goim's online/top.
type topRoom struct {
	RoomID string `json:"room_id"`
	Count  int32  `json:"count"`
}

func (a *API) goimOnlineTop(ctx *fasthttp.RequestCtx, query []byte) {
	var b binding
	var typ, limit first
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "type":
			typ.set(p.value)
		case "limit":
			limit.set(p.value)
		}
	}
	n := b.integer(limit.value, 64)
	b.require("Type", len(typ.value) > 0)
	b.require("Limit", n != 0)
	b.rule("Limit", "min", n >= 0) // goim panics
	if err := firstError(b.err(), prefixed("type", auth.CheckName(string(typ.value)))); err != nil {
		bindFailure(ctx, err)
		return
	}
	rooms, err := a.logic.TopRooms(ctx, "", string(typ.value), int(n))
	if err != nil { // goim does not say which; logic has counted it
		envelope(ctx, codeRequest, "", nil)
		return
	}
	top := make([]topRoom, len(rooms))
	for i, r := range rooms {
		id, _ := logic.RoomID(r.Room)
		top[i] = topRoom{id, r.Count}
	}
	envelope(ctx, codeOK, "", top)
}

func (a *API) goimOnlineRoom(ctx *fasthttp.RequestCtx, query []byte) {
	var b binding
	var typ first
	var rooms []string
	for p := (params{raw: query}); p.next(); {
		switch string(p.key) {
		case "type":
			typ.set(p.value)
		case "rooms":
			rooms = append(rooms, string(p.value))
		}
	}
	b.require("Type", len(typ.value) > 0)
	b.require("Rooms", len(rooms) > 0)
	names := make([]string, len(rooms))
	err := b.err()
	for i := range rooms {
		names[i] = roomName(string(typ.value), rooms[i])
		err = firstError(err, prefixed("rooms", auth.CheckName(names[i])))
	}
	if err != nil {
		bindFailure(ctx, err)
		return
	}
	counts, err := a.logic.RoomCounts(ctx, "", names)
	if err != nil {
		envelope(ctx, codeRequest, "", nil)
		return
	}
	data := make(map[string]int32, len(rooms))
	for i, room := range rooms {
		data[room] = counts[i]
	}
	envelope(ctx, codeOK, "", data)
}

// total is the data of goim's online/total, in the order of its map's keys.
type total struct {
	Conns int64 `json:"conn_count"`
	IPs   int64 `json:"ip_count"`
}

func (a *API) goimOnlineTotal(ctx *fasthttp.RequestCtx, _ []byte) {
	conns, ips := a.logic.Total()
	envelope(ctx, codeOK, "", total{conns, ips})
}

// weighted is goim's NodesReply: a protobuf struct through encoding/json, which
// leaves zero fields out (api/logic/logic.pb.go:661-668, 756-759).
type weighted struct {
	Domain       string   `json:"domain,omitempty"`
	TCPPort      int      `json:"tcp_port,omitempty"`
	WSPort       int      `json:"ws_port,omitempty"`
	WSSPort      int      `json:"wss_port,omitempty"`
	Heartbeat    int      `json:"heartbeat,omitempty"` // seconds
	Nodes        []string `json:"nodes,omitempty"`
	Backoff      *backoff `json:"backoff,omitempty"`
	HeartbeatMax int      `json:"heartbeat_max,omitempty"`
}

type backoff struct {
	MaxDelay  int     `json:"max_delay,omitempty"`
	BaseDelay int     `json:"base_delay,omitempty"`
	Factor    float64 `json:"factor,omitempty"`
	Jitter    float64 `json:"jitter,omitempty"`
}

func (a *API) goimNodesWeighted(ctx *fasthttp.RequestCtx, query []byte) {
	var platform first
	for p := (params{raw: query}); p.next(); {
		if string(p.key) == "platform" {
			platform.set(p.value)
		}
	}
	b := backoff(a.cfg.Backoff)
	w := weighted{
		Domain: a.cfg.Domain, Heartbeat: int(a.cfg.Heartbeat.Seconds()), HeartbeatMax: a.cfg.HeartbeatMax, Backoff: &b,
	}
	byName := string(platform.value) == "web" && a.cfg.HostDomain != ""
	for i, n := range a.logic.Weighted() {
		if i == 0 {
			w.TCPPort, w.WSPort, w.WSSPort = n.TCPPort, n.WSPort, n.WSSPort
		}
		if byName {
			w.Nodes = append(w.Nodes, n.ID+a.cfg.HostDomain)
		} else {
			w.Nodes = append(w.Nodes, n.PublicHost)
		}
	}
	if len(w.Nodes) == 0 && w.Domain != "" {
		w.Nodes = []string{w.Domain}
	}
	envelope(ctx, codeOK, "", w)
}

// instance is an instance of goim's discovery (bilibili/discovery naming.go:17-38).
type instance struct {
	Region   string            `json:"region"`
	Zone     string            `json:"zone"`
	Env      string            `json:"env"`
	AppID    string            `json:"appid"`
	Hostname string            `json:"hostname"`
	Addrs    []string          `json:"addrs"`
	Version  string            `json:"version"`
	Latest   int64             `json:"latest_timestamp"` // ns since 1970
	Metadata map[string]string `json:"metadata"`
}

// instances are the gateways as goim's tools know its comets; nil when there are
// none.
func (a *API) instances() []instance {
	var all []instance
	for _, n := range a.logic.Gateways() {
		all = append(all, instance{
			Region: n.Region, Zone: n.Zone, Env: n.Env, AppID: "goim.comet", Hostname: n.ID,
			Addrs: []string{"grpc://" + n.Internal}, Version: n.Build, Latest: n.Renewed * 1e9,
			Metadata: map[string]string{
				"addrs":      n.PublicHost,
				"conn_count": strconv.FormatInt(n.Conns, 10),
				"ip_count":   strconv.FormatInt(n.IPs, 10),
				"offline":    strconv.FormatBool(n.Draining),
				"weight":     strconv.Itoa(n.Weight),
			},
		})
	}
	return all
}

func (a *API) goimNodesInstances(ctx *fasthttp.RequestCtx, _ []byte) {
	envelope(ctx, codeOK, "", a.instances())
}
