package rooms

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkMatch(b *testing.B) {
	run := func(name, id string, rules ...string) {
		b.Run(name, func(b *testing.B) {
			r := mustParse(b, rules...)
			b.ReportAllocs()
			for b.Loop() {
				r.Match(id)
			}
		})
	}
	run("none", "live://1000")
	run("3-rules", "live://1000", "ticker://* slow=conflate", "live://* coalesce=20ms slow=drop", "* slow=close")
	var many, hostile []string
	for i := range MaxRules {
		many = append(many, fmt.Sprintf("type-%d://* coalesce=20ms slow=drop", i))
		hostile = append(hostile, strings.Repeat("a*", 250)+"b* slow=drop")
	}
	run("256-rules", "live://1000", many...)
	run("256-hostile", strings.Repeat("a", 256), hostile...)
}
