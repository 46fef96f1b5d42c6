package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenJSON reads a JSON vector of testdata.
func goldenJSON(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "json-"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

// jsonVectors are the packets that docs/protocol.md shows as JSON. Those that are
// not ours are written in a way that clients may use and the server does not.
var jsonVectors = []struct {
	name string
	p    Packet
	ours bool
}{
	{"auth", Packet{1, OpAuth, 1, []byte(token)}, true},
	{"auth-string", Packet{1, OpAuth, 1, []byte(token)}, false},
	{"auth-reply", Packet{1, OpAuthReply, 1, nil}, true},
	{"heartbeat", Packet{1, OpHeartbeat, 2, nil}, true},
	{"heartbeat-short", Packet{1, OpHeartbeat, 0, nil}, false},
	{"heartbeat-reply", Packet{1, OpHeartbeatReply, 2, []byte("3")}, true},
	{"change-room", Packet{1, OpChangeRoom, 3, []byte("live://1001")}, true},
	{"change-room-reply", Packet{1, OpChangeRoomReply, 3, []byte("live://1001")}, true},
	{"leave-room", Packet{1, OpChangeRoom, 4, nil}, true},
	{"leave-room-reply", Packet{1, OpChangeRoomReply, 4, nil}, true},
	{"sub", Packet{1, OpSub, 5, []byte("1002,1003")}, true},
	{"sub-reply", Packet{1, OpSubReply, 5, []byte("1002,1003")}, true},
	{"unsub", Packet{1, OpUnsub, 6, []byte("1002")}, true},
	{"unsub-reply", Packet{1, OpUnsubReply, 6, []byte("1002")}, true},
	{"business", Packet{1, 1000, 7, []byte(`{ "x": [1, 2.50] }`)}, false},
	{"business-reply", Packet{1, 1000, 7, nil}, true},
	{"signed", Packet{-1, -2, -3, nil}, true},
	{"body64", Packet{1, 1000, 8, []byte("\xff\xfe\x00hi")}, true},
}

// jsonPushes are the packets inside of the vectors of op 9.
var jsonPushes = []struct {
	name   string
	pushed []Packet
}{
	{"push", pushed},
	{"push-bodies", []Packet{
		{PushVer, 1000, 0, []byte(`{"goal":[1,0]}`)},
		{PushVer, 1000, 0, []byte("12345678901234567890")},
		{PushVer, 1000, 0, []byte("a \"b\"\n\x01 €")},
		{PushVer, 1000, 0, []byte("\xff\xfe\x00hi")},
		{PushVer, 1000, 0, nil},
	}},
}

func TestJSONGolden(t *testing.T) {
	for _, v := range jsonVectors {
		src := goldenJSON(t, v.name)
		if p, err := ParseJSON(src, MaxBody); err != nil || !equal(p, v.p) {
			t.Errorf("%s: parsed %+v, %v; want %+v", v.name, p, err, v.p)
		}
		if out := AppendJSON(nil, v.p); v.ours != bytes.Equal(out, src) {
			t.Errorf("%s: appended %s; as the vector: %v, want %v", v.name, out, !v.ours, v.ours)
		}
	}
}

// A message of pushes is an op-9 packet whose body is an array of packets.
func TestJSONGoldenPush(t *testing.T) {
	for _, v := range jsonPushes {
		src := goldenJSON(t, v.name)
		var objects [][]byte
		total := 0
		for _, p := range v.pushed {
			objects = append(objects, AppendJSON(nil, p))
			total += len(objects[len(objects)-1])
		}
		out := AppendJSONPush([]byte("x"), objects...)
		if string(out) != "x"+string(src) || len(src) != JSONPushSize(len(objects), total) {
			t.Errorf("%s: appended %s, size %d; want %s", v.name, out, JSONPushSize(len(objects), total), src)
		}

		outer, err := ParseJSON(src, MaxBody)
		if err != nil || outer.Ver != PushVer || outer.Op != OpRaw || outer.Seq != 0 {
			t.Fatalf("%s: parsed %+v, %v", v.name, outer, err)
		}
		var inner []json.RawMessage
		if err := json.Unmarshal(outer.Body, &inner); err != nil {
			t.Fatal(err)
		}
		var got []Packet
		for _, o := range inner {
			p, err := ParseJSON(o, MaxBody)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, p)
		}
		if !slices.EqualFunc(got, v.pushed, equal) {
			t.Errorf("%s: holds %+v, want %+v", v.name, got, v.pushed)
		}
		if got := AppendJSON(nil, outer); !bytes.Equal(got, src) {
			t.Errorf("%s: as one packet %s", v.name, got)
		}
	}
	if got := string(AppendJSONPush(nil)); got != JSONPushHead+JSONPushTail || len(got) != JSONPushSize(0, 0) {
		t.Errorf("no pushes: %s", got)
	}
}

