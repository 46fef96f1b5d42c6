package rest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/auth"
	"github.com/halley-im/halley/pkg/push"
)

const (
	pathBatch = "/v1/push/batch"
	// maxPushes bounds the pushes of a batch: more gain nothing, and all of them
	// have to fit into the log at once.
	maxPushes = 1000
)

// Codes of errors under /v1 beside goim's: the HTTP status, negative.
const (
	codeNotFound = -404
	codeMethod   = -405
)

func (a *API) serveV1(ctx *fasthttp.RequestCtx, path, query []byte) {
	switch {
	case string(path) != pathBatch:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		envelope(ctx, codeNotFound, "no such path: there is POST "+pathBatch, nil)
	case !ctx.IsPost():
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		ctx.Response.Header.Set(fasthttp.HeaderAllow, fasthttp.MethodPost)
		envelope(ctx, codeMethod, pathBatch+" takes POST", nil)
	default:
		a.pushBatch(ctx, query)
	}
}

// batchPush is one push of a batch: exactly one of Keys, Mids, Room and All, and
// exactly one of Body and Body64.
type batchPush struct {
	ID     string   `json:"id"` // the caller's; "" none
	App    string   `json:"app"`
	Op     int32    `json:"op"`
	Keys   []string `json:"keys"`
	Mids   []int64  `json:"mids"`
	Room   string   `json:"room"` // type://id
	All    bool     `json:"all"`
	Speed  int32    `json:"speed"` // with All: messages per second
	Body   *string  `json:"body"`
	Body64 *string  `json:"body64"`
}

// accepted is what a caller learns about a push of a batch.
type accepted struct {
	ID string `json:"id"`
}

// pushBatch takes all pushes of a batch over, or none.
func (a *API) pushBatch(ctx *fasthttp.RequestCtx, query []byte) {
	if n := len(ctx.PostBody()); n > MaxBatch {
		a.tooLarge(ctx, dialectV1, fmt.Errorf("body: %d bytes, at most %d are allowed", n, MaxBatch))
		return
	}
	var ack first
	for p := (params{raw: query}); p.next(); {
		if string(p.key) == "ack" {
			ack.set(p.value)
		}
	}
	queued, err := parseAck(string(ack.value), logic.AckAccepted)
	var msgs []push.Message
	var ids []string
	if err == nil {
		msgs, ids, err = a.parseBatch(ctx.PostBody())
	}
	if err != nil {
		ctx.SetStatusCode(fasthttp.StatusBadRequest)
		envelope(ctx, codeRequest, err.Error(), nil)
		return
	}
	if err := a.logic.PushOnce(msgs, ids); err != nil {
		setBusy(ctx)
		envelope(ctx, codeServer, err.Error(), nil)
		return
	}
	data := make([]accepted, len(msgs))
	pushed := make([]push.ID, len(msgs))
	for i := range msgs {
		pushed[i] = msgs[i].ID
		data[i].ID = msgs[i].ID.String()
	}
	if !queued {
		ctx.SetUserValue(handoverKey{}, a.handover)
		envelope(ctx, codeOK, "", data)
		return
	}
	a.answerQueued(ctx, a.logic.Queued(ctx, pushed...), data)
}

// answerQueued answers a batch that waited for the queue. The ids are told unless
// it is known that none of the pushes was sent.
func (a *API) answerQueued(ctx *fasthttp.RequestCtx, err error, data []accepted) {
	switch {
	case err == nil:
		envelope(ctx, codeOK, "", data)
		return
	case errors.Is(err, logic.ErrNotQueued):
		setBusy(ctx)
		envelope(ctx, codeServer, err.Error(), nil)
	case errors.Is(err, logic.ErrTooLarge):
		ctx.SetStatusCode(fasthttp.StatusRequestEntityTooLarge)
		envelope(ctx, codeServer, err.Error(), data)
	default:
		ctx.SetStatusCode(fasthttp.StatusGatewayTimeout)
		envelope(ctx, codeServer, err.Error(), data)
	}
	setState(ctx, err)
}

