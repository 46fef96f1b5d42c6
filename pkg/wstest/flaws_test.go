package wstest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// silent is what is seen of a server that should have said something.
const silent = "nothing came"

// flaws are what a server may do wrong. Each of cases must find it; want is in
// the error, so that it is not something else that was found.
var flaws = []struct {
	flaw, want string
	cases      []string
}{
	{"wrong accept", "Sec-WebSocket-Accept", []string{"4.1/plain", "4.2.2/accept-of-key-all-ones"}},
	{"no host", "answered 101", []string{"4.2.1/host-missing", "4.2.1/host-twice", "4.2.1/host-with-path"}},
	{"no upgrade", "answered 101", []string{"4.2.1/upgrade-missing", "4.2.1/upgrade-longer-word"}},
	{"any key", "answered 101", []string{"4.2.1/key-missing", "4.2.1/key-twice", "4.2.1/key-in-base64url", "4.2.1/key-of-15-bytes"}},
	{"any version", "answered 101", []string{"4.4/version-missing", "4.4/version-12", "4.4/version-twice", "4.4/version-list"}},
	{"no version in 426", "Sec-WebSocket-Version", []string{"4.4/version-7"}},
	{"body in 101", "content-length", []string{"4.1/plain"}},
	{"other subprotocol", "§11.3.4", []string{"4.2.2/subprotocol-one"}},
	{"loses what came with the request", silent, []string{"4.1/message-with-the-request", "4.1/close-with-the-request"}},

	{"masks", "must not mask", []string{"5.2/text-of-1-at-once", "5.5.2/ping-of-0"}},
	{"long lengths", "shortest form", []string{"5.2/text-of-125-at-once", "5.2/binary-of-65535-in-pieces-of-997"}},
	{"reserved bits of its own", "reserved bits", []string{"5.2/text-of-1-at-once", "5.5.2/ping-of-0"}},
	{"unmasked", "got a Close frame with code 1005", []string{"5.1/unmasked-empty-close"}},
	{"unmasked", "unexpected", []string{"5.1/unmasked-text", "5.1/unmasked-ping-inside-a-message", "4.1/violation-with-the-request"}},
	{"reserved bits", "unexpected", []string{"5.2/reserved-bits-001-on-text", "5.2/reserved-bits-100-on-ping", "7692:6/rsv2-on-compressed"}},
	{"reserved bits", "code 1007", []string{"9.1/unknown-gives-reserved-bits-no-meaning"}},
	{"reserved bits", silent, []string{"5.2/reserved-bits-111-on-pong", "7692:6/bit-on-pong"}},
	{"reserved opcodes", "reserved opcode 0x3", []string{"5.2/opcode-3-alone", "5.2/opcode-3-with-payload-after-a-message"}},
	{"reserved opcodes", silent, []string{"5.2/opcode-11-alone"}},
	{"not minimal", "unexpected", []string{"5.2/0-bytes-in-16-bits", "5.2/65535-bytes-in-64-bits", "5.2/last-fragment-in-64-bits"}},
	{"whole headers only", "got a Close frame with code 1002", []string{"5.2/64-bit-length-cut-after-byte-2", "5.2/16-bit-length-cut-after-byte-5"}},

	{"orphans", "§5.4", []string{"5.4/continuation-without-start", "5.4/continuation-after-fragmented-message"}},
	{"interleaved", "unexpected", []string{"5.4/text-inside-text", "5.4/binary-inside-text"}},
	{"loses the middle of messages", "want a text", []string{"5.4/three-fragments", "5.4/text-of-65536-in-frames-of-1300"}},
	{"late pongs", silent, []string{"5.4/ping-answered-before-the-message-ends"}},
	{"fragmented control", "unexpected", []string{"5.5/ping-fragmented", "5.5/ping-without-fin-and-empty"}},
	{"long control", "more than 125 bytes", []string{"5.5/ping-of-126-inside-a-message"}},
	{"empty pongs", "want a pong", []string{"5.5.2/ping-of-1", "5.5.2/10-pings-each-answered", "5.4/ping-between-fragments"}},
	{"drops empty messages", silent, []string{"5.2/text-of-0-at-once", "5.4/all-fragments-empty", "7692:7.2.3.6/empty-message"}},
	{"never echoes", "waiting for a text", []string{"5.4/continuation-after-whole-message", "5.5.1/message-then-close"}},
	{"text as binary", "want a text", []string{"5.2/text-of-65536-at-once", "5.4/two-fragments"}},
	{"no utf-8", "not UTF-8", []string{"8.1/bad-overlong-2-nul", "8.1/bad-surrogate-d800-in-fragments-of-1", "8.1/bad-byte-at-65535", "7692:7.2.2/bad-utf8-latin-1"}},
	{"utf-8 of each frame", "got a Close frame with code 1007", []string{"5.6/code-points-across-fragments", "8.1/good-u+10000-in-fragments-of-1"}},

	{"any close code", "code 999", []string{"7.4/code-999"}},
	{"any close code", "code 1005", []string{"7.4/code-1005"}},
	{"always 1000", "code 1000", []string{"7.4/code-1001", "7.4/code-4999-with-reason"}},
	{"always 1001", "with code 1000", []string{"4.1/plain", "5.2/text-of-1-at-once"}},
	{"no utf-8 in reasons", "reason", []string{"5.5.1/reason-latin-1", "5.5.1/reason-truncated"}},
	{"no close frames", "without a Close frame", []string{"5.1/unmasked-text", "7692:7.2.2/block-type-3"}},
	{"always 1002", "code 1002", []string{"8.1/bad-byte-ff", "10.4/one-more-in-one-frame-text", "7692:8/one-more"}},
	{"goes on after close", "nothing may follow", []string{"5.5.1/message-after-close", "5.5.1/two-closes"}},
	{"keeps the connection", silent, []string{"7.4/code-1000", "4.1/plain"}},
	{"no limit", silent, []string{"10.4/one-more-by-the-header"}},
	{"no limit", "longer than any", []string{"7692:8/uncompressed-one-more"}},
	{"limit exclusive", "code 1009", []string{"10.4/limit-in-one-frame-text"}},
	{"limit of each frame", "unexpected", []string{"10.4/one-more-in-fragments-text", "10.4/limit-then-fragment-of-one"}},

	{"parameters twice", "must decline", []string{"7692:7.1.1.1/server_no_context_takeover-twice", "7692:7.1.2.2/client_max_window_bits-twice"}},
	{"unknown parameters", "must decline", []string{"7692:7.1/unknown-parameter", "7692:7.1.2.1/server_max_window_bits-7", "7692:7.1/all-bad"}},
	{"forgets server_no_context_takeover", "must be in the answer", []string{"7692:7.1.1.1/server_no_context_takeover"}},
	{"adds client_max_window_bits", "client_max_window_bits", []string{"7692:7.1/no-parameters"}},
	{"keeps its window", "compressed answer", []string{"7692:7.1.1/five-times-with-server_no_context_takeover", "7692:7.1.1.1/server_no_context_takeover"}},
	{"forgets the window", "code 1007", []string{"7692:7.2.3.2/second-message-refers-to-first", "7692:7.1/no-parameters"}},
	{"bit on continuation", "unexpected", []string{"7692:6/bit-on-continuation"}},
	{"bad deflate", "unexpected", []string{"7692:7.2.2/block-type-3", "7692:7.2.2/distance-into-nothing"}},
	{"bombs", "message", []string{"7692:8/one-more", "7692:8/one-more-in-fragments"}},
}

