package wstest

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// request is the opening request of a case: the correct one of RFC 6455 §4.1,
// with changes.
type request struct {
	// edits are pairs: the beginning of a line, and what replaces the line. ""
	// as the beginning puts a line behind the others, "" as the replacement
	// takes the line away.
	edits []string
	offer string // of extensions; "": none
	body  string
	fill  fill
	split split

	bareLF bool   // every line ends in LF alone
	only   string // this and nothing else
}

// fill makes the head longer with a header.
type fill int

const (
	noFill      fill = iota
	fillExact        // as long as Target.Head
	fillBeyond       // one byte longer
	fillLine         // one line of 256 KiB
	fillLines        // lines of 1 KiB, 256 of them
	fillURI          // a query of 256 KiB
	fillEndless      // 256 KiB of a line that does not end
)

const testKey = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 §1.3

// bytes makes the request; "{path}" in an edit is the target's.
func (r *request) bytes(target *Target) []byte {
	if r.only != "" {
		return []byte(r.only)
	}
	lines := []string{"GET {path} HTTP/1.1", "Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + testKey, "Sec-WebSocket-Version: 13"}
	if r.offer != "" {
		lines = append(lines, "Sec-WebSocket-Extensions: "+r.offer)
	}
	for i := 0; i < len(r.edits); i += 2 {
		from, to := r.edits[i], r.edits[i+1]
		if from == "" {
			lines = append(lines, to)
			continue
		}
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, from) })
		if at < 0 {
			panic(fmt.Sprintf("BUG: no line %q in the request", from))
		}
		if lines[at] = to; to == "" {
			lines = slices.Delete(lines, at, at+1)
		}
	}
	head := strings.ReplaceAll(strings.Join(lines, "\r\n"), "{path}", target.Path) + "\r\n"
	head = r.filled(head, target)
	if r.bareLF {
		head = strings.ReplaceAll(head, "\r\n", "\n")
	}
	return []byte(head + r.body)
}

// filled is head with its filling and the blank line.
func (r *request) filled(head string, target *Target) string {
	const long, name, end = 256 << 10, "X-Fill: ", "\r\n"
	switch r.fill {
	case fillExact, fillBeyond:
		n := target.Head - len(head) - len(name+end+end)
		if r.fill == fillBeyond {
			n++
		}
		head += name + strings.Repeat("x", n) + end
	case fillLine:
		head += name + strings.Repeat("x", long) + end
	case fillLines:
		head += strings.Repeat(name+strings.Repeat("x", 1<<10-len(name+end))+end, long>>10)
	case fillURI:
		head = strings.Replace(head, " HTTP/1.1", "?"+strings.Repeat("x", long)+" HTTP/1.1", 1)
	case fillEndless:
		return head + name + strings.Repeat("x", long)
	}
	return head + end
}

// answer is what may follow a request. The zero value: it is accepted.
type answer struct {
	refused []int  // statuses of a refusal; none: it must be accepted
	accept  bool   // with refused: it may as well be accepted
	lenient []int  // without Strict: more statuses, 101 among them
	header  string // of a refusal: "Name: value" where value is a list's item

	ext      extensionWant
	protocol string // that must be chosen; "": none or one that was offered
}

// readAnswer reads the answer to our request. open says that it was 101 and the
// case goes on with frames.
func (c *client) readAnswer(target *Target, r *request, want *answer) (open bool, err error) {
	head, err := c.readHead()
	if err != nil {
		return false, err
	}
	status := 0
	if _, err := fmt.Sscanf(string(head), "HTTP/1.1 %3d ", &status); err != nil {
		return false, fmt.Errorf("answered %.60q, want HTTP/1.1 and a status", head)
	}
	lenient := !target.Strict && slices.Contains(want.lenient, status)
	switch {
	case status == http.StatusSwitchingProtocols && (len(want.refused) == 0 || want.accept || lenient):
		return true, c.checkAccepted(head, target, r, want)
	case !slices.Contains(want.refused, status) && !lenient:
		return false, fmt.Errorf("answered %d, want %s", status, want)
	default:
		return false, c.checkRefused(head, want)
	}
}

func (a *answer) String() string {
	switch {
	case len(a.refused) == 0:
		return "101"
	case a.accept:
		return fmt.Sprintf("101 or one of %d", a.refused)
	default:
		return fmt.Sprintf("one of %d", a.refused)
	}
}