func (a *API) parseBatch(body []byte) (msgs []push.Message, ids []string, err error) {
	if !utf8.Valid(body) {
		return nil, nil, errors.New("body: not valid UTF-8; send other bytes as body64")
	}
	var batch struct {
		Pushes []json.RawMessage `json:"pushes"`
	}
	if err := strict(body, &batch); err != nil {
		return nil, nil, fmt.Errorf("body%w", err)
	}
	if n := len(batch.Pushes); n == 0 || n > maxPushes {
		return nil, nil, fmt.Errorf("pushes: %d of them, 1 to %d are allowed", n, maxPushes)
	}
	msgs = make([]push.Message, len(batch.Pushes))
	ids = make([]string, len(batch.Pushes))
	for i, raw := range batch.Pushes {
		var p batchPush
		if err := strict(raw, &p); err != nil {
			return nil, nil, fmt.Errorf("pushes[%d]%w", i, err)
		}
		if msgs[i], err = a.message(&p); err != nil {
			return nil, nil, fmt.Errorf("pushes[%d].%w", i, err)
		}
		ids[i] = p.ID
	}
	return msgs, ids, nil
}

// strict decodes JSON and refuses fields that it does not know. Its errors begin
// with ": " or with "." and the field at fault.
func strict(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New(": empty, want JSON")
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf(": got %.32s, want an object", wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf(".%s: got %.32s, want %s", wrong.Field, wrong.Value, wantedTypes[wrong.Field])
	case err != nil:
		return fmt.Errorf(": %s", strings.TrimPrefix(err.Error(), "json: "))
	case d.More():
		return errors.New(": more than one JSON value")
	}
	return nil
}

// wantedTypes is what the fields of a batch and of a batchPush have to be.
var wantedTypes = map[string]string{
	"pushes": "an array",
	"id":     "a string", "app": "a string", "op": "an integer of 32 bits", "keys": "an array of strings",
	"mids": "an array of integers of 64 bits", "room": "a string", "all": "true or false",
	"speed": "an integer of 32 bits", "body": "a string", "body64": "a string",
}

// message checks a push. Errors begin with the field.
func (a *API) message(p *batchPush) (push.Message, error) {
	m := push.Message{App: p.App, Op: p.Op}
	if err := firstError(
		prefixed("id", logic.CheckPushID(p.ID)),
		prefixed("app", auth.CheckApp(p.App)),
	); err != nil {
		return m, err
	}
	if p.Op == 0 {
		return m, errors.New("op: an integer other than 0 is needed")
	}
	var err error
	if m.To, err = batchTarget(p); err != nil {
		return m, err
	}
	m.Body, err = a.batchBody(p)
	return m, err
}

func batchTarget(p *batchPush) (push.Target, error) {
	targets := 0
	for _, given := range []bool{len(p.Keys) > 0, len(p.Mids) > 0, p.Room != "", p.All} {
		if given {
			targets++
		}
	}
	switch {
	case targets != 1:
		return push.Target{}, fmt.Errorf("keys, .mids, .room, .all: exactly one of them is needed, %d are given", targets)
	case p.Speed < 0:
		return push.Target{}, fmt.Errorf("speed: %d, 0 (no limit) or more is allowed", p.Speed)
	case p.Speed > 0 && !p.All:
		return push.Target{}, errors.New("speed: allowed with all only")
	case p.All:
		return push.Target{Kind: push.All, Speed: p.Speed}, nil
	case len(p.Mids) > 0:
		return push.Target{Kind: push.Mids, Mids: p.Mids}, nil
	case p.Room != "":
		typ, id, found := strings.Cut(p.Room, "://")
		if !found || typ == "" || id == "" {
			return push.Target{}, fmt.Errorf("room: %.64q is not of the form type://id", p.Room)
		}
		return push.Target{Kind: push.Room, Room: p.Room}, prefixed("room", auth.CheckRoom(p.Room))
	}
	for i, k := range p.Keys {
		if err := auth.CheckKey(k); err != nil {
			return push.Target{}, fmt.Errorf("keys[%d]: %w", i, err)
		}
	}
	return push.Target{Kind: push.Keys, Keys: p.Keys}, nil
}

func (a *API) batchBody(p *batchPush) ([]byte, error) {
	var body []byte
	switch {
	case (p.Body == nil) == (p.Body64 == nil):
		return nil, errors.New("body, .body64: exactly one of them is needed")
	case p.Body != nil:
		body = []byte(*p.Body)
	default:
		var err error
		if body, err = base64.StdEncoding.DecodeString(*p.Body64); err != nil {
			return nil, fmt.Errorf("body64: %w", err)
		}
	}
	return body, a.checkBody(len(body))
}
