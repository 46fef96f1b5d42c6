package ws

// Path is where clients connect (goim server_websocket.go).
const Path = "/sub"

// Options are what listeners differ in. The zero value takes every origin at
// Path and no extension.
type Options struct {
	// Origins are those whose pages may connect; CheckOrigins says what they may
	// be, and entries that it refuses allow nothing. None: all may. A request
	// without an Origin is not a browser's and always may.
	Origins []string
	// AnyPath takes every path, not only Path.
	AnyPath bool
	// Deflate takes offers of permessage-deflate (RFC 7692).
	Deflate bool
}

// Upgrade is what a server may want to know of an accepted request. Origin and
// Cookie are "" if the request had none, Query if it had none or an empty one.
type Upgrade struct {
	Path, Query, Host, Origin, Cookie string

	// Protocol is the subprotocol the client offered first; the answer chose it.
	// "" if it offered none.
	Protocol string
	// Deflate says that permessage-deflate was agreed on: messages may be
	// compressed in both directions, each on its own (no context takeover).
	Deflate bool
}

// Upgrader is the server's side of the opening handshake (RFC 6455 §4.2). It is
// not safe for concurrent use, since its scratch memory is used again: there is
// one per event loop.
type Upgrader struct {
	// Set by NewUpgrader, then read-only.
	anyPath bool
	deflate bool
	origins origins

	// What the last request brought: clients of one server mostly bring the
	// same, so that most handshakes need no string of their own.
	path, host, origin, protocol string
}

// NewUpgrader makes an Upgrader for one event loop.
func NewUpgrader(o Options) *Upgrader {
	return &Upgrader{anyPath: o.AnyPath, deflate: o.Deflate, origins: newOrigins(o.Origins)}
}

// Upgrade reads a request head, as long as Head said, and appends the complete
// HTTP answer to dst: 101, or one that says what is wrong and what is allowed.
// With an error, which is an *UpgradeError, out must be sent and the connection
// closed. head is left as it is and not referred to afterwards. To a request
// that offers nothing the answer is goim's (docs/protocol.md §3.1); unlike
// goim's, refusals have one too.
//
// Of several subprotocols the first is chosen, whatever it is: Chromium fails a
// connection whose offers are not answered, and goim's clients offer all sorts.
//
// It allocates for a query, a cookie, and a path, host, origin or subprotocol other
// than the last one's.
func (u *Upgrader) Upgrade(dst, head []byte) (out []byte, req Upgrade, err error) {
	var r clientRequest
	refused := r.read(head, u.anyPath)
	if refused == nil && r.origin != nil && !u.origins.allow(r.origin) {
		refused = errForbidden
	}
	if refused != nil {
		return append(dst, refused.answer...), Upgrade{}, refused
	}
	req = Upgrade{
		Path: keep(&u.path, r.path), Query: string(r.query), Host: keep(&u.host, r.host),
		Cookie: string(r.cookie), Deflate: u.deflate && r.deflate,
	}
	if r.origin != nil {
		req.Origin = keep(&u.origin, r.origin)
	}
	if r.protocol != nil {
		req.Protocol = keep(&u.protocol, r.protocol)
	}
	return u.appendAnswer(dst, &r), req, nil
}

// appendAnswer appends the 101, with what was chosen of the client's offers.
func (u *Upgrader) appendAnswer(dst []byte, r *clientRequest) []byte {
	accept := accept(r.key)
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(append(dst, accept[:]...), "\r\n"...)
	if r.protocol != nil {
		dst = append(append(append(dst, "Sec-WebSocket-Protocol: "...), r.protocol...), "\r\n"...)
	}
	if u.deflate && r.deflate {
		dst = append(dst, deflateAnswer...)
		if r.serverBits {
			dst = append(dst, "; server_max_window_bits=15"...)
		}
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// deflateAnswer promises that no message of ours refers to one before it, and
// demands the same (RFC 7692 §7.1.1): a window kept for each connection would cost
// 32 KiB and more of them. client_max_window_bits is never in it, which §7.1.2.2
// allows: we read every window.
const deflateAnswer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// keep makes a string of b, or gives out the last one if it is the same.
func keep(last *string, b []byte) string {
	if *last != string(b) {
		*last = string(b)
	}
	return *last
}

var questionMark = []byte("?")
