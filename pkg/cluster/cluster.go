package cluster

import "strings"

// Version is the version of every internal contract: leases, calls, delivery
// streams and queued messages carry it. Version N works together with N-1.
const Version = 1

// Epoch numbers the lives of one node id. It is the registry's clock in
// microseconds when that life began, and always greater than the one before:
// a route or a batch of an earlier life is recognised by it.
type Epoch uint64

// Stamp orders the registrations of one key. It is the registry's clock in
// microseconds when the route was stored, strictly increasing per key.
type Stamp uint64

// Role is what a leased process does.
type Role string

// Roles that hold leases.
const (
	RoleGateway Role = "gateway"
	RoleJob     Role = "job"
)

// Node is one leased process: what it announces about itself, once a second.
type Node struct {
	ID       string `json:"id"`
	Role     Role   `json:"role"`
	Epoch    Epoch  `json:"epoch"`
	Version  int    `json:"version"`
	Build    string `json:"build,omitempty"`
	Internal string `json:"internal"` // host:port of its internal listener

	// What clients need to reach a gateway.
	PublicHost string `json:"public_host,omitempty"`
	TCPPort    int    `json:"tcp_port,omitempty"`
	WSPort     int    `json:"ws_port,omitempty"`
	WSSPort    int    `json:"wss_port,omitempty"`

	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
	Env    string `json:"env,omitempty"`
	Weight int    `json:"weight,omitempty"`

	Conns    int64 `json:"conns"`               // authenticated sessions now
	IPs      int64 `json:"ips"`                 // distinct client addresses among them
	MaxConns int64 `json:"max_conns,omitempty"` // sessions it takes; 0: not said
	Full     bool  `json:"full,omitempty"`      // over one of its budgets: takes no new connections, keeps what it has
	Draining bool  `json:"draining"`            // takes no new connections, closes what it has
	Renewed  int64 `json:"renewed"`             // unix seconds of the last renewal, by the registry's clock
}

// Route says that key is connected to a node. It counts only while that epoch
// of that node holds its lease.
type Route struct {
	Key   string `json:"key"`             // scoped, see Scope
	Mid   string `json:"mid,omitempty"`   // scoped decimal user id; "" means none
	Node  string `json:"node"`            // gateway id
	Epoch Epoch  `json:"epoch"`           // of that gateway
	Stamp Stamp  `json:"stamp,omitempty"` // 0 asks the registry for a new one
}

// Registered is the registry's answer to one route.
type Registered struct {
	// Stamp the route is stored under; 0 when a newer route of the same key
	// stands and nothing was stored.
	Stamp Stamp
	// Displaced is the route of the same key that this one replaced; its Node
	// is "" when there was none.
	Displaced Route
}

// RoomCount is how many members a room has. In an announcement by a gateway a
// negative count says that the room has none left and is no longer wanted.
type RoomCount struct {
	Room  string `json:"room"` // scoped, see Scope
	Count int32  `json:"count"`
}

// scopeSep separates an app from a name. It cannot stand in either: both are
// checked where they enter (auth, rest).
const scopeSep = "\x1f"

// Scope puts a key, room or mid into the namespace of an app. The empty app is
// goim's and leaves the name as it is.
func Scope(app, name string) string {
	if app == "" {
		return name
	}
	return app + scopeSep + name
}

// Unscope splits what Scope joined.
func Unscope(scoped string) (app, name string) {
	if app, name, ok := strings.Cut(scoped, scopeSep); ok {
		return app, name
	}
	return "", scoped
}
