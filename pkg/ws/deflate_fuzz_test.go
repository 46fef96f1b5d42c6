package ws

import (
	"bytes"
	"compress/flate"
	"io"
	"regexp"
	"strings"
	"testing"
)

// inflateReference is Inflate by the standard library, without a limit.
func inflateReference(src []byte) (out []byte, ok bool) {
	in := bytes.NewReader(append(bytes.Clone(src), deflateTail...))
	for {
		part, err := io.ReadAll(flate.NewReader(in))
		out = append(out, part...)
		switch {
		case err != nil || in.Len() > 0 && in.Len() < len(deflateTail):
			return out, false
		case in.Len() == 0 || in.Len() == len(deflateTail):
			return out, true
		}
	}
}

// What is sent well, we and the standard library inflate alike, and nothing goes
// beyond the limit. What is not, both refuse; klauspost's decoder may notice later that a
// table of codes is wrong, and what it has read by then may be too much.
func FuzzInflate(f *testing.F) {
	for _, src := range []string{hello, "", "\x00", "\x03\x00", "\x06", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00" + hello,
		"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "\x01\x09\x00\xf6\xff", string(compressed(f, chat(900))), string(compressed(f, strings.Repeat("x", 70000)))} {
		f.Add([]byte(src), uint32(1000))
	}
	x := NewInflater()
	f.Fuzz(func(t *testing.T, src []byte, limit uint32) {
		limit %= 1 << 20
		before := bytes.Clone(src)
		got, err := x.Inflate(src, int(limit))
		if !bytes.Equal(src, before) {
			t.Fatalf("%x was changed to %x", before, src)
		}
		want, ok := inflateReference(src)
		switch code := Code(err); {
		case err == nil && (!ok || !bytes.Equal(got, want) || len(got) > int(limit)):
			t.Fatalf("%x, limit %d: %d bytes %.100x; want ok %v, %d bytes %.100x", src, limit, len(got), got, ok, len(want), want)
		case err != nil && (got != nil || ok && (code != StatusTooBig || len(want) <= int(limit))):
			t.Fatalf("%x, limit %d: %v; want ok %v, %d bytes", src, limit, err, ok, len(want))
		}
	})
}

// What is compressed comes out at the other end, both ways, whatever it is.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("Hello"), 1)
	f.Add([]byte(chat(200)), 300)
	f.Add([]byte(strings.Repeat("x", 127)), 2)
	d, x := NewDeflater(), NewInflater()
	f.Fuzz(func(t *testing.T, msg []byte, times int) {
		msg = bytes.Repeat(msg, times&0x3f+1)
		r := &Rules{Limit: len(msg), Inflate: x}
		plain := len(AppendFrame(nil, OpBinary, msg))
		var a Assembler
		frame := d.AppendDeflated(nil, OpBinary, msg)
		size := len(frame)
		n, op, got, done, err := a.NextFromServer(frame, r)
		if n != size || op != OpBinary || !bytes.Equal(got, msg) || !done || err != nil || n > plain {
			t.Fatalf("%d bytes %.100x: n %d of %d, plain %d, op %x, done %v, %v", len(msg), msg, n, size, plain, op, done, err)
		}
		frame = d.AppendClientDeflated(nil, OpText, testMask, msg)
		r.StrictText = !bytes.Equal(bytes.ToValidUTF8(msg, nil), msg)
		n, op, got, done, err = a.Next(frame, r)
		if r.StrictText {
			if err == nil || Code(err) != StatusInvalidData {
				t.Fatalf("%.100x: %v", msg, err)
			}
			return
		}
		if n != size+4 || op != OpText || !bytes.Equal(got, msg) || !done || err != nil {
			t.Fatalf("from a client, %d bytes %.100x: n %d of %d, op %x, done %v, %v", len(msg), msg, n, size+4, op, done, err)
		}
	})
}

const (
	tokenPattern     = "[-!#$%&'*+.^_`|~0-9A-Za-z]+"
	extensionPattern = tokenPattern + `(?:[ \t]*;[ \t]*` + tokenPattern + `(?:[ \t]*=[ \t]*(?:` + tokenPattern +
		`|"(?:\\?[-!#$%&'*+.^_` + "`" + `|~0-9A-Za-z])+"))?)*`
)

// listPattern is a list, perhaps with empty elements.
func listPattern(element string) *regexp.Regexp {
	return regexp.MustCompile(`^[ \t]*(?:,[ \t]*)*` + element + `[ \t]*(?:,[ \t]*(?:` + element + `[ \t]*)?)*$`)
}

// The readers of lists take what their grammar says, and an offer of
// permessage-deflate means the same however it is written.
func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{"a", "a, b", ",a,", "a b", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=\"1\\5\"",
		"foo; a=\"b c\", permessage-deflate", "permessage-deflate;;", "permessage-deflate; server_max_window_bits=9, permessage-deflate", "a=\"", "a;b=\"\\"} {
		f.Add([]byte(s))
	}
	protocols, exts := listPattern(tokenPattern), listPattern(extensionPattern)
	first := regexp.MustCompile(tokenPattern)
	f.Fuzz(func(t *testing.T, value []byte) {
		got, ok := firstProtocol(value)
		if ok != protocols.Match(value) || ok && !bytes.Equal(got, first.Find(value)) {
			t.Fatalf("protocols %q: %q, %v", value, got, ok)
		}
		var o clientRequest
		ok = extensions(value, o.extension)
		if ok != exts.Match(value) {
			t.Fatalf("extensions %q: %v", value, ok)
		}
		if !ok {
			return
		}
		unquoted := bytes.ReplaceAll(bytes.ReplaceAll(value, []byte(`\`), nil), []byte(`"`), nil)
		dense := strings.NewReplacer(" ", "", "\t", "").Replace(string(unquoted))
		var again clientRequest
		if !extensions([]byte(dense), again.extension) || again.deflate != o.deflate || again.serverBits != o.serverBits {
			t.Fatalf("extensions %q: %+v, as %q %+v", value, o, dense, again)
		}
	})
}
