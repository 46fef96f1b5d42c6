package gateway

import (
	"github.com/halley-im/halley/pkg/ws"
)

// closeReason is why a connection ended. Metrics label, log field and wire code
// all come from its row in closeTable.
type closeReason uint8

const (
	closePeer        closeReason = iota // the client closed, or the network did
	closeProtocol                       // bytes that are not the protocol
	closeHandshake                      // not authenticated in time
	closeAuth                           // refused by logic
	closeBackend                        // logic could not be asked
	closeReplaced                       // a newer connection has the same key
	closeHeartbeat                      // silent for too long
	closeSlow                           // reads slower than we push
	closeFlood                          // too much before an answer, or too many changes of room
	closeBudget                         // behind for longest when the node's backlog was over its budget
	closeFull                           // over the connection limit
	closeMemory                         // memory is short
	closeRate                           // more new connections per second than allowed
	closePerIP                          // more connections of one address than allowed
	closeDrain                          // this gateway is stopping
	closeTLS                            // the handshake failed, or bytes that are not TLS
	closePanic                          // our fault; this connection only
	closeUpgrade                        // the WebSocket upgrade was refused
	closeUnsupported                    // a WebSocket text message that is not a packet
	closeReasons
)

// closeTable has a row for every reason. code is the WebSocket close code (RFC
// 6455 §7.4.1 and the IANA registry); TCP has none and is just closed.
var closeTable = [closeReasons]struct {
	label string
	code  ws.StatusCode
	text  string
}{
	closePeer:        {"peer", 1000, ""},
	closeProtocol:    {"protocol", 1002, "protocol error"},
	closeHandshake:   {"handshake_timeout", 1008, "not authenticated in time"},
	closeAuth:        {"auth", 1008, "authentication refused"},
	closeBackend:     {"backend", 1013, "try again later"},
	closeReplaced:    {"replaced", 1008, "replaced by a newer connection"},
	closeHeartbeat:   {"heartbeat_timeout", 1001, "no heartbeat"},
	closeSlow:        {"slow", 1013, "reading too slowly"},
	closeFlood:       {"flood", 1008, "too many packets"},
	closeBudget:      {"backlog_budget", 1013, "reading too slowly"},
	closeFull:        {"full", 1013, "this node has as many connections as it takes"},
	closeMemory:      {"memory", 1013, "this node has no memory to spare"},
	closeRate:        {"rate", 1013, "too many new connections at once"},
	closePerIP:       {"per_ip", 1013, "too many connections from this address"},
	closeDrain:       {"drain", 1012, "restarting"},
	closeTLS:         {"tls", 1015, ""},
	closePanic:       {"panic", 1011, "internal error"},
	closeUpgrade:     {"upgrade", 1002, ""},
	closeUnsupported: {"unsupported", 1003, "text messages are JSON or packets that begin with byte 0x00, as the first one was"},
}

func (r closeReason) String() string { return closeTable[r].label }
