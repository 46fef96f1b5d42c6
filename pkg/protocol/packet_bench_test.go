package protocol

import (
	"fmt"
	"testing"
)

var sizes = []int{0, 100, 4096}

func BenchmarkParse(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			src := AppendPacket(nil, Packet{1, 1000, 7, make([]byte, size)})
			b.ReportAllocs()
			for b.Loop() {
				if _, n, err := Parse(src, MaxBody); n != len(src) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkAppendPacket(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := Packet{PushVer, 1000, 0, make([]byte, size)}
			dst := make([]byte, 0, HeaderSize+size)
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendPacket(dst[:0], p)
			}
		})
	}
}

// A room's messages of one moment in one op 9, as the gateway encodes them.
func BenchmarkAppendRaw(b *testing.B) {
	p := Packet{PushVer, 1000, 0, make([]byte, 100)}
	const n = 20
	dst := make([]byte, 0, HeaderSize*(n+1)+100*n)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendHeader(dst[:0], PushVer, OpRaw, 0, n*(HeaderSize+100))
		for range n {
			dst = AppendPacket(dst, p)
		}
	}
}
