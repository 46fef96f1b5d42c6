package rpc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"
	"golang.org/x/sys/unix"
)

// RequestCtx is what handlers get, named here so that who wires servers needs not
// know fasthttp.
type RequestCtx = fasthttp.RequestCtx

// ServerOptions bound what an HTTP server takes.
type ServerOptions struct {
	MaxConns int // connections at most; more are closed at once
	MaxBody  int // bytes of a request body
	MaxHead  int // bytes of a request's line and headers
	// TooLarge answers a request whose body or head exceeds its bound; nil
	// answers as fasthttp does.
	TooLarge func(ctx *fasthttp.RequestCtx, err error)
}

const (
	readTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = 90 * time.Second
	stopTimeout  = 3 * time.Second
)

// Listen binds a TCP address for Serve; key names it in the error.
func Listen(key, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", key, addr, err)
	}
	return ln, nil
}

// Serve answers HTTP on ln until ctx ends, then lets requests under way finish
// for a short time. A handler that panics costs its connection's answer, never
// the process: the client gets 500 with an empty body.
func Serve(ctx context.Context, ln net.Listener, h fasthttp.RequestHandler, o ServerOptions, log *slog.Logger) error {
	srv := &fasthttp.Server{
		Handler:                      recovering(h, log),
		ErrorHandler:                 o.TooLarge,
		Concurrency:                  o.MaxConns,
		MaxRequestBodySize:           o.MaxBody,
		ReadBufferSize:               o.MaxHead,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		KeepHijackedConns:            true, // otherwise Close of a hijacked connection does nothing
		Logger:                       fasthttpLogger{log},
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(patientListener{ln, log}) }() // ends when ln is closed
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.ShutdownWithContext(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop HTTP server: %w", err)
	}
	return nil
}

func recovering(h fasthttp.RequestHandler, log *slog.Logger) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic in an HTTP handler", "path", string(ctx.Path()), "err", p, "stack", string(debug.Stack()))
				ctx.Response.Reset()
				ctx.SetStatusCode(fasthttp.StatusInternalServerError)
			}
		}()
		h(ctx)
	}
}

// patientListener goes on accepting where fasthttp's Serve would return: a lack
// of descriptors passes.
type patientListener struct {
	net.Listener
	log *slog.Logger
}

const acceptPause = 50 * time.Millisecond

// Accept retries what is not for ever.
func (p patientListener) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS),
			errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ECONNABORTED):
			p.log.Warn("accept", "addr", p.Addr().String(), "err", err)
			time.Sleep(acceptPause)
		default:
			return nil, err
		}
	}
}

// fasthttpLogger gives fasthttp's messages, mostly clients' faults, to slog.
type fasthttpLogger struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (f fasthttpLogger) Printf(format string, args ...any) {
	f.log.Debug("http: " + fmt.Sprintf(format, args...))
}

// Internal is the handler of a role's internal address: health, metrics and
// profiles for operators, and the calls of other roles, which must show the
// cluster secret.
type Internal struct {
	secret  string
	set     *metrics.Set
	healthy func() error
	calls   map[string]fasthttp.RequestHandler // by path; read-only once serving
}

// NewInternal makes the handler. An empty secret lets every caller in: the
// address must then be a loopback one. healthy says why the role is not ready.
func NewInternal(secret string, set *metrics.Set, healthy func() error) *Internal {
	return &Internal{secret: secret, set: set, healthy: healthy, calls: map[string]fasthttp.RequestHandler{}}
}

// Handle adds a call. It must not be called once Serve runs.
func (in *Internal) Handle(path string, h fasthttp.RequestHandler) { in.calls[path] = h }

// Serve answers one request.
func (in *Internal) Serve(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	switch {
	case path == "/healthz":
		ctx.SetBodyString("ok\n")
	case path == "/readyz":
		if err := in.healthy(); err != nil {
			ctx.Error(err.Error()+"\n", fasthttp.StatusServiceUnavailable)
			return
		}
		ctx.SetBodyString("ok\n")
	case path == "/metrics":
		ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		in.set.WritePrometheus(ctx)
		metrics.WriteProcessMetrics(ctx)
	case strings.HasPrefix(path, "/debug/pprof"):
		ctx.URI().SetPath(strings.TrimSuffix(path, "/")) // fasthttp knows the index without a slash only
		pprofhandler.PprofHandler(ctx)
	case in.calls[path] == nil:
		ctx.Error("no such path; there are /healthz, /readyz, /metrics, /debug/pprof/\n", fasthttp.StatusNotFound)
	case !in.allowed(ctx):
		ctx.Error("cluster.secret is missing or differs\n", fasthttp.StatusUnauthorized)
	case len(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) > 0:
		// A web page on this machine reaches loopback addresses, where there may be no
		// secret; what it sends has an Origin, what roles and operators send has none.
		ctx.Error("calls from web pages are not allowed\n", fasthttp.StatusForbidden)
	default:
		in.calls[path](ctx)
	}
}

func (in *Internal) allowed(ctx *fasthttp.RequestCtx) bool {
	return in.secret == "" ||
		subtle.ConstantTimeCompare(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization), []byte(bearer(in.secret))) == 1
}

func bearer(secret string) string { return "Bearer " + secret }
