package auth_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/halley-im/halley/pkg/auth"
)

func TestParseOpen(t *testing.T) {
	f := func(token string, want auth.Identity) {
		t.Helper()
		got, err := auth.ParseOpen([]byte(token))
		if err != nil {
			t.Fatalf("%s: %v", token, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n got %+v\nwant %+v", token, got, want)
		}
	}
	f(`{"mid":123,"key":"k","room_id":"live://1000","platform":"web","accepts":[1000,1001,-1]}`,
		auth.Identity{Mid: 123, Key: "k", Room: "live://1000", Platform: "web", Accepts: []int32{1000, 1001, -1}})
	f(`{"key":"k"}`, auth.Identity{Key: "k"})
	f(`{"key":"k","mid":-5,"app":"shop.eu-1"}`, auth.Identity{Key: "k", Mid: -5, App: "shop.eu-1"})
	f(`{"key":"k","hints":true}`, auth.Identity{Key: "k", Hints: true})
	f(`{"key":"k","hints":false}`, auth.Identity{Key: "k"})
	f(`{"key":"k","hints":null}`, auth.Identity{Key: "k"})
	// As goim's decoder: names without case, the last of a repeated one, unknown
	// and null ones ignored, any string for a room.
	f(`{"KEY":"a","key":"k","x":{"y":[1]},"mid":null,"accepts":null,"room_id":"a/b c"}`, auth.Identity{Key: "k", Room: "a/b c"})
	f(" {\"key\":\"钥匙\"}\n", auth.Identity{Key: "钥匙"})
	f(`{"key":"`+strings.Repeat("k", auth.MaxKey)+`"}`, auth.Identity{Key: strings.Repeat("k", auth.MaxKey)})
}

func TestParseOpenGivesKey(t *testing.T) {
	seen := map[string]bool{}
	for _, token := range []string{`{}`, `{"key":""}`, `null`} {
		id, err := auth.ParseOpen([]byte(token))
		if err != nil {
			t.Fatal(err)
		}
		u, err := uuid.Parse(id.Key)
		if err != nil || u.Version() != 4 || seen[id.Key] {
			t.Fatalf("%s: key %q is no fresh UUID of version 4: %v", token, id.Key, err)
		}
		seen[id.Key] = true
	}
}

func TestParseOpenRefuses(t *testing.T) {
	f := func(token, want string) {
		t.Helper()
		id, err := auth.ParseOpen([]byte(token))
		if err == nil || err.Error() != want {
			t.Fatalf("%.80s:\n got %v\nwant %s", token, err, want)
		}
		if !reflect.DeepEqual(id, auth.Identity{}) {
			t.Fatalf("%.80s: refused, but answered %+v", token, id)
		}
	}
	f(``, `token: not JSON: unexpected end of JSON input`)
	f(`{"mid":1}x`, `token: not JSON: invalid character 'x' after top-level value`)
	f(`[1]`, `token: got array, want a JSON object`)
	f(`"secret"`, `token: got string, want a JSON object`)
	f(`{"mid":"1"}`, `mid: got string, want an integer of 64 bits`)
	f(`{"mid":1.0}`, `mid: got number 1.0, want an integer of 64 bits`)
	f(`{"mid":1e3}`, `mid: got number 1e3, want an integer of 64 bits`)
	f(`{"mid":9223372036854775808}`, `mid: got number 9223372036854775808, want an integer of 64 bits`)
	f(`{"mid":`+strings.Repeat("9", 999)+`}`, `mid: got number 9999999999999999999999999..., want an integer of 64 bits`)
	f(`{"key":1}`, `key: got number, want a string`)
	f(`{"accepts":"1000"}`, `accepts: got string, want an array of integers of 32 bits`)
	f(`{"accepts":[1,2147483648]}`, `accepts: got number 2147483648, want an array of integers of 32 bits`)
	f(`{"hints":1}`, `hints: got number, want true or false`)
	f(`{"hints":"true"}`, `hints: got string, want true or false`)
	f(`{"key":"`+strings.Repeat("k", 257)+`"}`, `key: 257 bytes, at most 256 are allowed`)
	f(`{"room_id":"`+strings.Repeat("r", 257)+`"}`, `room_id: 257 bytes, at most 256 are allowed`)
	f(`{"platform":"`+strings.Repeat("p", 65)+`"}`, `platform: 65 bytes, at most 64 are allowed`)
	f(`{"app":"`+strings.Repeat("a", 65)+`"}`, `app: 65 bytes, at most 64 are allowed`)
	f(`{"app":"a b"}`, `app: only letters, digits, '.', '_' and '-' are allowed`)
	f(`{"accepts":[`+strings.Repeat("1,", 1024)+`1]}`, `accepts: 1025 operations, at most 1024 are allowed`)
	// Names that could stand for a name of another app.
	f(`{"key":"shop\u001fk"}`, `key: control characters are not allowed`)
	f(`{"room_id":"shop\u001flive://1"}`, `room_id: control characters are not allowed`)
	f(`{"key":"a\u0000"}`, `key: control characters are not allowed`)
	f(`{"key":"a\u007f"}`, `key: control characters are not allowed`)
	f(`{"key":"a\u0085"}`, `key: control characters are not allowed`)
	f("{\"key\":\"a\xff\"}", `token: not valid UTF-8`)
}

func TestCheckNames(t *testing.T) {
	f := func(got error, want string) {
		t.Helper()
		if fmt.Sprint(got) != want {
			t.Fatalf("got %v, want %s", got, want)
		}
	}
	f(auth.CheckKey("k"), "<nil>")
	f(auth.CheckKey(""), "empty")
	f(auth.CheckKey("\xff"), "not valid UTF-8")
	f(auth.CheckRoom(""), "<nil>")
	f(auth.CheckRoom("live://\n"), "control characters are not allowed")
	f(auth.CheckName(strings.Repeat("é", 9999)), "<nil>")
	f(auth.CheckName("\u00a0�"), "<nil>")
	f(auth.CheckName("a\x1fb"), "control characters are not allowed")
	f(auth.CheckApp(""), "<nil>")
	f(auth.CheckApp("é"), "only letters, digits, '.', '_' and '-' are allowed")
}

func TestConfig(t *testing.T) {
	if err := auth.Default().Validate(); err != nil {
		t.Fatal(err)
	}
	err := auth.Config{Mode: "jwt"}.Validate()
	if err == nil || err.Error() != `auth.mode: "jwt", only "open" is known` {
		t.Fatalf("got %v", err)
	}
}

func TestCheckListeners(t *testing.T) {
	f := func(ok bool, addrs ...string) {
		t.Helper()
		if err := auth.Default().CheckListeners(addrs...); (err == nil) != ok {
			t.Fatalf("%v: got %v", addrs, err)
		}
		forced := auth.Config{Mode: auth.ModeOpen, InsecureOpen: true}
		if err := forced.CheckListeners(addrs...); err != nil {
			t.Fatalf("%v: refused although forced: %v", addrs, err)
		}
	}
	f(true)
	f(true, "127.0.0.1:3101", "127.9.9.9:0", "[::1]:3102", "localhost:3101", "", "[::ffff:127.0.0.1]:1")
	f(false, "127.0.0.1:3101", "0.0.0.0:3102")
	f(false, ":3101")
	f(false, "[::]:3101")
	f(false, "10.0.0.1:3101")
	f(false, "localhost.example.com:3101")
	f(false, "3101")
}

// im-cloud wants four fields to be there; what they hold may be empty.
func TestParseIM(t *testing.T) {
	id, err := auth.ParseIM([]byte(`{"mid":123,"room_id":"live://1000","platform":"web","accepts":[1000]}`))
	if err != nil || id.Mid != 123 || id.Room != "live://1000" || id.Platform != "web" || len(id.Accepts) != 1 {
		t.Errorf("got %+v, %v", id, err)
	}
	if len(id.Key) != 32 || strings.Trim(id.Key, "0123456789abcdef") != "" {
		t.Errorf("key %q", id.Key)
	}
	if id, err := auth.ParseIM([]byte(`{"mid":0,"room_id":"","platform":"","accepts":[],"key":"k"}`)); err != nil || id.Key != "k" {
		t.Errorf("empty values: %+v, %v", id, err)
	}
	for field, token := range map[string]string{
		"mid":      `{"room_id":"live://1000","platform":"web","accepts":[1000]}`,
		"room_id":  `{"mid":123,"platform":"web","accepts":[1000]}`,
		"platform": `{"mid":123,"room_id":"live://1000","accepts":[1000]}`,
		"accepts":  `{"mid":123,"room_id":"live://1000","platform":"web","accepts":null}`,
	} {
		if _, err := auth.ParseIM([]byte(token)); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: got %v", token, err)
		}
	}
}
