package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/halley-im/halley/logic"
)

func readAll(raw string, lenient bool) (pairs []string) {
	for p := (params{raw: []byte(raw), lenient: lenient}); p.next(); {
		pairs = append(pairs, fmt.Sprintf("%s=%s", p.key, p.value))
	}
	return pairs
}

func TestParams(t *testing.T) {
	f := func(raw string, lenient bool, want ...string) {
		t.Helper()
		if got := readAll(raw, lenient); !slices.Equal(got, want) {
			t.Fatalf("%q: got %q, want %q", raw, got, want)
		}
	}
	f("", false)
	f("a=1&a=2&b", false, "a=1", "a=2", "b=")
	f("&&=&a=b=c&", false, "=", "a=b=c")
	f("a%3db=%26+%2B", false, "a=b=& +")
	f("a=%zz&b=%4&c=%&d=1", false, "d=1")
	f("a=1;b=2&c=3", false, "c=3")
	f("a=%zz&b=100%;&c=%41", true, "a=%zz", "b=100%;", "c=A")
}

// Queries are read as gin reads them: through net/url, with its error ignored.
func FuzzParams(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a=%zz&b", "a;b=1&c=%2B+x", "=&&==%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		want, _ := url.ParseQuery(raw)
		got := url.Values{}
		for p := (params{raw: []byte(raw)}); p.next(); {
			got.Add(string(p.key), string(p.value))
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %v, want %v", raw, got, want)
		}
		readAll(raw, true)
	})
}

func TestPHPInput(t *testing.T) {
	f := func(raw, name string, list bool, want ...string) {
		t.Helper()
		in := phpInput{}
		in.urlencoded([]byte(raw))
		v := in[name]
		if v.isList != list || !slices.Equal(v.all(), want) {
			t.Fatalf("%q: got %+v, want %q", raw, v, want)
		}
	}
	f("a=1&a=2", "a", false, "2")
	f("a[]=1&a[]=2", "a", true, "1", "2")
	f("a[]=1&a[x]=2&a[x]=3&a[]=4", "a", true, "1", "3", "4")
	f("a=1&a[]=2", "a", true, "2")
	f("a[]=1&a=2", "a", false, "2")
	f("a%5B%5D=1", "a", true, "1")
	f("a[=1", "a[", false, "1")
	f("[]=1", "[]", false, "1")
	f("b=1", "a", false, "")
}

func TestPHPEmpty(t *testing.T) {
	f := func(body, name string, want bool) {
		t.Helper()
		in := phpInput{}
		if err := in.json([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if got := !in.has(name); got != want {
			t.Fatalf("%s: %s missing: %v, want %v", body, name, got, want)
		}
	}
	f(`{}`, "msg", true)
	f(``, "msg", true)
	for _, empty := range []string{`""`, `"0"`, `0`, `0.0`, `-0`, `0e5`, `false`, `null`, `[]`} {
		f(`{"msg":`+empty+`}`, "msg", true)
	}
	for _, full := range []string{`"a"`, `"0.0"`, `" "`, `1`, `true`, `[0]`, `{}`} {
		f(`{"msg":`+full+`}`, "msg", false)
	}
	f(`{"mids":[1,2]}`, "mids", false)
	f(`{"type":["live"]}`, "type", true)
}

// What is appended is JSON of ASCII only, and means the same.
func FuzzAppendPHP(f *testing.F) {
	f.Add("缺少参数")
	f.Add("a/b\"\\\n\x01\x7f😀")
	f.Fuzz(func(t *testing.T, s string) {
		out := appendPHP(nil, s)
		for _, c := range out {
			if c >= utf8.RuneSelf || c < 0x20 {
				t.Fatalf("%q: %q is not printable ASCII", s, out)
			}
		}
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q: %q: %v", s, out, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func TestAppendPHP(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := string(appendPHP(nil, s)); got != want {
			t.Fatalf("%q: got %s, want %s", s, got, want)
		}
	}
	f("缺少参数", `"\u7f3a\u5c11\u53c2\u6570"`)
	f("a/b\"\\", `"a\/b\"\\"`)
	f("\b\f\n\r\t\x01", `"\b\f\n\r\t\u0001"`)
	f("😀", `"\ud83d\ude00"`)
}

// No batch, however broken, gets through with a push that breaks a bound.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"pushes":[{"op":1,"keys":["a"],"body":"x"},{"op":1,"room":"live://1","body64":"AA=="}]}`))
	f.Add([]byte(`{"pushes":[{"op":1,"mids":[1],"body":""},{"op":1,"all":true,"speed":1,"body":""}]}`))
	a := &API{cfg: logic.Default()}
	f.Fuzz(func(t *testing.T, body []byte) {
		msgs, ids, err := a.parseBatch(body)
		if err != nil {
			return
		}
		if len(msgs) == 0 || len(msgs) > maxPushes || len(ids) != len(msgs) {
			t.Fatalf("%d pushes, %d ids", len(msgs), len(ids))
		}
		for i, m := range msgs {
			if m.Op == 0 || len(ids[i]) > logic.MaxPushID || len(m.Body) > a.cfg.MaxBody {
				t.Fatalf("push %d: %+v", i, m)
			}
		}
	})
}
