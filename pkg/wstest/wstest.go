package wstest

import (
	"cmp"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// Target is the echo server to be tested. It is read only.
type Target struct {
	// Dial opens a connection to the server: TCP, or TLS with its handshake
	// done. It is called from several goroutines.
	Dial func() (net.Conn, error)
	// Path is where the WebSocket is, "/echo". A query may be added to it.
	Path string
	// AnyPath: the WebSocket is at every path.
	AnyPath bool

	// Limit is the largest message that the server takes, in bytes, at least
	// 256 KiB: one byte more is refused with 1009.
	Limit int
	// Frames is the most frames of one message that the server takes; one more
	// is refused with 1008 or 1009. 0: there is no such bound.
	Frames int
	// Head is the longest request head that the server takes, in bytes, with its
	// blank line, at least 4 KiB; one byte more is refused with 431. 0: not
	// known, but below 256 KiB.
	Head int

	// Deflate: the server accepts permessage-deflate with all parameters, except
	// that it may decline server_max_window_bits below 15.
	Deflate bool
	// Subprotocols: the server chooses the first subprotocol that is offered.
	// Otherwise it may choose any that is offered, or none.
	Subprotocols bool

	// FailFast: text that is not UTF-8 is refused when its first bad byte is there,
	// not only at the end of the message.
	FailFast bool

	// Strict wants the careful choice where an RFC says SHOULD or MAY.
	Strict bool
	// Timeout ends a case when nothing was read or written for so long. It is
	// not reached by a server that works. 0: 10 s.
	Timeout time.Duration
}

// minLimit is what the cases that are not about Target.Limit need.
const minLimit = 256 << 10

func (tg *Target) timeout() time.Duration { return cmp.Or(tg.Timeout, 10*time.Second) }

// Failure is a case that went wrong.
type Failure struct {
	Case string // its name, which begins with the section
	Why  string // what the RFC says
	Err  error  // what the server did instead
}

func (f Failure) String() string { return fmt.Sprintf("%s: %v (%s)", f.Case, f.Err, f.Why) }

// Run runs every case as a parallel subtest of t. The subtests go on after Run
// has returned, as parallel ones do: end the server in t.Cleanup.
func Run(t *testing.T, target Target) {
	t.Helper()
	for _, c := range cases(&target) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.run(&target); err != nil {
				t.Errorf("%v\n%s", err, c.why)
			}
		})
	}
}

// Check runs every case, two at a time for each processor, and returns those that
// failed, in the order of Names.
func Check(target Target) []Failure {
	all := cases(&target)
	errs := make([]error, len(all))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				errs[i] = all[i].run(&target)
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	workers.Wait()

	var failed []Failure
	for i, err := range errs {
		if err != nil {
			failed = append(failed, Failure{all[i].name, all[i].why, err})
		}
	}
	return failed
}

// Names lists the cases that are run on target, in their order.
func Names(target Target) []string {
	var names []string
	for _, c := range cases(&target) {
		names = append(names, c.name)
	}
	return names
}

// cases are all that apply to target.
func cases(target *Target) []testCase {
	if target.Limit < minLimit {
		panic(fmt.Sprintf("wstest: Target.Limit is %d, at least %d is needed", target.Limit, minLimit))
	}
	var all []testCase
	for _, family := range []func(*Target) []testCase{
		requestCases, answerCases, headCases, lengthCases, cutCases, reservedCases, maskCases,
		fragmentCases, controlCases, utf8Cases, closeCases, limitCases, offerCases, compressedCases, brokenDeflateCases,
	} {
		all = append(all, family(target)...)
	}
	return slices.DeleteFunc(all, func(c testCase) bool {
		return c.strict && !target.Strict || c.head && target.Head == 0 || c.deflate && !target.Deflate || c.failFast && !target.FailFast
	})
}
