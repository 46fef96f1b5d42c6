package work

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("WORK_TEST_WORKER") == "" {
		os.Exit(m.Run())
	}
	clock := NewClock()
	err := Serve(os.Stdin, os.Stdout, clock, map[string]Command{
		"double": Do(func(n int) (int, error) { return 2 * n, nil }),
		"fail":   Do(func(None) (None, error) { return None{}, errors.New("it will not") }),
		"now":    Do(func(None) (time.Duration, error) { return clock.Now(), nil }),
		"babble": Do(func(None) (None, error) {
			fmt.Fprintln(os.Stderr, "babbled")
			fmt.Print("no JSON ")
			return None{}, nil
		}),
		"die": Do(func(None) (None, error) { fmt.Fprintln(os.Stderr, "last words"); os.Exit(3); return None{}, nil }),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(t *testing.T, argv ...string) *Process {
	t.Helper()
	t.Setenv("WORK_TEST_WORKER", "1")
	p, err := Start(argv...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func TestCalls(t *testing.T) {
	p := start(t, os.Args[0])
	if got, err := Call[int](p, "double", 21); got != 42 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	f := func(want, do string, with any) {
		t.Helper()
		if _, err := Call[int](p, do, with); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", do, err, want)
		}
	}
	f("it will not", "fail", None{})
	f("cannot unmarshal", "double", "x")
	f(`no command "fly"`, "fly", None{})
	if u, err := Call[Usage](p, "usage", None{}); err != nil || u.CPU <= 0 || u.RSS < 1<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
	f("last words", "die", None{})
	f("last words", "double", 1)
	p.Stop()
	if err := p.Ended(); err == nil || !strings.Contains(err.Error(), "exit status 3: last words") {
		t.Errorf("it has ended with %v", err)
	}
}

// A worker that ends when it is told to has ended well.
func TestStop(t *testing.T) {
	p := start(t, os.Args[0])
	p.Stop()
	if err := p.Ended(); err != nil {
		t.Error(err)
	}
}

// A worker that says what is no answer is ended, and what it said on stderr told.
func TestBabble(t *testing.T) {
	p := start(t, os.Args[0])
	if _, err := Call[None](p, "babble", None{}); err == nil || !strings.Contains(err.Error(), "babbled") {
		t.Errorf("error %v", err)
	}
}

// The clocks of all processes agree: what one reads lies between what the other reads
// before and after, within the error that Sync tells.
func TestSync(t *testing.T) {
	f := func(argv ...string) {
		t.Helper()
		p, clock := start(t, argv...), NewClock()
		off, err := p.Sync(clock)
		if err != nil {
			t.Fatal(err)
		}
		before := clock.Now()
		there, err := Call[time.Duration](p, "now", None{})
		if after := clock.Now(); err != nil || there < before-off || there > after+off {
			t.Errorf("it is %v there, and between %v and %v here; off by %v at most; %v", there, before, after, off, err)
		}
	}
	f(os.Args[0])
	// A machine that was started 1,000 seconds earlier, as far as the worker can tell.
	if os.Geteuid() == 0 {
		f("unshare --time --fork --kill-child --monotonic 1000 " + os.Args[0])
	}
}

func TestStartErrors(t *testing.T) {
	if _, err := Start("/nonexistent"); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("error %v", err)
	}
}
