package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// What im-cloud's parameters and answers owe to PHP.

// phpValue is a parameter: a scalar, or a list of scalars.
type phpValue struct {
	scalar string // for a list from JSON its JSON text, which is what a msg of it is
	list   []string
	isList bool
	keys   map[string]int // of a list: its explicit keys, and their places
}

// empty is PHP's empty(): "" and "0" count as missing, and so do lists without
// elements.
func (v phpValue) empty() bool {
	if v.isList {
		return len(v.list) == 0
	}
	return v.scalar == "" || v.scalar == "0"
}

// all are the elements of a list; a scalar is a list of one.
func (v phpValue) all() []string {
	if v.isList {
		return v.list
	}
	return []string{v.scalar}
}

// phpInput is the merge that im-cloud's controllers work with (its framework,
// InteractsWithInput.php:133-144): a name in the form replaces the one in the
// query. A JSON body, which im-cloud does not read though its documents show one,
// comes last.
type phpInput map[string]phpValue

// has says whether a parameter is there and of a kind that can be used: keys, mids
// and rooms may be lists, a msg may be one that has a text, others may not.
func (in phpInput) has(name string) bool {
	v := in[name]
	switch {
	case v.empty():
		return false
	case !v.isList:
		return true
	}
	switch name {
	case "keys", "mids", "rooms":
		return true
	case "msg":
		return v.scalar != ""
	default:
		return false
	}
}

// text is a parameter that has to be a scalar.
func (in phpInput) text(name string) string { return in[name].scalar }

func readInput(ctx *fasthttp.RequestCtx, query []byte) (phpInput, error) {
	form, fromJSON := phpInput{}, phpInput{}
	body := ctx.PostBody()
	kind := strings.ToLower(string(ctx.Request.Header.ContentType()))
	var err error
	switch {
	case strings.HasPrefix(kind, "multipart/form-data"):
		err = form.multipart(ctx)
	case strings.Contains(kind, "json"), bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")):
		err = fromJSON.json(body)
	default:
		form.urlencoded(body)
	}
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	in := fromJSON
	asked := phpInput{}
	asked.urlencoded(query)
	for _, over := range []phpInput{asked, form} {
		for name, v := range over {
			in[name] = v
		}
	}
	return in, nil
}

func (in phpInput) urlencoded(raw []byte) {
	for p := (params{raw: raw, lenient: true}); p.next(); {
		in.add(string(p.key), string(p.value))
	}
}

func (in phpInput) multipart(ctx *fasthttp.RequestCtx) error {
	form, err := ctx.MultipartForm()
	if err != nil {
		return errors.New("malformed multipart/form-data")
	}
	for name, values := range form.Value {
		for _, v := range values {
			in.add(name, v)
		}
	}
	return nil
}

// add takes a parameter over as PHP does: name[] appends to a list, name[key] sets
// one of its elements, and a plain name replaces what was there.
func (in phpInput) add(name, value string) {
	base, rest, bracket := strings.Cut(name, "[")
	key, _, closed := strings.Cut(rest, "]")
	if !bracket || !closed || base == "" {
		in[name] = phpValue{scalar: value}
		return
	}
	v := in[base]
	if !v.isList {
		v = phpValue{isList: true, keys: map[string]int{}}
	}
	at, known := v.keys[key]
	switch {
	case key != "" && known:
		v.list[at] = value
	case key != "":
		v.keys[key] = len(v.list)
		v.list = append(v.list, value)
	default:
		v.list = append(v.list, value)
	}
	in[base] = v
}

func (in phpInput) json(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return errors.New("not a JSON object")
	}
	for name, raw := range fields {
		v := phpValue{scalar: jsonScalar(raw)}
		if raw[0] == '[' {
			var items []json.RawMessage
			if err := json.Unmarshal(raw, &items); err != nil {
				return errors.New("not a JSON object")
			}
			v.isList = true
			for _, item := range items {
				v.list = append(v.list, jsonScalar(item))
			}
		}
		in[name] = v
	}
	return nil
}

// jsonScalar is a JSON value as PHP makes a string of it; objects and arrays are
// their own text, without white space.
func jsonScalar(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	case 't':
		return "1"
	case 'f', 'n':
		return ""
	case '{', '[':
		var compact bytes.Buffer
		if json.Compact(&compact, raw) != nil {
			return ""
		}
		return compact.String()
	default:
		if f, err := strconv.ParseFloat(string(raw), 64); err == nil && f == 0 {
			return "0" // 0.0 is empty too
		}
		return string(raw)
	}
}

// appendPHP appends s as PHP's json_encode writes a string: '/' escaped, and
// everything that is not ASCII as \u and four lower-case digits.
func appendPHP(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\', r == '/':
			dst = append(dst, '\\', byte(r))
		case r >= 0x20 && r < utf8.RuneSelf:
			dst = append(dst, byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\b':
			dst = append(dst, '\\', 'b')
		case r == '\f':
			dst = append(dst, '\\', 'f')
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}
