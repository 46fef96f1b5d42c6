package rest_test

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/logic/rest"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/push"
)

// bottomless is a log that keeps nothing: what is measured is the handler.
type bottomless struct{ last atomic.Uint64 }

func (*bottomless) ID() uint64                               { return 1 }
func (*bottomless) Next(uint64, int) ([]push.Message, error) { return nil, nil }
func (*bottomless) Commit(uint64) error                      { return nil }
func (*bottomless) Depth() (int, int64)                      { return 0, 0 }
func (b *bottomless) Append(msgs []push.Message) error {
	for i := range msgs {
		msgs[i].ID = push.ID{Spool: 1, Index: b.last.Add(1)}
	}
	return nil
}

func benchmark(b *testing.B, method, uri, body string) {
	reg := memory.NewRegistry()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	set := metrics.NewSet()
	l, err := logic.New(logic.Default(), logic.Deps{
		Registry: reg, Nodes: reg, Locks: reg, Rooms: reg, Publisher: memory.NewQueue(4, 1<<30),
		Spool: &bottomless{}, Gateways: gateways{},
	}, log, set)
	if err != nil {
		b.Fatal(err)
	}
	api := rest.New(l, logic.Default(), log, set)
	var ctx fasthttp.RequestCtx
	b.ReportAllocs()
	for b.Loop() {
		ctx.Request.Reset()
		ctx.Response.Reset()
		ctx.ResetUserValues()
		ctx.Request.Header.SetMethod(method)
		ctx.Request.Header.SetRequestURI(uri)
		ctx.Request.SetBodyString(body)
		api.Handler(&ctx)
	}
	if ctx.Response.StatusCode() != 200 {
		b.Fatalf("answered %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
}

func BenchmarkPushRoom(b *testing.B) {
	benchmark(b, "POST", "/goim/push/room?operation=1000&type=live&room=1000", "thirty bytes of a real message")
}

func BenchmarkPushMids(b *testing.B) {
	benchmark(b, "POST", "/goim/push/mids?operation=1000&mids=123&mids=456&mids=789", "thirty bytes of a real message")
}

func BenchmarkPushKeys(b *testing.B) {
	benchmark(b, "POST", "/goim/push/keys?operation=1000&keys=f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "thirty bytes of a real message")
}

func BenchmarkIMPushRoom(b *testing.B) {
	benchmark(b, "POST", "/im/push/room?type=live&room=1000&msg=thirty+bytes+of+a+real+message", "")
}
