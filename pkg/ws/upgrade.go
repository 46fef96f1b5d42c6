package ws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	gobwas "github.com/gobwas/ws"
)

// Path is where clients connect (goim server_websocket.go).
const Path = "/sub"

// Upgrade is what a server may want to know of an accepted request. Origin and
// Cookie are "" if the request had none, Query if it had none or an empty one.
type Upgrade struct {
	Path, Query, Host, Origin, Cookie string
}

// Upgrader is the server's side of the opening handshake (RFC 6455 §4.2). It is
// not safe for concurrent use, since its scratch memory is used again: there is
// one per event loop.
type Upgrader struct {
	gobwas gobwas.Upgrader // its hooks write to what follows
	pipe   pipe            // what it reads from and writes to
	req    Upgrade
	seen   seen

	// What the last request brought: clients of one server mostly bring the
	// same, so that most handshakes need no string of their own.
	host, origin string
}

// seen has the headers that were there, of those that may be there once.
type seen struct{ host, origin, cookie bool }

// pipe gives gobwas the head to read and takes the answer it writes.
type pipe struct{ in, out []byte }

func (p *pipe) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

// NewUpgrader makes an Upgrader for one event loop.
func NewUpgrader() *Upgrader {
	u := new(Upgrader)
	u.gobwas.OnRequest = u.onRequest
	u.gobwas.OnHost = u.onHost
	u.gobwas.OnHeader = u.onHeader
	return u
}

// Upgrade reads a request head, as long as Head said, and appends the complete
// HTTP answer to dst: 101, or one that says what is wrong and what is allowed.
// With an error, which is an *UpgradeError, out must be sent and the connection
// closed. head is left as it is and not referred to afterwards. The answer is
// goim's (docs/protocol.md §3.1); unlike goim's, refusals have one too.
//
// It allocates once per request, in gobwas, and for a query, a cookie, and a
// host or origin other than the last one's.
func (u *Upgrader) Upgrade(dst, head []byte) (out []byte, req Upgrade, err error) {
	if refused := checkHead(head); refused != nil {
		return append(dst, refused.answer...), Upgrade{}, refused
	}
	u.req, u.seen = Upgrade{}, seen{}
	u.pipe = pipe{in: head, out: dst}
	_, err = u.gobwas.Upgrade(&u.pipe)
	out, req = u.pipe.out, u.req
	u.pipe, u.req = pipe{}, Upgrade{}
	if err != nil {
		refused := translate(err)
		return append(out[:len(dst)], refused.answer...), Upgrade{}, refused
	}
	return out, req, nil
}

func (u *Upgrader) onRequest(uri []byte) error {
	path, query, _ := bytes.Cut(uri, questionMark)
	if string(path) != Path {
		return errPath
	}
	u.req.Path, u.req.Query = Path, string(query)
	return nil
}

func (u *Upgrader) onHost(host []byte) error {
	if u.seen.host {
		return errHost
	}
	u.seen.host = true
	for _, c := range host {
		if !hostChars.has(c) {
			return errHost
		}
	}
	u.req.Host = keep(&u.host, host)
	return nil
}

// onHeader sees the headers that gobwas has no use for. name is in canonical
// form.
func (u *Upgrader) onHeader(name, value []byte) error {
	switch string(name) {
	case "Origin":
		if u.seen.origin {
			return errOrigin
		}
		u.seen.origin = true
		u.req.Origin = keep(&u.origin, value)
	case "Cookie":
		if u.seen.cookie {
			return errCookie
		}
		u.seen.cookie = true
		u.req.Cookie = string(value)
	case "Content-Length":
		if string(value) != "0" {
			return errBody
		}
	case "Transfer-Encoding":
		return errBody
	}
	return nil
}

// keep makes a string of b, or gives out the last one if it is the same.
func keep(last *string, b []byte) string {
	if *last != string(b) {
		*last = string(b)
	}
	return *last
}

var questionMark = []byte("?")

// refusals has our answer for each of gobwas's errors.
var refusals = []struct {
	from error
	to   *UpgradeError
}{
	{gobwas.ErrHandshakeBadProtocol, errVersion},
	{gobwas.ErrHandshakeBadMethod, errMethod},
	{gobwas.ErrHandshakeBadHost, errHost},
	{gobwas.ErrHandshakeBadUpgrade, errNoUpgrade},
	{gobwas.ErrHandshakeBadConnection, errConnection},
	{gobwas.ErrHandshakeBadSecKey, errKey},
	{gobwas.ErrHandshakeBadSecVersion, errNoVersion},
	{gobwas.ErrHandshakeUpgradeRequired, errWSVersion},
}

func translate(err error) *UpgradeError {
	if e := (*UpgradeError)(nil); errors.As(err, &e) {
		return e
	}
	for _, r := range refusals {
		if errors.Is(err, r.from) {
			return r.to
		}
	}
	return errRequest
}

// checkHead refuses what gobwas would let pass or answer with nothing: anything
// but the strict grammar, and repeated headers of which it would take the last.
func checkHead(head []byte) *UpgradeError {
	line, rest, ok := cutLine(head)
	if !ok {
		return errRequest
	}
	if err := checkRequestLine(line); err != nil {
		return err
	}
	var key, version bool
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return errLine
		}
		if len(line) == 0 {
			break
		}
		name, value, ok := cutField(line)
		switch {
		case !ok:
			return errLine
		case is(name, "sec-websocket-key"):
			if key || !validKey(value) {
				return errKey
			}
			key = true
		case is(name, "sec-websocket-version"):
			if version {
				return errNoVersion
			}
			version = true
		}
	}
	if len(rest) > 0 {
		return errRequest // longer than Head said
	}
	return nil
}

// checkRequestLine holds the first line to RFC 9112 §3: a token, a target of
// visible ASCII without a fragment, HTTP/1.1, with one space between.
func checkRequestLine(line []byte) *UpgradeError {
	method, rest, ok1 := bytes.Cut(line, space)
	target, version, ok2 := bytes.Cut(rest, space)
	if !ok1 || !ok2 || len(method) == 0 || len(target) == 0 {
		return errRequest
	}
	for _, c := range method {
		if !tokenChars.has(c) {
			return errRequest
		}
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return errRequest
		}
	}
	if string(version) == "HTTP/1.1" {
		return nil
	}
	if len(version) == len("HTTP/1.1") && string(version[:5]) == "HTTP/" && version[6] == '.' {
		return errVersion
	}
	return errRequest
}

var space = []byte(" ")

// keySize is 16 bytes in base64, RFC 6455 §4.1.
const keySize = 24

func validKey(value []byte) bool {
	var raw [18]byte
	if len(value) != keySize {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], value)
	return err == nil && n == 16
}
