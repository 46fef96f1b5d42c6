package auth

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds of what a client may bring, in bytes. goim has none; these are far
// above what its clients use and keep routes, rooms and sessions small.
const (
	MaxKey      = 256
	MaxRoom     = 256
	MaxPlatform = 64
	MaxApp      = 64
	MaxAccepts  = 1024 // operations
)

var (
	errUTF8    = errors.New("not valid UTF-8")
	errControl = errors.New("control characters are not allowed")
	errEmpty   = errors.New("empty")
	errApp     = errors.New("only letters, digits, '.', '_' and '-' are allowed")
)

// CheckName refuses what no name may hold: control characters and bytes that
// are not UTF-8. The empty name passes. It is the least that is asked of a name
// that is only looked for (goim's REST takes any).
func CheckName(s string) error {
	for i := 0; i < len(s); {
		// Fast path - ASCII.
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7f {
				return errControl
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return errUTF8
		}
		if r < 0xa0 { // C1
			return errControl
		}
		i += n
	}
	return nil
}

// CheckKey says what is wrong with a connection key: 1 to MaxKey bytes.
func CheckKey(s string) error {
	if s == "" {
		return errEmpty
	}
	return checkText(s, MaxKey)
}

// CheckRoom says what is wrong with a room id. "" is no room and passes; goim
// takes any string for a room, and so the form type://id is not asked for.
func CheckRoom(s string) error { return checkText(s, MaxRoom) }

// CheckApp says what is wrong with the name of an app. "" is goim's and passes.
func CheckApp(s string) error {
	if err := checkLen(s, MaxApp); err != nil {
		return err
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return errApp
		}
	}
	return nil
}

func checkText(s string, limit int) error {
	if err := checkLen(s, limit); err != nil {
		return err
	}
	return CheckName(s)
}

func checkLen(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(s), limit)
	}
	return nil
}