func TestJSONGoldenBad(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		p, err := ParseJSON(goldenJSON(t, "bad-"+name), MaxBody)
		if err == nil || err.Error() != "protocol: "+want || !equal(p, Packet{}) {
			t.Errorf("%s: %+v, %v; want %s", name, p, err, want)
		}
	}
	f("no-op", `JSON field "op" is missing: an integer from -2147483648 to 2147483647 is needed`)
	f("op-text", `JSON field "op": an integer from -2147483648 to 2147483647 is allowed`)
	f("op-fraction", `JSON field "op": an integer from -2147483648 to 2147483647 is allowed`)
	f("op-large", `JSON field "op": an integer from -2147483648 to 2147483647 is allowed`)
	f("ver-large", `JSON field "ver": an integer from -32768 to 32767 is allowed`)
	f("seq-null", `JSON field "seq": an integer from -2147483648 to 2147483647 is allowed`)
	f("twice", `JSON field "op" comes twice: once is allowed`)
	f("both", `JSON fields "body" and "body64": one of them is allowed`)
	f("body64", `JSON field "body64": a string in base64 with padding, RFC 4648 section 4, is allowed`)
	f("behind", `JSON message goes on behind its object, at byte 8: one object is allowed`)
	f("comma", `broken JSON at byte 8: one object, nested at most 512 deep, is allowed`)
}

// docs/protocol.md shows every JSON vector as it is, and every one is tested.
func TestJSONFilesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("json_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/json-*.json")
	if err != nil || len(files) < len(jsonVectors)+len(jsonPushes) {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(doc, append([]byte("\n"), text...)) {
			t.Errorf("docs/protocol.md does not show %s", file)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "json-"), ".json")
		bad, isBad := strings.CutPrefix(name, "bad-")
		if !isBad && !bytes.Contains(self, []byte(`{"`+name+`", `)) || isBad && !bytes.Contains(self, []byte(`f("`+bad+`", `)) {
			t.Errorf("%s is not tested", file)
		}
	}
}

