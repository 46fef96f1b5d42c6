package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzJSON seeds a target with the vectors and with what the tests know to be
// delicate.
func fuzzJSON(f *testing.F, add func(src []byte)) {
	files, err := filepath.Glob("testdata/json-*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "json-"), ".json")
		add(goldenJSON(f, name))
	}
	for _, s := range []string{
		"", "hello", "\xff", "\"\xff\"", "\u2028\x00\x1f\x7f\"\\", " [1] ", "1e999", "-0", "01", `"\ud800"`, `"\ud83d\ude00"`, nested(509), nested(510), nested(600),
		`{"op":1,"body":"\ud83d\ud83d\ude00\ude00\/"}`, `{"\u006fp":1,"op":2}`, `{"op":1,"body64":"aGk\u003d"}`, `{"op":1,"x":` + nested(512) + `}`,
		`{"ver":-32768,"op":2147483647,"seq":-0,"OP":1,"":null}`, `{"op":1,"body64":"aGl="}`, `{"op":1,"body64":"aGk=\n"}`,
	} {
		add([]byte(s))
	}
}

// ParseJSON takes what encoding/json takes and its own rules allow, and reads the
// same values.
func FuzzParseJSON(f *testing.F) {
	fuzzJSON(f, func(src []byte) { f.Add(src, int16(MaxBody)) })
	f.Add([]byte(`{"op":1,"body":"abc"}`), int16(2))
	f.Add([]byte(`{"op":1,"body":"abc"}`), int16(-1))
	f.Fuzz(func(t *testing.T, src []byte, limit int16) {
		before := string(src)
		got, err := ParseJSON(src, int(limit))
		if string(src) != before {
			t.Fatalf("%q has become %q", before, src)
		}
		want, refusal := decode(src)
		if refusal == nil && limit >= 0 && len(want.Body) > int(limit) {
			refusal = ErrTooLarge
		}
		if (err == nil) != (refusal == nil) || errors.Is(err, ErrTooLarge) != errors.Is(refusal, ErrTooLarge) || !equal(got, want) && err == nil {
			t.Fatalf("%q: %+v, %v; encoding/json reads %+v, %v", src, got, err, want, refusal)
		}
		if err != nil {
			if !equal(got, Packet{}) {
				t.Fatalf("%q: %+v with %v", src, got, err)
			}
			checkReason(t, err)
			return
		}
		again, err := ParseJSON(AppendJSON(nil, got), int(limit))
		if got.Body = canonical(got.Body); err != nil || !equal(got, again) {
			t.Fatalf("%q: read as %+v, written and read as %+v, %v", src, got, again, err)
		}
	})
}

// checkReason: an error fits into a close frame.
func checkReason(t *testing.T, err error) {
	t.Helper()
	s := err.Error()
	if len(s) > 123 || !strings.HasPrefix(s, "protocol: ") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Fatalf("%d bytes: %q", len(s), s)
	}
}

// decode is ParseJSON without a limit, by encoding/json. Its token reader finds
// the fields, Unmarshal reads them.
func decode(src []byte) (Packet, error) {
	if !utf8.Valid(src) || !json.Valid(src) || depth(src) > maxNesting {
		return Packet{}, errors.New("not JSON, or too deep")
	}
	d := json.NewDecoder(bytes.NewReader(src))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return Packet{}, errors.New("no object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return Packet{}, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return Packet{}, err
		}
		key := name.(string)
		if fields[key] != nil && slices.Contains(fieldNames[:], key) {
			return Packet{}, errors.New("twice")
		}
		fields[key] = value
	}
	return decodeFields(fields)
}

func decodeFields(fields map[string]json.RawMessage) (p Packet, err error) {
	p.Ver = 1
	for name, dst := range map[string]any{"ver": &p.Ver, "op": &p.Op, "seq": &p.Seq} {
		value := fields[name]
		if string(value) == "null" || value == nil && name == "op" {
			return Packet{}, errors.New("no number")
		}
		if value != nil {
			if err := json.Unmarshal(value, dst); err != nil {
				return Packet{}, err
			}
		}
	}
	value, text := fields["body"], ""
	p.Body = value
	switch coded := fields["body64"]; {
	case coded != nil && (value != nil || coded[0] != '"'):
		return Packet{}, errors.New("both, or no string")
	case coded != nil:
		if err := json.Unmarshal(coded, &text); err != nil || strings.ContainsAny(text, "\r\n") {
			return Packet{}, errors.New("no base64")
		}
		p.Body, err = base64.StdEncoding.Strict().DecodeString(text)
	case value != nil && value[0] == '"':
		err = json.Unmarshal(value, &text)
		p.Body = []byte(text)
	}
	return p, err
}

// depth is how deep valid JSON nests.
func depth(src []byte) (deepest int) {
	level, inString := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// isJSONBody says that AppendJSON must write body as the JSON it is.
func isJSONBody(body []byte) bool {
	return utf8.Valid(body) && json.Valid(body) && depth(body) <= maxPushed
}

// canonical is the body that a client has after body went over the wire: what
// AppendJSON writes the same way is the same.
func canonical(body []byte) []byte {
	if !isJSONBody(body) {
		return body
	}
	body = bytes.Trim(body, " \t\r\n")
	if body[0] == '"' {
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			panic(err) // it is valid
		}
		return []byte(text)
	}
	return body
}

// AppendJSON writes valid JSON in valid UTF-8 that says what the packet says.
func FuzzAppendJSON(f *testing.F) {
	fuzzJSON(f, func(body []byte) { f.Add(int16(1), int32(1000), int32(0), body) })
	f.Fuzz(func(t *testing.T, ver int16, op, seq int32, body []byte) {
		p := Packet{ver, Op(op), seq, body}
		out := AppendJSON(nil, p)
		push := AppendJSONPush(nil, out, out)
		if len(push) != JSONPushSize(2, 2*len(out)) {
			t.Fatalf("%q: %d bytes, not %d", push, len(push), JSONPushSize(2, 2*len(out)))
		}
		for _, text := range [][]byte{out, push} {
			if !utf8.Valid(text) || !json.Valid(text) || depth(text) > maxNesting {
				t.Fatalf("%q: written as %q", body, text)
			}
			if _, err := ParseJSON(text, -1); err != nil {
				t.Fatalf("%q: written as %q: %v", body, text, err)
			}
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(out, &fields); err != nil {
			t.Fatal(err)
		}
		if n := len(fields); n != 3 && len(body) == 0 || n != 4 && len(body) > 0 {
			t.Fatalf("%q: written as %q", body, out)
		}
		if value := fields["body"]; isJSONBody(body) && !bytes.Equal(value, bytes.Trim(body, " \t\r\n")) || (value != nil) != utf8.Valid(body) && len(body) > 0 {
			t.Fatalf("%q: written as %q", body, out)
		}
		want := p
		want.Body = canonical(body)
		if got, err := decodeFields(fields); err != nil || !equal(got, want) {
			t.Fatalf("%+v: written as %q, which is %+v, %v", want, out, got, err)
		}
	})
}
