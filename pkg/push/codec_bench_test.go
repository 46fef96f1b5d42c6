package push

import "testing"

var benchNames = []string{"keys", "room", "all", "mids"}

func BenchmarkAppendMessage(b *testing.B) {
	for _, name := range benchNames {
		b.Run(name, func(b *testing.B) {
			m := goldenMessages[name]
			buf := make([]byte, 0, 512)
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendMessage(buf[:0], &m)
			}
		})
	}
}

func BenchmarkParseMessage(b *testing.B) {
	for _, name := range benchNames {
		b.Run(name, func(b *testing.B) {
			src := golden(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseMessage(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
