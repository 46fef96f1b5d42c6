package ws

import (
	"fmt"
	"testing"
)

var sizes = []int{36, 200, 1000, 4096}

// A frame of a client: header, mask, and the payload unmasked in place.
func BenchmarkParseUnmask(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			src := AppendClientFrame(nil, OpBinary, testMask, make([]byte, size))
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				h, ok, err := ParseHeader(src, false)
				if !ok || err != nil {
					b.Fatal(err)
				}
				Unmask(src[h.Size:], h.Mask, 0)
			}
		})
	}
}

// The same as the gateway does it, with all checks.
func BenchmarkNext(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			src := AppendClientFrame(nil, OpBinary, testMask, make([]byte, size))
			var a Assembler
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if n, _, _, done, err := a.Next(src, goimRules); n != len(src) || !done || err != nil {
					b.Fatal(n, done, err)
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := make([]byte, size)
			dst := make([]byte, 0, size+MaxHeader)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendFrame(dst[:0], OpBinary, payload)
			}
		})
	}
}

// A large frame that arrives in the pieces of a socket.
func BenchmarkNextPieces(b *testing.B) {
	src := AppendClientFrame(nil, OpText, testMask, []byte(chat(16<<20)))
	frame := make([]byte, len(src))
	r := &Rules{Limit: 16 << 20}
	var a Assembler
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		copy(frame, src)
		for at := 0; at < len(frame); {
			n, _, _, _, err := a.Next(frame[at:min(at+64<<10, len(frame))], r)
			if n == 0 || err != nil {
				b.Fatal(n, err)
			}
			at += n
		}
	}
}

func BenchmarkUpgrade(b *testing.B) {
	u := NewUpgrader(Options{})
	head := []byte(request(b, "", "Origin: https://app.example.com", "", "User-Agent: bench"))
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		n, err := Head(head)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := u.Upgrade(dst, head[:n]); err != nil {
			b.Fatal(err)
		}
	}
}
