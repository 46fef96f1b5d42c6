package ws

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
)

// What ParseHeader reads, Append writes and gobwas/ws reads the same.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"", "81", "8100", "818537fa213d", "827e007e", "827e007d", "827f0000000000010000", "827fffffffffffffffff",
		"82ff000000010000000037fa213d", "c2", "83", "0900", "897e007e", "0000", "c105", "4200", "c000"} {
		f.Add(unhex(f, s), true)
		f.Add(unhex(f, s), false)
	}
	f.Fuzz(func(t *testing.T, src []byte, deflate bool) {
		h, ok, err := ParseHeader(src, deflate)
		if err != nil {
			if ok || h != (Header{}) || Code(err) != StatusProtocol {
				t.Fatalf("%x: %v with %+v, ok %v", src, err, h, ok)
			}
			return
		}
		if !ok {
			if len(src) >= MaxHeader {
				t.Fatalf("%x: %d bytes are not enough for a header", src, len(src))
			}
			return
		}
		out := h.Append(nil)
		if !bytes.Equal(out, src[:h.Size]) {
			t.Fatalf("%x: read as %+v, written as %x", src[:h.Size], h, out)
		}
		again, ok, err := ParseHeader(out, deflate)
		if again != h || !ok || err != nil {
			t.Fatalf("%x: %+v, again %+v, %v", src, h, again, err)
		}
		g, err := gobwas.ReadHeader(bytes.NewReader(src))
		if h.Compressed && (!deflate || h.Op.IsControl() || h.Op == OpContinuation) {
			t.Fatalf("%x: compressed, deflate %v", src, deflate)
		}
		if err != nil || g.Fin != h.Fin || g.Rsv1() != h.Compressed || g.Rsv2() || g.Rsv3() || byte(g.OpCode) != byte(h.Op) || g.Masked != h.Masked || g.Mask != h.Mask || g.Length != h.Length {
			t.Fatalf("%x: %+v, by gobwas %+v, %v", src, h, g, err)
		}
	})
}

// The pieces in which bytes arrive do not matter, nothing is bigger than the
// bound, text is UTF-8, and nothing appears that was not sent.
func FuzzAssembler(f *testing.F) {
	for _, src := range [][]byte{
		frame(true, OpBinary, "Hello"),
		join(frame(false, OpText, "Hel"), frame(true, OpPing, "?"), frame(true, OpContinuation, "lo"), frame(true, OpClose, "\x03\xe8")),
		join(frame(false, OpBinary, ""), frame(false, OpContinuation, ""), frame(true, OpText, "x")),
		join(frame(true, OpText, "\xff"), frame(true, OpText, "\x00\xff")),
		join(frame(false, OpText, "\xe2\x82"), frame(false, OpContinuation, "\xac\xf0\x9f"), frame(true, OpContinuation, "\x98\x80")),
		join(deflated(false, OpText, hello[:3]), frame(true, OpPing, "?"), frame(true, OpContinuation, hello[3:])),
		deflated(true, OpBinary, string(compressed(f, strings.Repeat("x", 300)))),
		frame(true, OpBinary, strings.Repeat("x", 300)),
		AppendFrame(nil, OpBinary, []byte("unmasked")),
	} {
		f.Add(src, uint8(3), uint8(200), true, true)
		f.Add(src, uint8(0), uint8(20), false, false)
	}
	f.Fuzz(func(t *testing.T, src []byte, step, limit uint8, deflate, strict bool) {
		r := &Rules{Limit: int(limit), MaxFrames: 20, StrictText: strict}
		if deflate {
			r.Inflate = NewInflater()
		}
		var whole, pieces Assembler
		want, wantLeft, wantErr := feed(&whole, bytes.Clone(src), r, max(len(src), 1))
		got, left, err := feed(&pieces, bytes.Clone(src), r, int(step)+1)
		if !errors.Is(err, wantErr) || fmt.Sprint(got) != fmt.Sprint(want) || err == nil && left != wantLeft {
			t.Fatalf("%x\nwhole:  %v, %d left, %v\npieces: %v, %d left, %v", src, want, wantLeft, wantErr, got, left, err)
		}
		if err == nil && left >= MaxHeader+MaxControl {
			t.Fatalf("%x: %d bytes were not taken", src, left)
		}
		total := 0
		for _, e := range got {
			total += len(e.payload)
			if len(e.payload) > int(limit) && !e.op.IsControl() || len(e.payload) > MaxControl && e.op.IsControl() {
				t.Fatalf("%x: %d bytes in a message of op %x, limit %d", src, len(e.payload), e.op, limit)
			}
			if e.op == OpText && !utf8.ValidString(e.payload) && (strict || e.payload[0] != 0) {
				t.Fatalf("%x: text %q", src, e.payload)
			}
		}
		if total > len(src) && !deflate {
			t.Fatalf("%x: %d bytes became %d", src, len(src), total)
		}
	})
}

