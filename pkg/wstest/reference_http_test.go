package wstest

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// readHead is nil if there is no head, with the status to refuse it.
func (p *peer) readHead() ([]byte, int) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) >= p.head {
			return nil, 431
		}
		b, err := p.r.ReadByte()
		if err != nil {
			return nil, 0
		}
		head = append(head, b)
		if head[0] < 'A' || head[0] > 'Z' || b == '\n' && (len(head) < 2 || head[len(head)-2] != '\r') {
			return nil, 400
		}
	}
	return head, 0
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

var (
	requestLine = regexp.MustCompile(`^(` + token + `) ([!-~]+) HTTP/(\d\.\d)$`)
	field       = regexp.MustCompile(`^(` + token + `):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*$`)
	hostValue   = regexp.MustCompile(`^[0-9A-Za-z.:\[\]-]+$`)
	keyValue    = regexp.MustCompile(`^[0-9A-Za-z+/]{22}==$`)
	element     = regexp.MustCompile(`^` + token + `([ \t]*;[ \t]*` + token + `([ \t]*=[ \t]*(` + token + `|"` + token + `"))?)*$`)
)

func (p *peer) handshake() bool {
	head, status := p.readHead()
	if head == nil {
		if status != 0 {
			p.refuse(status)
		}
		return false
	}
	lines := strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n")
	h := map[string][]string{}
	for _, line := range lines[1:] {
		m := field.FindStringSubmatch(line)
		if m == nil {
			return p.refuse(400)
		}
		name := strings.ToLower(m[1])
		h[name] = append(h[name], m[2])
	}
	if status := p.check(lines[0], h); status != 0 {
		return p.refuse(status)
	}
	if !p.negotiate(h["sec-websocket-extensions"]) {
		return p.refuse(400)
	}
	p.accept(h)
	return true
}

func (p *peer) check(line string, h map[string][]string) int {
	m := requestLine.FindStringSubmatch(line)
	one := func(name string, re *regexp.Regexp) bool { return len(h[name]) == 1 && re.MatchString(h[name][0]) }
	has := func(name, item string) bool {
		return slices.ContainsFunc(strings.Split(strings.Join(h[name], ","), ","), func(s string) bool {
			return strings.EqualFold(strings.Trim(s, " \t"), item)
		})
	}
	if m == nil {
		return 400
	}
	target := regexp.MustCompile(`^https?://[^/]+`).ReplaceAllString(m[2], "")
	path, _, _ := strings.Cut(target, "?")
	switch {
	case m[3] != "1.1":
		return 505
	case m[1] != "GET":
		return 405
	case path != "/echo":
		return 404
	case !one("host", hostValue) && !p.is("no host"), h["transfer-encoding"] != nil, len(h["content-length"]) > 1,
		h["content-length"] != nil && h["content-length"][0] != "0":
		return 400
	case !has("upgrade", "websocket") && !p.is("no upgrade"), !has("connection", "upgrade"):
		return 426
	case !one("sec-websocket-key", keyValue) && !p.is("any key"):
		return 400
	case !one("sec-websocket-version", regexp.MustCompile(`^13$`)) && !p.is("any version"):
		return 426
	}
	return 0
}

func (p *peer) refuse(status int) bool {
	version := "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
	if p.is("no version in 426") {
		version = ""
	}
	fmt.Fprintf(p.conn, "HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: 3\r\n%s\r\nno\n", status, version)
	return false
}

func (p *peer) accept(h map[string][]string) {
	key := append(h["sec-websocket-key"], "")[0]
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if p.is("wrong accept") {
		sum[0]++
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if p.is("body in 101") {
		answer += "Content-Length: 0\r\n"
	}
	if names := h["sec-websocket-protocol"]; names != nil {
		name, _, _ := strings.Cut(names[0], ",")
		if p.is("other subprotocol") {
			name = "mqtt"
		}
		if regexp.MustCompile(`^`+token+`$`).MatchString(name) || p.is("other subprotocol") {
			answer += "Sec-WebSocket-Protocol: " + name + "\r\n"
		}
	}
	if p.agreed != nil {
		answer += "Sec-WebSocket-Extensions: permessage-deflate"
		for name, value := range p.agreed {
			answer += "; " + name + strings.TrimSuffix("="+value, "=")
		}
		answer += "\r\n"
	}
	answer += "\r\n"
	_, _ = io.WriteString(p.conn, answer)
	if p.is("loses what came with the request") {
		_, _ = p.r.Discard(p.r.Buffered())
	}
}

// negotiate takes the first offer it can; false: the header is malformed.
func (p *peer) negotiate(values []string) bool {
	for _, e := range strings.Split(strings.Join(values, ","), ",") {
		e = strings.Trim(e, " \t")
		if e != "" && !element.MatchString(e) {
			return false
		}
		params := strings.Split(e, ";")
		if p.agreed != nil || !p.deflate || strings.TrimSpace(params[0]) != permessageDeflate {
			continue
		}
		p.agreed = p.choose(params[1:])
	}
	return true
}

// choose is nil if an offer must be declined.
func (p *peer) choose(params []string) map[string]string {
	seen, agreed := map[string]bool{}, map[string]string{}
	for _, s := range params {
		name, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(s), `"`, ""), "=")
		if seen[name] && !p.is("parameters twice") {
			return nil
		}
		seen[name] = true
		window := regexp.MustCompile(`^([89]|1[0-5])$`).MatchString(value)
		switch {
		case name == serverNoTakeover && value == "", name == clientNoTakeover && value == "":
			agreed[name] = ""
		case name == clientBits && (value == "" || window):
		case name == serverBits && value == "15":
			agreed[name] = "15"
		default:
			if !p.is("unknown parameters") {
				return nil
			}
		}
	}
	if p.is("forgets server_no_context_takeover") {
		delete(agreed, serverNoTakeover)
	}
	if p.is("adds client_max_window_bits") {
		agreed[clientBits] = "15"
	}
	return agreed
}
