package redis

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/cluster"
)

func TestParseValue(t *testing.T) {
	f := func(in string, want cluster.Route, wantErr error) {
		t.Helper()
		b, err := hex.DecodeString(strings.ReplaceAll(in, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseValue(string(b))
		if got != want || !errors.Is(err, wantErr) {
			t.Fatalf("%s: %+v, %v, want %+v, %v", in, got, err, want, wantErr)
		}
		if err != nil {
			return
		}
		if again := append(appendHead(nil, &got), got.Mid...); string(again) != string(b) {
			t.Fatalf("%s: written as %x", in, again)
		}
		if behind := appendBehindStamp(nil, &got); string(behind) != string(b[behindStamp:]) {
			t.Fatalf("%s: written behind the stamp as %x", in, behind)
		}
	}
	// The layout is shared by all versions that run at a time: these stay.
	f("01 060a24181e4001 060a24181e4000 04 67772d31 313233",
		cluster.Route{Stamp: 1700000000000001, Epoch: 1700000000000000, Node: "gw-1", Mid: "123"}, nil)
	f("01 00000000000001 00000000000002 02 6777", cluster.Route{Stamp: 1, Epoch: 2, Node: "gw"}, nil)
	f("01 ffffffffffffff ffffffffffffff 00", cluster.Route{Stamp: 1<<56 - 1, Epoch: 1<<56 - 1}, nil)

	f("", cluster.Route{}, errMalformed)
	f("01 00000000000001 00000000000002", cluster.Route{}, errMalformed)
	f("01 00000000000001 00000000000002 03 6777", cluster.Route{}, errMalformed)
	f("02 00000000000001 00000000000002 02 6777", cluster.Route{}, errMalformed)
	f("00 00000000000001 00000000000002 02 6777", cluster.Route{}, errMalformed)
}

func FuzzParseValue(f *testing.F) {
	f.Add("")
	f.Add(string(append(appendHead(nil, &cluster.Route{Stamp: 1, Epoch: 2, Node: "gw"}), "1"...)))
	f.Fuzz(func(t *testing.T, in string) {
		r, err := parseValue(in)
		if err != nil {
			return
		}
		if again := append(appendHead(nil, &r), r.Mid...); string(again) != in {
			t.Fatalf("%x is written as %x", in, again)
		}
	})
}

func TestParseInfo(t *testing.T) {
	f := func(in string, ok bool) {
		t.Helper()
		n, err := parseInfo(in)
		if (err == nil) != ok {
			t.Fatalf("%q: %+v, %v", in, n, err)
		}
		if ok && (n.ID != "a" || n.Epoch != 12 || n.Renewed != 34) {
			t.Fatalf("%q: %+v", in, n)
		}
	}
	f(`12 34 {"id":"a","epoch":1,"renewed":2}`, true)
	f(`12 34 {"id":"a","of a later version":{}}`, true)
	f(``, false)
	f(`12 34`, false)
	f(`12 {"id":"a"}`, false)
	f(`x 34 {"id":"a"}`, false)
	f(`12 x {"id":"a"}`, false)
	f(`12 34 {"id":"a"`, false)
}