// nested is JSON of n arrays in each other.
func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestAppendJSONBody(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		got := string(AppendJSON([]byte("x"), Packet{1, 1000, 0, []byte(body)}))
		if got != `x{"ver":1,"op":1000,"seq":0`+want+`}` {
			t.Errorf("%.80q: got %.200s", body, got)
		}
	}
	f("", "")
	// JSON stays what it is.
	f(`{"a":1,"a":2}`, `,"body":{"a":1,"a":2}`)
	f(" \r\n\t[1,\n 2]\n", ",\"body\":[1,\n 2]")
	f(`"hello"`, `,"body":"hello"`)
	f(`"\ud800"`, `,"body":"\ud800"`)
	f("-0.10e+999", `,"body":-0.10e+999`)
	f("123456789012345678901234567890", `,"body":123456789012345678901234567890`)
	f("null", `,"body":null`)
	f(`[{"a":{}},[[]],{},[1,{}]]`, `,"body":[{"a":{}},[[]],{},[1,{}]]`)
	f("\"\u2028\u007f\"", ",\"body\":\"\u2028\u007f\"")
	f(nested(509), `,"body":`+nested(509))
	// Other text is a string.
	f("hello", `,"body":"hello"`)
	f(" ", `,"body":" "`)
	f("{} {}", `,"body":"{} {}"`)
	f("01", `,"body":"01"`)
	f("\ufeff1", ",\"body\":\"\ufeff1\"")
	f("NaN", `,"body":"NaN"`)
	f("\"a\nb\"", `,"body":"\"a\nb\""`)
	f("\x00\x08\t\n\x0c\r\x1f\x7f\"\\/é€😀", `,"body":"\u0000\u0008\t\n\u000c\r\u001f`+"\x7f"+`\"\\/é€😀"`)
	f(nested(510), `,"body":"`+nested(510)+`"`)
	f(strings.Repeat("[", 1<<20), `,"body":"`+strings.Repeat("[", 1<<20)+`"`)
	// The rest is base64, JSON or not.
	f("\xff", `,"body64":"/w=="`)
	f("[\"\xc0\x80\"]", `,"body64":"WyLAgCJd"`)
	f("\xed\xa0\x80", `,"body64":"7aCA"`)
}

