package rest

import (
	"encoding/json"
	"errors"
	"html"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// What goim's answers owe to gin v1.7.0 and to net/http, observed on the wire.

// Codes of goim's envelope (internal/logic/http/result.go:7-13).
const (
	codeOK      = 0
	codeRequest = -400
	codeServer  = -500
)

// result is goim's envelope.
type result struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"` // left out when nil; a nil slice is null
}

// envelope writes goim's envelope as JSON; the status is whatever is set.
func envelope(ctx *fasthttp.RequestCtx, code int, message string, data any) {
	body, err := json.Marshal(result{code, message, data})
	if err != nil {
		panic("BUG: an answer that JSON cannot hold: " + err.Error())
	}
	ctx.SetContentType(typeJSON)
	ctx.SetBody(body)
}

// okEnvelope is the answer to every push that was accepted.
var okEnvelope = []byte(`{"code":0,"message":""}`)

func success(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType(typeJSON)
	ctx.Response.SetBodyRaw(okEnvelope)
}

// bindFailure answers invalid parameters: gin has sent status and header before
// goim writes its envelope, so the type is the one that net/http sniffs.
func bindFailure(ctx *fasthttp.RequestCtx, err error) {
	envelope(ctx, codeRequest, err.Error(), nil)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetStatusCode(fasthttp.StatusBadRequest)
}

// binding collects what gin's binding finds wrong. Values are converted first, in
// the order of goim's fields, and the first that cannot be is the whole message;
// then all fields that break a rule are named, one a line.
type binding struct {
	conversion error
	broken     []string
}

// integer converts a parameter; "" is 0. An integer that was required and is 0
// counts as missing, by the caller.
func (b *binding) integer(value []byte, bits int) int64 {
	if len(value) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(value), 10, bits)
	if err != nil && b.conversion == nil {
		b.conversion = err
	}
	return n
}

// require names a field if it breaks gin's rule "required".
func (b *binding) require(field string, ok bool) { b.rule(field, "required", ok) }

func (b *binding) rule(field, tag string, ok bool) {
	if !ok {
		b.broken = append(b.broken, "Key: '"+field+"' Error:Field validation for '"+field+"' failed on the '"+tag+"' tag")
	}
}

func (b *binding) err() error {
	switch {
	case b.conversion != nil:
		return b.conversion
	case len(b.broken) > 0:
		return errors.New(strings.Join(b.broken, "\n"))
	default:
		return nil
	}
}

// notFound is gin's 404.
func notFound(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusNotFound)
	ctx.SetContentType("text/plain")
	ctx.SetBodyString("404 page not found")
}

// redirect answers a path that has a slash too many: 301 for GET, with net/http's
// page, and 307 for the others, without one. gin also puts X-Forwarded-Prefix in
// front of the path; a header that anybody can set is not a place to be sent to.
func redirect(ctx *fasthttp.RequestCtx, path string) {
	uri := string(ctx.Request.Header.RequestURI())
	if i := strings.IndexByte(uri, '?'); i >= 0 {
		path += uri[i:]
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, escapeNonASCII(path))
	if !ctx.IsGet() {
		ctx.Response.Header.SetNoDefaultContentType(true)
		ctx.SetStatusCode(fasthttp.StatusTemporaryRedirect)
		return
	}
	ctx.SetStatusCode(fasthttp.StatusMovedPermanently)
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBodyString(`<a href="` + html.EscapeString(path) + `">Moved Permanently</a>.` + "\n\n")
}

// escapeNonASCII escapes the bytes that may not stand in a header, as net/http
// does.
func escapeNonASCII(s string) string {
	const digits = "0123456789abcdef"
	var out []byte
	for i := range len(s) {
		if c := s[i]; c >= 0x80 {
			out = append(out, '%', digits[c>>4], digits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}