// readHead reads up to and with the blank line.
func (c *client) readHead() ([]byte, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		b, err := c.r.ReadByte()
		if err != nil {
			if err := c.readErr(err); !errors.Is(err, errEnded) || len(head) > 0 {
				return nil, fmt.Errorf("answer %.60q: %w", head, err)
			}
			return nil, errors.New("the server ended the TCP connection without an answer (§4.2.1 wants one)")
		}
		if head = append(head, b); len(head) > 16<<10 {
			return nil, errors.New("the head of the answer is longer than 16 KiB")
		}
	}
	return head, nil
}

// headers splits the lines of an accepting answer, strictly: RFC 9112 §2.2, §5.
func headers(head []byte) (map[string][]string, error) {
	text, _, _ := strings.Cut(string(head), "\r\n\r\n")
	lines := strings.Split(text, "\r\n")
	h := map[string][]string{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(line, "\r\n\x00") || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("malformed header line %q", line)
		}
		name = strings.ToLower(name)
		h[name] = append(h[name], strings.Trim(value, " \t"))
	}
	return h, nil
}

// checkAccepted holds a 101 against RFC 6455 §4.2.2.
func (c *client) checkAccepted(head []byte, target *Target, r *request, want *answer) error {
	h, err := headers(head)
	if err != nil {
		return err
	}
	sent, err := headers(r.bytes(target))
	if err != nil {
		sent = map[string][]string{} // folded lines and the like: not about these headers
	}
	if u := h["upgrade"]; len(u) != 1 || !strings.EqualFold(u[0], "websocket") {
		return fmt.Errorf("§4.2.2: Upgrade is %q, want one, websocket", u)
	}
	if !hasItem(h["connection"], "upgrade") {
		return fmt.Errorf("§4.2.2: Connection is %q, want Upgrade", h["connection"])
	}
	if keys, a := sent["sec-websocket-key"], h["sec-websocket-accept"]; len(keys) == 1 && (len(a) != 1 || a[0] != acceptOf(keys[0])) {
		return fmt.Errorf("§4.2.2: Sec-WebSocket-Accept is %q, want %q", a, acceptOf(keys[0]))
	}
	for _, name := range []string{"content-length", "transfer-encoding"} {
		if h[name] != nil {
			return fmt.Errorf("RFC 9110 §8.6, RFC 9112 §6.1: %s in a 101", name)
		}
	}
	if err := checkProtocol(h["sec-websocket-protocol"], sent["sec-websocket-protocol"], want.protocol, target); err != nil {
		return err
	}
	return c.agree(h["sec-websocket-extensions"], sent["sec-websocket-extensions"], want.ext, target)
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// items are the items of a header that is a list.
func items(values []string) (list []string) {
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.Trim(item, " \t"); item != "" {
				list = append(list, item)
			}
		}
	}
	return list
}

func hasItem(values []string, item string) bool {
	return slices.ContainsFunc(items(values), func(s string) bool { return strings.EqualFold(s, item) })
}

// checkProtocol: at most one, of those offered, RFC 6455 §4.2.2, §11.3.4.
func checkProtocol(got, offered []string, want string, target *Target) error {
	switch {
	case len(got) > 1, len(got) == 1 && !slices.Contains(items(offered), got[0]):
		return fmt.Errorf("§11.3.4: Sec-WebSocket-Protocol is %q, want one of %q at most", got, items(offered))
	case target.Subprotocols && want != "" && (len(got) != 1 || got[0] != want):
		return fmt.Errorf("Sec-WebSocket-Protocol is %q, want %q, the first that was offered", got, want)
	default:
		return nil
	}
}

// checkRefused reads a refusal, whose head has been read, to its end, and the end
// of the connection if it is announced (RFC 9112 §9.6).
func (c *client) checkRefused(head []byte, want *answer) error {
	r := bufio.NewReader(io.MultiReader(bytes.NewReader(head), c.r))
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("answer %.60q: %w", head, err)
	}
	// A body that ends with the connection may as well end with its reset, which
	// is what TCP does when not all of a request was read.
	if _, err := io.Copy(io.Discard, res.Body); err != nil && (res.ContentLength >= 0 || !errors.Is(c.readErr(err), errEnded)) {
		return fmt.Errorf("body of the %d: %w", res.StatusCode, c.readErr(err))
	}
	if name, value, ok := strings.Cut(want.header, ": "); ok && !hasItem(res.Header.Values(name), value) {
		return fmt.Errorf("the %d has %s: %q, want %s", res.StatusCode, name, res.Header.Values(name), value)
	}
	if !res.Close {
		return nil
	}
	if r.Buffered() > 0 {
		return fmt.Errorf("%d bytes after a %d with Connection: close", r.Buffered(), res.StatusCode)
	}
	if err := c.ended(); err != nil {
		return fmt.Errorf("after a %d with Connection: close: %w", res.StatusCode, err)
	}
	return nil
}