// Every request has one answer that net/http understands, and what is accepted
// net/http reads in the same way.
func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(request(f)))
	f.Add([]byte(request(f, lineFirst, "GET /sub?a=b HTTP/1.1", "", "Origin: https://a", "", "Cookie: c", "", "Content-Length: 0")))
	f.Add([]byte(request(f, lineFirst, "POST /x HTTP/1.0")))
	f.Add([]byte(request(f, lineHost, "Host: x\r\nHost: y")))
	f.Add([]byte(request(f, lineVersion, "Sec-WebSocket-Version: 8")))
	f.Add([]byte("GET /sub HTTP/1.1\n\n"))
	f.Add([]byte(request(f, lineFirst, "GET /a% HTTP/1.1")))
	f.Add([]byte(request(f, lineFirst, "GET /echo/x?y HTTP/1.1", "", "Origin: https://a.example.com", "", "Sec-WebSocket-Protocol: a, b",
		"", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10, permessage-deflate;client_max_window_bits")))
	upgrader := NewUpgrader(Options{AnyPath: true, Deflate: true, Origins: []string{"https://*.example.com", "http://a"}})
	f.Fuzz(func(t *testing.T, src []byte) {
		n, err := Head(src)
		if n < 0 || n > len(src) || n > MaxHead || err != nil && n != 0 {
			t.Fatalf("Head(%q): %d, %v", src, n, err)
		}
		if n == 0 {
			return
		}
		head := bytes.Clone(src[:n])
		out, req, err := upgrader.Upgrade(nil, head)
		if !bytes.Equal(head, src[:n]) {
			t.Fatalf("%q was changed to %q", src[:n], head)
		}
		r := bufio.NewReader(bytes.NewReader(out))
		res, perr := http.ReadResponse(r, nil)
		if perr != nil {
			t.Fatalf("%q: answer %q: %v", head, out, perr)
		}
		if err != nil {
			body, perr := io.ReadAll(res.Body)
			if perr != nil || len(body) == 0 || r.Buffered() != 0 || res.StatusCode < 400 || !res.Close || req != (Upgrade{}) {
				t.Fatalf("%q: %v, answer %q, body %q, %v", head, err, out, body, perr)
			}
			return
		}
		want, perr := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if perr != nil {
			t.Fatalf("%q is accepted, by net/http %v", head, perr)
		}
		path, query, _ := strings.Cut(want.RequestURI, "?")
		if want.Method != "GET" || path != req.Path || query != req.Query || want.Host != req.Host ||
			want.Header.Get("Origin") != req.Origin || want.Header.Get("Cookie") != req.Cookie || want.ContentLength != 0 {
			t.Fatalf("%q: %+v, by net/http %+v", head, req, want)
		}
		if req.Origin != "" && !upgrader.origins.allow([]byte(req.Origin)) {
			t.Fatalf("%q: origin %q is accepted", head, req.Origin)
		}
		client := Request{Key: want.Header.Get("Sec-WebSocket-Key"), Protocol: strings.Join(want.Header.Values("Sec-WebSocket-Protocol"), ","), Deflate: true}
		agreed, err := client.Check(out)
		if res.StatusCode != 101 || err != nil || agreed != (Agreed{req.Protocol, req.Deflate}) {
			t.Fatalf("%q: answer %q, read as %+v, %v", head, out, agreed, err)
		}
	})
}

// A client that accepts an answer would have accepted it through net/http too.
func FuzzCheckResponse(f *testing.F) {
	f.Add(goldenHTTP(f, "upgrade-answer"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 101 \r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if CheckResponse(head, testKey) != nil {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		want := accept(testKey)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != string(want[:]) {
			t.Fatalf("%q: accepted, by net/http %+v, %v", head, res, err)
		}
	})
}

// Every close frame that can be sent can be read, and the other way round.
func FuzzClose(f *testing.F) {
	f.Add(uint16(1000), "", []byte{})
	f.Add(uint16(1012), "restarting", []byte("\x03\xe8bye"))
	f.Add(uint16(4503), strings.Repeat("😀", 40), []byte{3})
	f.Fuzz(func(t *testing.T, code uint16, reason string, payload []byte) {
		out := AppendClose(nil, StatusCode(code), reason)
		h, ok, err := ParseHeader(out, false)
		if err != nil || !ok || h.Op != OpClose || !h.Fin || len(out) != h.Size+int(h.Length) {
			t.Fatalf("AppendClose(%d, %q) = %x: %+v, %v", code, reason, out, h, err)
		}
		got, err := CheckClose(out[h.Size:])
		if err != nil || got != StatusCode(code) && got != StatusNoStatus {
			t.Fatalf("AppendClose(%d, %q) = %x: read as %d, %v", code, reason, out, got, err)
		}
		payload = payload[:min(len(payload), MaxControl)]
		if c, err := CheckClose(payload); err == nil && len(payload) > 0 {
			if out := AppendClose(nil, c, string(payload[2:])); !bytes.Equal(out[2:], payload) {
				t.Fatalf("%x: read as %d, written as %x", payload, c, out)
			}
		}
	})
}
