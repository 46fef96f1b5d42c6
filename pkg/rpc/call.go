package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// caller makes JSON calls over HTTP on long-lived connections.
type caller struct {
	secret string
	http   *fasthttp.Client
}

const (
	maxCallConns = 64
	// clientIdle is below the server's idleTimeout, so that a connection is
	// seldom used just when the other side closes it.
	clientIdle  = 30 * time.Second
	dialTimeout = 2 * time.Second
	defaultCall = 5 * time.Second
)

func newCaller(secret string) caller {
	return caller{secret, &fasthttp.Client{
		MaxConnsPerHost:               maxCallConns,
		MaxIdleConnDuration:           clientIdle,
		MaxConnWaitTimeout:            dialTimeout,
		MaxIdemponentCallAttempts:     1,
		NoDefaultUserAgentHeader:      true,
		DisableHeaderNamesNormalizing: true,
		Dial: func(addr string) (net.Conn, error) {
			return net.DialTimeout("tcp", addr, dialTimeout)
		},
	}}
}

// post calls path at addr with in as the body and reads the answer into out,
// which may be nil. ctx's deadline bounds it.
func (c caller) post(ctx context.Context, addr, path string, in, out any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode call %s: %w", path, err)
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + addr + path)
	req.Header.SetMethod(fasthttp.MethodPost)
	req.Header.SetContentType("application/json")
	req.Header.Set(fasthttp.HeaderAuthorization, bearer(c.secret))
	req.SetBodyRaw(body)

	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(defaultCall)
	}
	err = c.http.DoDeadline(req, resp, deadline)
	if errors.Is(err, fasthttp.ErrConnectionClosed) {
		err = c.http.DoDeadline(req, resp, deadline) // an idle connection that had just been closed
	}
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", path, addr, err)
	}
	if resp.StatusCode() != fasthttp.StatusOK {
		return fmt.Errorf("call %s at %s: status %d: %.200q", path, addr, resp.StatusCode(), resp.Body())
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(resp.Body(), out); err != nil {
		return fmt.Errorf("call %s at %s: answer: %w", path, addr, err)
	}
	return nil
}

// handle makes a handler of f: decode the body, call, encode the result. ctx of
// f ends after defaultCall, or when base does. Only POST is answered.
func handle[In, Out any](base context.Context, f func(ctx context.Context, in In) (Out, error)) fasthttp.RequestHandler {
	return func(rc *fasthttp.RequestCtx) {
		if !onlyPost(rc) {
			return
		}
		var in In
		if err := json.Unmarshal(rc.PostBody(), &in); err != nil {
			rc.Error("body: "+err.Error()+"\n", fasthttp.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(base, defaultCall)
		defer cancel()
		out, err := f(ctx, in)
		if err != nil {
			rc.Error(err.Error()+"\n", fasthttp.StatusServiceUnavailable)
			return
		}
		body, err := json.Marshal(out)
		if err != nil {
			rc.Error("answer: "+err.Error()+"\n", fasthttp.StatusInternalServerError)
			return
		}
		rc.SetContentType("application/json")
		rc.SetBody(body)
	}
}

// onlyPost answers requests by other methods with 405 and reports whether this
// is a POST.
func onlyPost(rc *fasthttp.RequestCtx) bool {
	if rc.IsPost() {
		return true
	}
	rc.Error("only POST is allowed\n", fasthttp.StatusMethodNotAllowed)
	rc.Response.Header.Set(fasthttp.HeaderAllow, fasthttp.MethodPost)
	return false
}
