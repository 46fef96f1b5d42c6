package rooms

import (
	"strings"
	"testing"
	"time"
)

// matchPlainly fills in a table: fits[j] says that the pattern so far matches the
// first j bytes of the id.
func matchPlainly(pattern, id string) bool {
	fits := make([]bool, len(id)+1)
	fits[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(id)+1)
		for j := range next {
			if pattern[i] == '*' {
				next[j] = fits[j] || j > 0 && next[j-1]
			} else {
				next[j] = j > 0 && fits[j-1] && id[j-1] == pattern[i]
			}
		}
		fits = next
	}
	return fits[len(id)]
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{
		{"*a*b", "xaxb"}, {"a*a", "a"}, {"", ""}, {"**", "x"}, {"*ab*b", "aabab"}, {"a*b*b", "ab"}, {"live://*", "live://1"},
		{strings.Repeat("a*", 250) + "b", strings.Repeat("a", 256)}, {strings.Repeat("*ab", 60) + "*", strings.Repeat("ba", 128)},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, id string) {
		if len(pattern) > MaxRule || len(id) > 4096 {
			return
		}
		p := compile(pattern)
		if got, want := p.matches(id), matchPlainly(pattern, id); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, id, got, want)
		}
	})
}

// What Parse takes keeps every bound, and two rules decide as one would who reads
// them from the top.
func FuzzParse(f *testing.F) {
	f.Add("live://* coalesce=20ms slow=drop", "* slow=close", "live://1")
	f.Add("live://* slow=drop", "*1 coalesce=50ms slow=conflate", "live://1")
	f.Add("* coalesce=-0", "* slow=", "")
	f.Add("a=b coalesce=1ms coalesce=2ms", "\xff* slow=drop", "a")
	f.Fuzz(func(t *testing.T, first, second, id string) {
		both, err := Parse([]string{first, second})
		one, err1 := Parse([]string{first})
		two, err2 := Parse([]string{second})
		if (err == nil) != (err1 == nil && err2 == nil) {
			t.Fatalf("%q: %v; %q: %v; both: %v", first, err1, second, err2, err)
		}
		if err != nil {
			return
		}
		got, want, behind := both.Match(id), one.Match(id), two.Match(id)
		pattern := strings.Fields(first)[0]
		if !matchPlainly(pattern, id) || !strings.Contains(first[len(pattern):], "coalesce=") {
			want.Coalesce = behind.Coalesce
		}
		if !matchPlainly(pattern, id) || !strings.Contains(first[len(pattern):], "slow=") {
			want.Slow = behind.Slow
		}
		if got != want {
			t.Fatalf("%q, %q, room %q: %+v, want %+v", first, second, id, got, want)
		}
		if got.Coalesce < 0 || got.Coalesce > MaxCoalesce || got.Coalesce%time.Millisecond != 0 || got.Slow >= policies {
			t.Fatalf("%q, %q: %+v", first, second, got)
		}
	})
}
