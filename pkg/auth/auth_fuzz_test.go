package auth_test

import (
	"testing"

	"github.com/halley-im/halley/pkg/auth"
)

// What ParseOpen lets in keeps every bound, whatever the token.
func FuzzParseOpen(f *testing.F) {
	f.Add([]byte(`{"mid":123,"key":"","room_id":"live://1000","platform":"web","accepts":[1000]}`))
	f.Add([]byte(`{"hints":true}`))
	f.Add([]byte(`{"app":"a","key":"\u001f"}`))
	f.Fuzz(func(t *testing.T, token []byte) {
		id, err := auth.ParseOpen(token)
		if err != nil {
			return
		}
		if auth.CheckKey(id.Key) != nil || auth.CheckRoom(id.Room) != nil || auth.CheckApp(id.App) != nil ||
			auth.CheckName(id.Platform) != nil || len(id.Platform) > auth.MaxPlatform || len(id.Accepts) > auth.MaxAccepts {
			t.Fatalf("%q let in as %+v", token, id)
		}
	})
}
