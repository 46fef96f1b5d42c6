package auth

import (
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
}

// openToken is goim's token (internal/logic/conn.go:16-22) and our app.
type openToken struct {
	Mid      int64   `json:"mid"`
	Key      string  `json:"key"`
	RoomID   string  `json:"room_id"`
	Platform string  `json:"platform"`
	Accepts  []int32 `json:"accepts"`
	App      string  `json:"app"`
}

// ParseOpen believes a token of mode open:
//
//	{"mid":123,"key":"","room_id":"live://1000","platform":"web","accepts":[1000,1001]}
//
// All fields are optional and unknown ones ignored; mid and accepts are JSON
// integers. A client without a key is given a random UUID (version 4). The
// error names the field and what is allowed there; it quotes at most a few bytes
// of the token.
func ParseOpen(token []byte) (Identity, error) {
	if !utf8.Valid(token) {
		return Identity{}, fmt.Errorf("token: %w", errUTF8) // encoding/json would mend it silently
	}
	var t openToken
	if err := json.Unmarshal(token, &t); err != nil {
		return Identity{}, explain(err)
	}
	id := Identity{App: t.App, Mid: t.Mid, Key: t.Key, Room: t.RoomID, Platform: t.Platform, Accepts: t.Accepts}
	if err := id.check(); err != nil {
		return Identity{}, err
	}
	if id.Key == "" {
		id.Key = uuid.NewString()
	}
	return id, nil
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
