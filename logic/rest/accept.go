package rest

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/push"
)

// Headers of pushes.
const (
	headerPushID    = "X-Push-Id"    // in: the caller's id of the push; out: ours
	headerPushState = "X-Push-State" // out, when ack=queued failed
)

// retryAfter is what a 503 asks for, in seconds: the pump empties a full log at
// tens of thousands of pushes a second once the queue is back.
const retryAfter = "1"

// handover runs when the answer was written: fasthttp closes the user values of a
// request then. It only wakes the pump, because the connection waits for it.
type handover struct{ logic *logic.Logic }

type handoverKey struct{}

// Close implements io.Closer.
func (h handover) Close() error {
	h.logic.Wake()
	return nil
}

// errPush is a push that cannot be accepted as it stands.
type errPush struct{ error }

// accept takes one push over and sets X-Push-Id; if queued, it also waits until
// the queue has it. Errors are errPush and those of Logic's Push, PushOnce and
// Queued.
func (a *API) accept(ctx *fasthttp.RequestCtx, m push.Message, queued bool) error {
	msgs := []push.Message{m}
	if id := ctx.Request.Header.Peek(headerPushID); len(id) > 0 {
		name := string(id)
		if err := logic.CheckPushID(name); err != nil {
			return errPush{fmt.Errorf("%s: %w", headerPushID, err)}
		}
		if err := a.logic.PushOnce(msgs, []string{name}); err != nil {
			return err
		}
	} else if err := a.logic.Push(msgs); err != nil {
		return err
	}
	ctx.Response.Header.Set(headerPushID, msgs[0].ID.String())
	if queued {
		return a.logic.Queued(ctx, msgs[0].ID)
	}
	ctx.SetUserValue(handoverKey{}, a.handover)
	return nil
}

// parseAck says whether the caller wants to wait for the queue. "" is what the
// configuration says.
func parseAck(ack string, byDefault string) (queued bool, err error) {
	if ack == "" {
		ack = byDefault
	}
	switch ack {
	case logic.AckAccepted:
		return false, nil
	case logic.AckQueued:
		return true, nil
	default:
		return false, fmt.Errorf("ack: %q is none of %s, %s", ack, logic.AckAccepted, logic.AckQueued)
	}
}

// setBusy makes the answer a 503.
func setBusy(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
	ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
}

// setState tells what is known of a push that ack=queued failed for. One that was
// given up or refused keeps no id: it is no push any more.
func setState(ctx *fasthttp.RequestCtx, err error) {
	switch {
	case errors.Is(err, logic.ErrUnknown):
		ctx.Response.Header.Set(headerPushState, "unknown")
	case errors.Is(err, logic.ErrNotQueued):
		ctx.Response.Header.Set(headerPushState, "cancelled")
		ctx.Response.Header.Del(headerPushID)
	case errors.Is(err, logic.ErrTooLarge):
		ctx.Response.Header.Set(headerPushState, "refused")
		ctx.Response.Header.Del(headerPushID)
	}
}
