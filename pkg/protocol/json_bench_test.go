package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// benchBodies are 100 and 4096 bytes of each kind of body.
func benchBodies() (bodies []struct{ name, body string }) {
	for _, size := range []int{100, 4096} {
		object := `{"id":12345,"user":"someone","text":"` + strings.Repeat("hello, ", size/7) // cut below
		object = object[:size-2] + `"}`
		for _, b := range []struct{ name, body string }{
			{"object", object},
			{"numbers", "[" + strings.Repeat("123.4,", size/6-1) + strings.Repeat("1", size-1-size/6*6+5) + "]"},
			{"text", strings.Repeat("hello, ", size/7+1)[:size]},
			{"binary", strings.Repeat("\xff\x00", size/2)},
		} {
			bodies = append(bodies, struct{ name, body string }{fmt.Sprint(b.name, "-", size), b.body})
		}
	}
	return bodies
}

func BenchmarkAppendJSON(b *testing.B) {
	for _, x := range benchBodies() {
		b.Run(x.name, func(b *testing.B) {
			p := Packet{PushVer, 1000, 0, []byte(x.body)}
			dst := AppendJSON(nil, p)
			b.SetBytes(int64(len(x.body)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendJSON(dst[:0], p)
			}
		})
	}
}

func BenchmarkParseJSON(b *testing.B) {
	for _, x := range benchBodies() {
		b.Run(x.name, func(b *testing.B) {
			src := AppendJSON(nil, Packet{1, 1000, 7, []byte(x.body)})
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseJSON(src, MaxBody); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What encoding/json needs to find out whether a body is JSON, and our scanner.
func BenchmarkJSONValid(b *testing.B) {
	for _, x := range benchBodies()[:6] {
		body := []byte(x.body)
		if json.Valid(body) != (jsonText(body, maxPushed) != nil) {
			b.Fatalf("%s: they do not agree", x.name)
		}
		b.Run(x.name+"/std", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				json.Valid(body)
			}
		})
		b.Run(x.name+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				jsonText(body, maxPushed)
			}
		})
	}
}

// A room's messages of one moment in one message, as the gateway encodes them.
func BenchmarkAppendJSONPush(b *testing.B) {
	const n = 20
	var objects [][]byte
	for range n {
		objects = append(objects, AppendJSON(nil, Packet{PushVer, 1000, 0, bytes.Repeat([]byte("x"), 100)}))
	}
	dst := AppendJSONPush(nil, objects...)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendJSONPush(dst[:0], objects...)
	}
}