// A wrong server is found out.
func TestFlaws(t *testing.T) {
	testkit.LeakCheck(t)
	for _, f := range flaws {
		r := deflating()
		r.flaw = f.flaw
		target := r.start(t)
		target.FailFast = true
		if f.want == silent {
			target.Timeout = 100 * time.Millisecond // what is awaited never comes
		}
		all := cases(&target)
		for _, name := range f.cases {
			i := slices.IndexFunc(all, func(c testCase) bool { return c.name == name })
			if i < 0 {
				t.Errorf("%s: there is no case %s", f.flaw, name)
			} else if err := all[i].run(&target); err == nil || !strings.Contains(err.Error(), f.want) {
				t.Errorf("%s: %s says %.300v, want an error with %q", f.flaw, name, err, f.want)
			}
		}
	}
}

// Only what is about the flaw fails, and all of that.
func TestCheck(t *testing.T) {
	testkit.LeakCheck(t)
	r := deflating()
	r.flaw = "no utf-8"
	target := r.start(t)
	var failed []string
	for _, f := range Check(target) {
		failed = append(failed, f.Case)
		if f.Why == "" || f.Err == nil || !strings.HasPrefix(f.String(), f.Case+": ") {
			t.Errorf("failure %+v", f)
		}
	}
	for _, c := range cases(&target) {
		about := len(c.ends) > 0 && slices.Equal(c.ends[0].codes, []int{1007}) && !strings.HasPrefix(c.name, "7.4/")
		if about != slices.Contains(failed, c.name) {
			t.Errorf("%s: failed %v, want %v", c.name, !about, about)
		}
	}
}

// What is not RFC 6455 but may be tolerated is an error with Strict only.
func TestStrict(t *testing.T) {
	testkit.LeakCheck(t)
	for flaw, name := range map[string]string{
		"not minimal": "5.2/1-byte-in-16-bits", "no close frames": "5.1/unmasked-text", "any close code": "7.4/code-1100",
	} {
		r := deflating()
		r.flaw = flaw
		target := r.start(t)
		for _, target.Strict = range []bool{true, false} {
			all := cases(&target)
			i := slices.IndexFunc(all, func(c testCase) bool { return c.name == name })
			if err := all[i].run(&target); (err != nil) != target.Strict {
				t.Errorf("%s, %s: strict %v: %v", flaw, name, target.Strict, err)
			}
		}
	}
}

// A server that cannot be reached fails every case.
func TestNoServer(t *testing.T) {
	target := Target{Path: "/", Limit: testLimit, Dial: func() (net.Conn, error) { return nil, errNoServer }}
	failures := Check(target)
	if len(failures) != len(Names(target)) || !errors.Is(failures[0].Err, errNoServer) {
		t.Errorf("%d of %d cases failed: %v", len(failures), len(Names(target)), fmt.Sprint(failures[:1]))
	}
}

var errNoServer = errors.New("there is no server")