func TestAppendJSONNumbers(t *testing.T) {
	got := AppendJSON(nil, Packet{Ver: math.MinInt16, Op: math.MinInt32, Seq: math.MinInt32})
	if want := `{"ver":-32768,"op":-2147483648,"seq":-2147483648}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = AppendJSON(nil, Packet{Ver: math.MaxInt16, Op: math.MaxInt32, Seq: math.MaxInt32})
	if want := `{"ver":32767,"op":2147483647,"seq":2147483647}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseJSON(t *testing.T) {
	f := func(src string, want Packet) {
		t.Helper()
		if p, err := ParseJSON([]byte(src), MaxBody); err != nil || !equal(p, want) {
			t.Errorf("%.80s: %+v, %v; want %+v", src, p, err, want)
		}
	}
	body := func(s string) Packet { return Packet{1, 1000, 0, []byte(s)} }

	f(" {\"op\" :\t2\r}\n", Packet{1, 2, 0, nil})
	f(`{"ver":-32768,"op":-2147483648,"seq":-2147483648}`, Packet{math.MinInt16, math.MinInt32, math.MinInt32, nil})
	f(`{"ver":32767,"op":2147483647,"seq":2147483647}`, Packet{math.MaxInt16, math.MaxInt32, math.MaxInt32, nil})
	f(`{"ver":-0,"op":0,"seq":-0}`, Packet{})
	f(`{"\u006fp":2,"v\u0065r":3}`, Packet{3, 2, 0, nil})
	f(`{"OP":9,"Op":8,"op":2,"":1,"":2,"opp":3,"o":4}`, Packet{1, 2, 0, nil})
	f(`{"x":`+nested(511)+`,"op":2}`, Packet{1, 2, 0, nil})
	f(`{"`+strings.Repeat(`\u0078`, 20)+`":1,"op":2}`, Packet{1, 2, 0, nil})

	f(`{"op":1000,"body":""}`, body(""))
	f(`{"op":1000,"body64":""}`, body(""))
	f(`{"op":1000,"body": null }`, body("null"))
	f(`{"op":1000,"body": [ 1 , {"a":"]"} ] ,"x":0}`, body(`[ 1 , {"a":"]"} ]`))
	f(`{"op":1000,"body":-1.50E+3}`, body("-1.50E+3"))
	f(`{"op":1000,"body":"€\"\\\/\b\f\n\r\t\u20AC\u20ac"}`, body("€\"\\/\b\f\n\r\t€€"))
	f(`{"op":1000,"body":"\ud83d\ude00"}`, body("😀"))
	f(`{"op":1000,"body":"\ud83d\ud83d\ude00"}`, body("\ufffd😀"))
	f(`{"op":1000,"body":"\ud83d\u0041"}`, body("\ufffdA"))
	f(`{"op":1000,"body":"\ude00\ud83d"}`, body("\ufffd\ufffd"))
	f(`{"op":1000,"body":"\ud83d  de00"}`, body("\ufffd  de00"))
	f(`{"op":1000,"body64":"aGk\u003d"}`, body("hi"))
	f(`{"op":1000,"body64":"\/\/4AaGk="}`, body("\xff\xfe\x00hi"))
}

func TestParseJSONRefuses(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		p, err := ParseJSON([]byte(src), MaxBody)
		if err == nil || !strings.Contains(err.Error(), want) || !equal(p, Packet{}) {
			t.Errorf("%.80q: %+v, %v; want %s", src, p, err, want)
		}
	}
	for src, at := range map[string]string{
		``: "0", ` `: "1", `[]`: "0", `2`: "0", "\ufeff{}": "0", `{`: "1", `{"op"`: "5", `{"op" 2}`: "6", `{"op":`: "6", `{"op":}`: "6",
		`{op:2}`: "1", `{"op":2`: "7", `{"op":2 "seq":1}`: "8", `{,"op":2}`: "1", `{"op":2]`: "7",
		`{"op":02}`: "7", `{"op":+2}`: "6", `{"op":.2}`: "6", `{"op":2.}`: "8", `{"op":2e}`: "8", `{"op":2e+}`: "9", `{"op":-}`: "7", `{"op":0x2}`: "7",
		`{"op":tru}`: "9", `{"op":nul`: "9", `{"op":NaN}`: "6", `{"op":'2'}`: "6",
		`{"body":[}`: "9", `{"body":[1 2]}`: "11", `{"body":[1,]}`: "11", `{"body":{]}`: "9", `{"body":{"a"}}`: "12", `{"body":{"a":1]}`: "14", `{"body":[1}}`: "10", `{"body":{"a":1,}}`: "15",
		`{"body":"a`: "10", "{\"body\":\"a\nb\"}": "10", `{"body":"\x"}`: "10", `{"body":"\u12g4"}`: "13", `{"body":"\u123"}`: "14", `{"body":"\`: "10",
		`{"x":` + nested(512) + `}`: "516", `{"body":` + strings.Repeat(`{"":`, 1<<16): "2052",
	} {
		f(src, "protocol: broken JSON at byte "+at+": one object, nested at most 512 deep, is allowed")
	}
	f("{\"op\":2,\"x\":\"\xff\"}", "a JSON message must be UTF-8")
	f("{\"op\":2}\x00", "goes on behind its object, at byte 8")
	f(`{"op":2} 1`, "goes on behind its object, at byte 9")
	for _, field := range []string{"ver", "op", "seq"} {
		for _, value := range []string{"1e2", "2.0", `"2"`, "true", "null", "[2]", "{}", "99999999999", "-99999999999", strings.Repeat("9", 10000)} {
			src := `{"` + field + `":` + value + `}`
			if field != "op" {
				src = `{"op":2,` + src[1:]
			}
			f(src, `JSON field "`+field+`": an integer from -`)
		}
	}
	f(`{"ver":-32769,"op":2}`, `"ver": an integer from -32768 to 32767`)
	f(`{"op":-2147483649}`, `"op": an integer from -2147483648 to 2147483647`)
	f(`{"op":2,"seq":2147483648}`, `"seq": an integer from -2147483648 to 2147483647`)
	f(`{"op":2,"\u0062ody":1,"body":2}`, `JSON field "body" comes twice`)
	f(`{"op":2,"body64":"","body64":""}`, `JSON field "body64" comes twice`)
	f(`{"op":2,"body":null,"body64":""}`, "one of them is allowed")
	for _, value := range []string{"1", "null", "{}", `"a"`, `"aGl="`, `"aG_-"`, `"aGk=\n"`, `"\raGk="`, `" aGk="`, `"€"`} {
		f(`{"op":2,"body64":`+value+`}`, `JSON field "body64": a string in base64 with padding`)
	}
}

// The limit is for the body as it arrives, not for what the message takes.
func TestParseJSONLimit(t *testing.T) {
	f := func(src string, size int) {
		t.Helper()
		if p, err := ParseJSON([]byte(src), size); err != nil || len(p.Body) != size {
			t.Errorf("%.80s, limit %d: %d bytes, %v", src, size, len(p.Body), err)
		}
		if p, err := ParseJSON([]byte(src), size-1); size > 0 && (!errors.Is(err, ErrTooLarge) || !equal(p, Packet{})) {
			t.Errorf("%.80s, limit %d: %+v, %v", src, size-1, p, err)
		}
		if _, err := ParseJSON([]byte(src), -1); err != nil {
			t.Errorf("%.80s, no limit: %v", src, err)
		}
	}
	f(`{"op":2}`, 0)
	f(`{"op":2,"body":""}`, 0)
	f(`{"op":2,"body":  [1]  }`, 3)
	f(`{"op":2,"body":"\u20ac\n"}`, 4)
	f(`{"op":2,"body64":"aGk="}`, 2)
	f(`{"op":2,"body":"`+strings.Repeat("x", MaxBody)+`"}`, MaxBody)
	_, err := ParseJSON([]byte(`{"op":2,"body":[1]}`), 2)
	if want := `protocol: body exceeds the limit: JSON field "body" has 3 bytes, at most 2 are allowed`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The body lies in the message where it can, and appending to it does not write
// there.
func TestParseJSONAliases(t *testing.T) {
	f := func(src string) {
		t.Helper()
		b := []byte(src)
		p, err := ParseJSON(b, MaxBody)
		if err != nil {
			t.Fatal(err)
		}
		_ = append(p.Body, 'x')
		if string(b) != src {
			t.Errorf("%s has become %s", src, b)
		}
		p.Body[0] = '#'
		if string(b) == src {
			t.Errorf("%s: the body is a copy", src)
		}
	}
	f(`{"op":1000,"body":[1],"seq":1}`)
	f(`{"op":1000,"body":"hi","seq":1}`)
}

func TestJSONAllocations(t *testing.T) {
	dst := make([]byte, 0, 16<<10)
	var objects [][]byte
	for _, body := range []string{"", `{"a":[1,"x"]}`, "text \"\n\x01€", "\xff\x00", nested(600)} {
		p := Packet{1, 1000, 7, []byte(body)}
		if n := testing.AllocsPerRun(1000, func() { dst = AppendJSON(dst[:0], p) }); n != 0 {
			t.Errorf("AppendJSON of %.20q: %v allocs, want 0", body, n)
		}
		objects = append(objects, AppendJSON(nil, p))
	}
	if n := testing.AllocsPerRun(1000, func() { dst = AppendJSONPush(dst[:0], objects...) }); n != 0 {
		t.Errorf("AppendJSONPush: %v allocs, want 0", n)
	}
	// A buffer of its own takes one; slices.Grow takes another under -race.
	p := Packet{1, 1000, 0, []byte(token)}
	if n := testing.AllocsPerRun(1000, func() { AppendJSON(nil, p) }); n > 2 {
		t.Errorf("AppendJSON to nothing: %v allocs, want 1", n)
	}
	f := func(src string, want float64) {
		t.Helper()
		b := []byte(src)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := ParseJSON(b, MaxBody); err != nil {
				t.Fatal(err)
			}
		}); n != want {
			t.Errorf("ParseJSON of %s: %v allocs, want %v", src, n, want)
		}
	}
	f(string(goldenJSON(t, "auth")), 0)
	f(string(goldenJSON(t, "business")), 0)
	f(`{"\u006fp":-2147483648,"body":"live://1000"}`, 0)
	f(`{"op":2,"`+strings.Repeat(`\u0078`, 40)+`":1}`, 0)
	f(string(goldenJSON(t, "auth-string")), 1)
	f(string(goldenJSON(t, "body64")), 1)
}
