package protocol

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What Parse reads, AppendPacket writes; and a packet is the same whether its
// bytes come at once or not.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(unhex(f, string(text)), int16(MaxBody))
	}
	f.Add(unhex(f, "00000011 0010 0001 00000002 00000001 00"), int16(0))
	f.Add(unhex(f, "7fffffff 0010 0001 00000002 00000001 00"), int16(-1))
	f.Fuzz(func(t *testing.T, src []byte, limit int16) {
		p, n, err := Parse(src, int(limit))
		switch {
		case err != nil:
			if n != 0 || !equal(p, Packet{}) {
				t.Fatalf("%x: %v with %+v, %d bytes", src, err, p, n)
			}
		case n == 0:
			if !equal(p, Packet{}) {
				t.Fatalf("%x: %+v of an incomplete packet", src, p)
			}
		default:
			if n > len(src) || n != HeaderSize+len(p.Body) || limit >= 0 && len(p.Body) > int(limit) {
				t.Fatalf("%x: %d bytes, body of %d, limit %d", src, n, len(p.Body), limit)
			}
			if out := AppendPacket(nil, p); !bytes.Equal(out, src[:n]) {
				t.Fatalf("%x: read as %+v, written as %x", src[:n], p, out)
			}
		}

		// Shorter pieces wait, or are refused for the same reason.
		for i := range min(len(src), n+HeaderSize) {
			q, m, perr := Parse(src[:i], int(limit))
			if i < n && (m != 0 || perr != nil) || perr != nil && !errors.Is(perr, err) {
				t.Fatalf("%x: the first %d bytes give %+v, %d, %v; all of it %d, %v", src, i, q, m, perr, n, err)
			}
		}

		q, merr := ParseMessage(src, int(limit))
		switch {
		case err != nil && !errors.Is(merr, err), err == nil && n == 0 && !errors.Is(merr, ErrShort),
			n > 0 && (merr != nil || !equal(p, q)):
			t.Fatalf("%x: %+v, %v; as a message %+v, %v", src, p, err, q, merr)
		}
	})
}
