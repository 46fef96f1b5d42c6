package pusher

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
)

// prepare sets what all requests of a flow have in common.
func (f *Flow) prepare(req *fasthttp.Request, base string) {
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(base + "/")
	if f.API == "im" {
		req.Header.SetContentType("application/x-www-form-urlencoded")
	} else {
		req.Header.SetContentType("application/octet-stream")
	}
}

// fill makes req the push of body to a target.
func (f *Flow) fill(req *fasthttp.Request, target int, body []byte) {
	uri := req.URI()
	switch f.API {
	case "im":
		uri.SetPath("/im/push/" + f.path())
		form := "msg=" + url.QueryEscape(string(body))
		switch f.Kind {
		case stamp.Room:
			form += "&type=" + swarm.RoomType + "&room=" + swarm.RoomID(f.Run, target)
		case stamp.Self:
			form += "&" + f.By + "[]=" + f.name(target)
		}
		req.SetBodyString(form)
	default:
		uri.SetPath("/goim/push/" + f.path())
		query := fmt.Sprintf("operation=%d", f.Op)
		switch f.Kind {
		case stamp.Room:
			query += "&type=" + swarm.RoomType + "&room=" + swarm.RoomID(f.Run, target)
		case stamp.Self:
			query += "&" + f.By + "=" + f.name(target)
		}
		if f.Ack != "" {
			query += "&ack=" + f.Ack
		}
		uri.SetQueryString(query)
		req.SetBody(body)
	}
}

func (f *Flow) path() string {
	switch f.Kind {
	case stamp.Room:
		return "room"
	case stamp.All:
		return "all"
	default:
		return f.By
	}
}

// name is how a single client is called.
func (f *Flow) name(n int) string {
	if f.By == "keys" {
		return swarm.Key(f.Run, n)
	}
	return fmt.Sprint(f.MidBase + int64(n))
}

// outcome is what an answer says of a push.
type outcome uint8

const (
	accepted outcome = iota
	refused          // it will not be delivered
	unknown          // it may be delivered or not
)

// judge reads an answer. why is empty for accepted ones, and only for them.
func (f *Flow) judge(resp *fasthttp.Response, err error) (o outcome, why string) {
	if err != nil {
		return unknown, err.Error()
	}
	status, body := resp.StatusCode(), resp.Body()
	ok := bytes.HasPrefix(body, []byte(`{"code":0,`)) || f.API == "im" && bytes.HasSuffix(body, []byte(`"code":0}`))
	if status == fasthttp.StatusOK && ok {
		return accepted, ""
	}
	why = fmt.Sprintf("HTTP %d %s", status, short(body))
	switch {
	case status == fasthttp.StatusServiceUnavailable, status == fasthttp.StatusBadRequest:
		return refused, why
	case status != fasthttp.StatusOK:
		return unknown, why
	case f.API == "im", bytes.HasPrefix(body, []byte(`{"code":-400,`)):
		return refused, why
	default:
		return unknown, why
	}
}

func short(body []byte) string {
	const most = 120
	return strings.ToValidUTF8(string(body[:min(len(body), most)]), "?")
}
