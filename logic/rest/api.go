package rest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
)

// MaxBatch bounds the body of /v1/push/batch, in bytes.
const MaxBatch = 4 << 20

const typeJSON = "application/json; charset=utf-8"

// API answers the REST API of one logic node. It may be used concurrently.
type API struct {
	// Static after construction.
	logic    *logic.Logic
	cfg      logic.Config
	log      *slog.Logger
	set      *metrics.Set
	answers  map[answer]*metrics.Counter // the usual ones; read-only
	panics   *metrics.Counter
	handover handover
}

// dialect is whose words an answer is in.
type dialect string

const (
	dialectGoim dialect = "goim" // also all paths that nobody owns
	dialectIM   dialect = "im"
	dialectV1   dialect = "v1"
)

type answer struct {
	api    dialect
	status int
}

// endpoint is what serves a path: one method, as method expression so that none
// is allocated per request.
type endpoint struct {
	method string
	serve  func(a *API, ctx *fasthttp.RequestCtx, query []byte)
}

// New makes the API of l; cfg is l's. set gets its metrics.
func New(l *logic.Logic, cfg logic.Config, log *slog.Logger, set *metrics.Set) *API {
	a := &API{
		logic: l, cfg: cfg, log: log, set: set,
		answers:  map[answer]*metrics.Counter{},
		panics:   set.NewCounter("halley_logic_http_panics_total"),
		handover: handover{l},
	}
	for _, d := range []dialect{dialectGoim, dialectIM, dialectV1} {
		for _, status := range []int{200, 400, 404, 413, 500, 503} {
			a.answers[answer{d, status}] = set.NewCounter(counterName(d, status))
		}
	}
	return a
}

func counterName(d dialect, status int) string {
	return fmt.Sprintf(`halley_logic_http_answers_total{api=%q,status="%d"}`, string(d), status)
}

// MaxRequestBody is what a server must let through, in bytes: the largest body of
// any route. What is larger is for TooLarge.
func (a *API) MaxRequestBody() int { return max(MaxBatch, a.cfg.MaxBody) }

// Handler answers one request. It does not panic.
func (a *API) Handler(ctx *fasthttp.RequestCtx) {
	d := dialectGoim
	defer func() {
		if p := recover(); p != nil {
			a.panics.Inc()
			a.log.Error("panic in a REST handler", "path", string(ctx.Path()), "err", p, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			ctx.Response.Header.SetNoDefaultContentType(true)
			ctx.SetStatusCode(fasthttp.StatusInternalServerError)
		}
		a.count(d, ctx.Response.StatusCode())
	}()
	path, query, ok := target(ctx)
	d = dialectOf(path)
	switch {
	case !ok:
		badEscape(ctx)
	case d == dialectIM:
		a.serveIM(ctx, path, query)
	case d == dialectV1:
		a.serveV1(ctx, path, query)
	default:
		a.serveGoim(ctx, path, query)
	}
}

func (a *API) count(d dialect, status int) {
	c := a.answers[answer{d, status}]
	if c == nil {
		c = a.set.GetOrCreateCounter(counterName(d, status))
	}
	c.Inc()
}

func dialectOf(path []byte) dialect {
	switch {
	case bytes.HasPrefix(path, []byte("/im/")), string(path) == "/health":
		return dialectIM
	case bytes.HasPrefix(path, []byte("/v1/")), string(path) == "/v1":
		return dialectV1
	default:
		return dialectGoim
	}
}

// target is the path of a request, unescaped once and not cleaned in any other
// way, and its query as it stands, without '?'. ok is false for a path with a bad
// escape.
func target(ctx *fasthttp.RequestCtx) (path, query []byte, ok bool) {
	uri := ctx.Request.Header.RequestURI()
	if len(uri) == 0 || uri[0] != '/' { // absolute form
		path, query = ctx.URI().PathOriginal(), ctx.URI().QueryString()
	} else {
		path, query, _ = bytes.Cut(uri, []byte("?"))
	}
	// Fast path - nothing is escaped.
	if bytes.IndexByte(path, '%') < 0 {
		return path, query, true
	}
	plain, err := url.PathUnescape(string(path))
	return []byte(plain), query, err == nil
}

// badEscape answers as net/http does, which reads no further.
func badEscape(ctx *fasthttp.RequestCtx) {
	ctx.Error("400 Bad Request", fasthttp.StatusBadRequest)
	ctx.SetConnectionClose()
}

// TooLarge answers a request that the server could not read: too large, too slow
// or malformed. It is for fasthttp.Server.ErrorHandler; the connection is closed
// afterwards.
func (a *API) TooLarge(ctx *fasthttp.RequestCtx, err error) {
	path, _, _ := target(ctx)
	d := dialectOf(path)
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		a.tooLarge(ctx, d, fmt.Errorf("body: at most %d bytes are allowed", a.maxBody(path)))
	case errors.As(err, &small):
		ctx.Error(fmt.Sprintf("the request's head is larger than %d bytes", a.cfg.MaxHeader), fasthttp.StatusRequestHeaderFieldsTooLarge)
	case errors.As(err, &netErr) && netErr.Timeout():
		ctx.Error("the request took too long", fasthttp.StatusRequestTimeout)
	default:
		ctx.Error("malformed request", fasthttp.StatusBadRequest)
	}
	a.count(d, ctx.Response.StatusCode())
}

func (a *API) maxBody(path []byte) int {
	if string(path) == pathBatch {
		return MaxBatch
	}
	return a.cfg.MaxBody
}

// tooLarge answers 413 in the words of d.
func (a *API) tooLarge(ctx *fasthttp.RequestCtx, d dialect, err error) {
	ctx.SetStatusCode(fasthttp.StatusRequestEntityTooLarge)
	switch d {
	case dialectIM:
		imError(ctx, err.Error())
	default:
		envelope(ctx, codeRequest, err.Error(), nil)
	}
}

// checkBody says whether n bytes are more than the body of a push may have.
func (a *API) checkBody(n int) error {
	if n > a.cfg.MaxBody {
		return fmt.Errorf("body: %d bytes, at most %d are allowed", n, a.cfg.MaxBody)
	}
	return nil
}
