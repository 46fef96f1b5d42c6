package auth

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Identity is who a client is.
type Identity struct {
	App      string // namespace; "" is goim's
	Mid      int64  // user id; 0 and below: none
	Key      string // of the connection, never empty
	Room     string // first room; "" none
	Platform string
	Accepts  []int32 // operations it takes besides those sent to rooms
	Hints    bool    // it wants op 6 packets, which say when to reconnect, during a drain
}

// openToken is goim's token (internal/logic/conn.go:16-22) and our app and hints.
type openToken struct {
	Mid      *int64   `json:"mid"` // nil: not there, or null
	Key      string   `json:"key"`
	RoomID   *string  `json:"room_id"`
	Platform *string  `json:"platform"`
	Accepts  *[]int32 `json:"accepts"`
	App      string   `json:"app"`
	Hints    bool     `json:"hints"`
}

// ParseOpen believes a token of mode open:
//
//	{"mid":123,"key":"","room_id":"live://1000","platform":"web","accepts":[1000,1001]}
//
// All fields are optional and unknown ones ignored; mid and accepts are JSON
// integers. Beyond goim's there are app, a namespace, and hints: with
// "hints":true the client says that it knows op 6 (the server asks it to reconnect
// within some time) and is sent it when its gateway is emptied; goim's clients,
// who do not know it, never are. A client without a key is given a random UUID
// (version 4). The error names the field and what is allowed there; it quotes at
// most a few bytes of the token.
func ParseOpen(token []byte) (Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return Identity{}, err
	}
	id, err := t.identity()
	if err == nil && id.Key == "" {
		id.Key = uuid.NewString()
	}
	return id, err
}

// ParseIM believes the token of an im-cloud client: ParseOpen's, of which mid,
// room_id, platform and accepts must be there. A client without a key is given 32
// random hexadecimal digits, which is what im-cloud's look like.
func ParseIM(token []byte) (Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return Identity{}, err
	}
	for _, f := range []struct {
		name string
		is   bool
	}{{"mid", t.Mid != nil}, {"room_id", t.RoomID != nil}, {"platform", t.Platform != nil}, {"accepts", t.Accepts != nil}} {
		if !f.is {
			return Identity{}, fmt.Errorf("%s: missing, want %s", f.name, wants[f.name])
		}
	}
	id, err := t.identity()
	if err == nil && id.Key == "" {
		random := uuid.New()
		id.Key = hex.EncodeToString(random[:])
	}
	return id, err
}

func parseToken(token []byte) (t openToken, err error) {
	if !utf8.Valid(token) {
		return t, fmt.Errorf("token: %w", errUTF8) // encoding/json would mend it silently
	}
	if err := json.Unmarshal(token, &t); err != nil {
		return t, explain(err)
	}
	return t, nil
}

func (t *openToken) identity() (Identity, error) {
	id := Identity{
		App: t.App, Mid: value(t.Mid), Key: t.Key, Room: value(t.RoomID), Platform: value(t.Platform),
		Accepts: value(t.Accepts), Hints: t.Hints,
	}
	if err := id.check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

// value is what p points to, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (id *Identity) check() error {
	if err := checkText(id.Key, MaxKey); err != nil { // empty: one is made
		return fmt.Errorf("key: %w", err)
	}
	if err := CheckRoom(id.Room); err != nil {
		return fmt.Errorf("room_id: %w", err)
	}
	if err := checkText(id.Platform, MaxPlatform); err != nil {
		return fmt.Errorf("platform: %w", err)
	}
	if err := CheckApp(id.App); err != nil {
		return fmt.Errorf("app: %w", err)
	}
	if len(id.Accepts) > MaxAccepts {
		return fmt.Errorf("accepts: %d operations, at most %d are allowed", len(id.Accepts), MaxAccepts)
	}
	return nil
}

// wants is what a field of the token has to be.
var wants = map[string]string{
	"mid":      "an integer of 64 bits",
	"key":      "a string",
	"room_id":  "a string",
	"platform": "a string",
	"accepts":  "an array of integers of 32 bits",
	"app":      "a string",
	"hints":    "true or false",
}

func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("token: not JSON: %w", err)
	}
	got := wrong.Value
	if len(got) > 32 {
		got = got[:32] + "..."
	}
	want, ok := wants[wrong.Field]
	if !ok {
		return fmt.Errorf("token: got %s, want a JSON object", got)
	}
	return fmt.Errorf("%s: got %s, want %s", wrong.Field, got, want)
}
