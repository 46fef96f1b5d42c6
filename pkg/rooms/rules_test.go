package rooms

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustParse(t testing.TB, rules ...string) *Rules {
	t.Helper()
	r, err := Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMatch(t *testing.T) {
	r := mustParse(t,
		"live://vip-* coalesce=0",
		"  live://*\tslow=drop   coalesce=20ms ",
		"live://1 slow=conflate",
		"ticker://*/usd slow=conflate",
		"*/usd slow=drop",
		"* coalesce=5ms",
	)
	f := func(room string, coalesce time.Duration, slow Policy) {
		t.Helper()
		if got := r.Match(room); got != (Options{coalesce, slow}) {
			t.Errorf("%s: got %+v, want %v, %v", room, got, coalesce, slow)
		}
	}
	f("live://2", 20*time.Millisecond, Drop)
	f("live://1", 20*time.Millisecond, Drop) // what the second rule has said, the third does not change
	f("live://vip-1", 0, Drop)               // each option by the first rule that sets it
	f("ticker://btc/usd", 5*time.Millisecond, Conflate)
	f("ticker://btc/eur", 5*time.Millisecond, Close)
	f("x/usd", 5*time.Millisecond, Drop)
	f("", 5*time.Millisecond, Close)

	for _, none := range []*Rules{nil, {}, mustParse(t)} {
		if got := none.Match("live://1"); got != (Options{}) {
			t.Errorf("without rules: %+v", got)
		}
	}
}

func TestPattern(t *testing.T) {
	f := func(pattern, id string, want bool) {
		t.Helper()
		p := compile(pattern)
		if got := p.matches(id); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, id, got, want)
		}
	}
	f("a://b", "a://b", true)
	f("a://b", "a://bc", false)
	f("a://b", "a://", false)
	f("a://b*", "a://b", true)
	f("a://b*", "a://bc", true)
	f("a://b*", "a://", false)
	f("*://b", "a://b", true)
	f("*://b", "a://bc", false)
	f("*", "", true)
	f("***", "", true)
	f("***", "abc", true)
	f("a**b", "ab", true)
	f("a*a", "a", false) // the ends may not share a byte
	f("a*a", "aa", true)
	f("ab*ba", "aba", false)
	f("*a*b*", "xaxbx", true)
	f("*a*b*", "xbxax", false)
	f("*a*a*", "a", false)
	f("*ab*", "aab", true)
	f("*ab", "aab", true)
	f("*aba*aba*", "ababa", false)
	f("a*b*c", "abcbc", true)
	f("a*bc*c", "abc", false)
	f("a*b*b", "ab", false) // a piece may not reach into the tail
	f("a?[b]\\", "axb", false)
	f("a?[b]\\", `a?[b]\`, true)
	f("*é*", "caf\u00e9s", true)
	f("*é*", "cafes", false)
	f("*\xa9", "é", true) // bytes, not characters
}

// Patterns and ids made to be slow are not: with a matcher that tries all that a
// star can stand for these would not end.
func TestHostilePatterns(t *testing.T) {
	id := strings.Repeat("a", 256)
	f := func(pattern string, want Policy) {
		t.Helper()
		rules := slices.Repeat([]string{pattern + " slow=drop"}, MaxRules)
		if got := mustParse(t, rules...).Match(id); got.Slow != want {
			t.Errorf("%.20s…: got %v, want %v", pattern, got.Slow, want)
		}
	}
	f(strings.Repeat("a*", 250), Drop)
	f(strings.Repeat("a*", 250)+"b", Close)
	f(strings.Repeat("*a", 250)+"b*", Close)
	f(strings.Repeat("*aa", 128)+"*", Drop)
	f(strings.Repeat("*aa", 129)+"*", Close)
	f("*"+strings.Repeat("a", 200)+"b*", Close)
	f(strings.Repeat("*", 500), Drop)
}

func TestParse(t *testing.T) {
	f := func(rule string, want Options) {
		t.Helper()
		if got := mustParse(t, rule).Match("live://1"); got != want {
			t.Errorf("%s: got %+v, want %+v", rule, got, want)
		}
	}
	f("* coalesce=0", Options{})
	f("* coalesce=0ms", Options{})
	f("* coalesce=1ms", Options{Coalesce: time.Millisecond})
	f("* coalesce=0.05s", Options{Coalesce: MaxCoalesce})
	f("* slow=close", Options{Slow: Close})
	f("* slow=drop", Options{Slow: Drop})
	f("* slow=conflate", Options{Slow: Conflate})
	f("live://1 slow=drop coalesce=50ms", Options{MaxCoalesce, Drop})
	f("live* slow=drop", Options{Slow: Drop})
	long := strings.Repeat("*", MaxRule-len(" slow=drop")) + " slow=drop"
	f(long, Options{Slow: Drop})
	mustParse(t, slices.Repeat([]string{long}, MaxRules)...)
}

func TestParseErrors(t *testing.T) {
	f := func(rule, want string) {
		t.Helper()
		c := Config{Rules: []string{"* slow=close", rule}}
		want = fmt.Sprintf("rooms.rules: rule 2 %q: %s", rule, want)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	const needed = "a pattern and options are needed, as in live://* coalesce=20ms slow=drop"
	f("", needed)
	f(" ", needed)
	f("live://*", needed)
	f("live slow=drop", `pattern "live": a room's id, type://id, in which * stands for anything is allowed`)
	f("slow=drop live://*", `pattern "slow=drop": a room's id, type://id, in which * stands for anything is allowed`)
	f("a\x01* slow=drop", `pattern "a\x01*": UTF-8 without control characters is allowed`)
	f("a\u0086* slow=drop", `pattern "a\u0086*": UTF-8 without control characters is allowed`)
	f("a\xff* slow=drop", `pattern "a\xff*": UTF-8 without control characters is allowed`)
	f("* fast=yes", `option "fast=yes": coalesce=TIME and slow=POLICY are allowed`)
	f("* slow=drop live://*", `option "live://*": coalesce=TIME and slow=POLICY are allowed`)
	f("* Slow=drop", `option "Slow=drop": coalesce=TIME and slow=POLICY are allowed`)
	f("* slow", `option slow: "": close, drop or conflate is allowed`)
	f("* slow=never", `option slow: "never": close, drop or conflate is allowed`)
	f("* slow=Drop", `option slow: "Drop": close, drop or conflate is allowed`)
	f("* slow=drop slow=drop", "option slow comes twice: once is allowed")
	f("* coalesce=0 coalesce=0", "option coalesce comes twice: once is allowed")
	for _, value := range []string{"", "5", "51ms", "50.1ms", "-1ms", "1us", "1.5ms", "1h", "ms"} {
		f("* coalesce="+value, fmt.Sprintf("option coalesce: %q: whole milliseconds from 0 to 50ms are allowed, as in 20ms", value))
	}
}

func TestParseBounds(t *testing.T) {
	f := func(want string, rules ...string) {
		t.Helper()
		if _, err := Parse(rules); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("257 rules: at most 256 are allowed", slices.Repeat([]string{"* slow=drop"}, MaxRules+1)...)
	f("rule 1 has 513 bytes: at most 512 are allowed", strings.Repeat("*", MaxRule+1-len(" slow=drop"))+" slow=drop")
}

func TestConfig(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil || len(c.Rules) != 0 {
		t.Errorf("%+v: %v", c, err)
	}
}

func TestPolicyString(t *testing.T) {
	for p, want := range map[Policy]string{Close: "close", Drop: "drop", Conflate: "conflate", 3: "Policy(3)"} {
		if p.String() != want {
			t.Errorf("got %s, want %s", p, want)
		}
	}
}

func TestMatchAllocations(t *testing.T) {
	r := mustParse(t, "live://vip-* coalesce=10ms", "*a*b*c*d* slow=drop", "* coalesce=20ms slow=conflate")
	if n := testing.AllocsPerRun(1000, func() { r.Match("live://abcd") }); n != 0 {
		t.Errorf("%v allocs, want 0", n)
	}
}
