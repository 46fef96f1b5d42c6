package gateway

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/halley-im/halley/bench/floor"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// Measurements run in processes of their own: a process that is measured shall
// contain nothing but what is measured, and one process may open only so many
// files. All of them are workers (package work): this test binary, started again
// with childEnv saying what to be:
//
//	gateway   a gateway on the rig of harness_test.go     (gatewaychild_test.go)
//	floor     the bare write loop, the reference          (package floor)
//	clients   thousands of connections that check all     (package swarm, crowd_test.go)
const childEnv = "HALLEY_TEST_CHILD"

// clock is the time since this process began; in a child, since the test's did.
var clock = work.NewClock()

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	roles := map[string]func() error{
		"gateway": gatewayMain,
		"floor":   func() error { return obey(floor.New(clock).Commands()) },
		"clients": clientsMain,
	}
	if err := roles[role](); err != nil {
		fmt.Fprintf(os.Stderr, "%s process: %v\n", role, err)
		os.Exit(1)
	}
}

func clientsMain() error {
	s, err := swarm.New(clock)
	if err != nil {
		return err
	}
	go s.Run() // ends with the process
	return obey(s.Commands())
}

// obey runs commands one after another until stdin ends.
func obey(commands map[string]work.Command) error {
	return work.Serve(os.Stdin, os.Stdout, clock, commands)
}

// startChild starts a process with this one's clock. It is ended with the test, which
// fails if the process does not end well.
func startChild(t testing.TB, role string, env ...string) *work.Process {
	t.Helper()
	argv := append([]string{"env", childEnv + "=" + role}, env...)
	p, err := work.Start(append(argv, os.Args[0])...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { endChild(t, p) })
	if _, err := p.Sync(clock); err != nil {
		t.Fatal(err)
	}
	return p
}

// endChild ends a process, if that is not done yet.
func endChild(t testing.TB, p *work.Process) {
	p.Stop()
	if err := p.Ended(); err != nil {
		t.Error(err)
	}
}

// call has p run a command and returns what it answers. An error fails the test.
func call[R any](t testing.TB, p *work.Process, do string, with any) R {
	t.Helper()
	got, err := work.Call[R](p, do, with)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// tell has p run a command that answers nothing.
func tell(t testing.TB, p *work.Process, do string, with any) {
	t.Helper()
	call[work.None](t, p, do, with)
}

// childTB lets the rig run in a process that has no test. What fails is told on
// stderr and in the exit status, which the parent looks at.
type childTB struct {
	testing.TB // nil: a method that is not below panics

	cleanups []func()
	failed   atomic.Bool
}

func (c *childTB) Helper()          {}
func (c *childTB) Cleanup(f func()) { c.cleanups = append(c.cleanups, f) }

func (c *childTB) TempDir() string {
	dir, err := os.MkdirTemp("", "halley-child-")
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (c *childTB) Error(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	c.failed.Store(true)
}

func (c *childTB) Errorf(format string, args ...any) { c.Error(fmt.Sprintf(format, args...)) }

func (c *childTB) Fatal(args ...any) {
	c.Error(args...)
	os.Exit(1)
}

func (c *childTB) Fatalf(format string, args ...any) { c.Fatal(fmt.Sprintf(format, args...)) }

// finish runs the cleanups, the last one first.
func (c *childTB) finish() error {
	for i := len(c.cleanups) - 1; i >= 0; i-- {
		c.cleanups[i]()
	}
	if c.failed.Load() {
		return errors.New("failed, see above")
	}
	return nil
}
