package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Measurements run in processes of their own: a process that is measured shall
// contain nothing but what is measured, and one process may open only so many
// files. All of them are this test binary, started again with childEnv saying
// what to be:
//
//	gateway   a gateway on the rig of harness_test.go     (gatewaychild_test.go)
//	floor     the bare write loop, the reference          (floor_test.go)
//	clients   thousands of connections that check all     (swarm_test.go)
//
// A child takes commands on stdin, one JSON value each, and answers each with one
// on stdout. It ends when its stdin does, so a test that dies leaves none behind.
const childEnv = "HALLEY_TEST_CHILD"

func TestMain(m *testing.M) {
	roles := map[string]func() error{"gateway": gatewayMain, "floor": floorMain, "clients": clientsMain}
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](); err != nil {
		fmt.Fprintf(os.Stderr, "%s process: %v\n", role, err)
		os.Exit(1)
	}
}

// request is a command to a child, answer what it says to it.
type request struct {
	Do   string
	With json.RawMessage
}

type answer struct {
	Error string
	Got   json.RawMessage
}

// none is the argument or the result of commands that have none.
type none struct{}

// command runs one command of a child.
type command func(with []byte) (any, error)

// cmd makes a command of a function.
func cmd[A, R any](f func(A) (R, error)) command {
	return func(with []byte) (any, error) {
		var a A
		if err := json.Unmarshal(with, &a); err != nil {
			return nil, err
		}
		return f(a)
	}
}

// obey runs commands one after another until stdin ends.
func obey(commands map[string]command) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var req request
		if err := in.Decode(&req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		run, ok := commands[req.Do]
		if !ok {
			return fmt.Errorf("no command %q", req.Do)
		}
		got, err := run(req.With)
		if err == nil {
			a.Got, err = json.Marshal(got)
		}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

const (
	callPatience = 2 * time.Minute  // a command of a child takes less
	endPatience  = 30 * time.Second // and its end
)

// child is a process that this one has started.
type child struct {
	role    string
	process *exec.Cmd
	stdin   io.WriteCloser
	out     chan answer // closed when its stdout ends
	ended   sync.Once
}

// startChild starts a process, which is ended with the test.
func startChild(t testing.TB, role string, env ...string) *child {
	t.Helper()
	c := &child{role: role, process: exec.Command(os.Args[0]), out: make(chan answer)}
	c.process.Env = append(append(os.Environ(), childEnv+"="+role), env...)
	c.process.Stderr = os.Stderr
	stdout, err := c.process.StdoutPipe()
	if err == nil {
		c.stdin, err = c.process.StdinPipe()
	}
	if err == nil {
		err = c.process.Start()
	}
	if err != nil {
		t.Fatalf("start %s process: %v", role, err)
	}
	go func() { // ends with the process
		defer close(c.out)
		for in := json.NewDecoder(stdout); ; {
			var a answer
			if in.Decode(&a) != nil {
				return
			}
			c.out <- a
		}
	}()
	t.Cleanup(func() { c.end(t) })
	return c
}

// end ends the process, if that is not done yet: it is told to, waited for, and
// killed if it does not.
func (c *child) end(t testing.TB) { c.ended.Do(func() { c.endNow(t) }) }

func (c *child) endNow(t testing.TB) {
	_ = c.stdin.Close() // it may have ended already
	kill := time.AfterFunc(endPatience, func() { _ = c.process.Process.Kill() })
	defer kill.Stop()
	for range c.out {
		t.Errorf("%s process: an answer nobody has read", c.role)
	}
	if err := c.process.Wait(); err != nil {
		t.Errorf("%s process, pid %d: %v", c.role, c.process.Process.Pid, err)
	}
}

// call has c run a command and returns what it answers. An error fails the test.
func call[R any](t testing.TB, c *child, do string, with any) (got R) {
	t.Helper()
	raw, err := json.Marshal(with)
	if err == nil {
		err = json.NewEncoder(c.stdin).Encode(request{do, raw})
	}
	if err != nil {
		t.Fatalf("%s process: %s: %v", c.role, do, err)
	}
	select {
	case a, ok := <-c.out:
		switch {
		case !ok:
			t.Fatalf("%s process: %s: it has ended", c.role, do)
		case a.Error != "":
			t.Fatalf("%s process: %s: %s", c.role, do, a.Error)
		}
		if err := json.Unmarshal(a.Got, &got); err != nil {
			t.Fatalf("%s process: %s: %v", c.role, do, err)
		}
	case <-time.After(callPatience):
		_ = c.process.Process.Kill()
		t.Fatalf("%s process: %s: not within %v", c.role, do, callPatience)
	}
	return got
}

// usage is the CPU time a process has used. On loopback a sender also pays for
// the receiver's softirq: the kernel has no IRQ time accounting of its own then.
type usage struct{ User, System time.Duration }

func (u usage) total() time.Duration { return u.User + u.System }

func (u usage) minus(v usage) usage { return usage{u.User - v.User, u.System - v.System} }

// ownUsage is the command that answers with the usage of the process it runs in.
func ownUsage(none) (usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	return usage{time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())}, nil
}

// used is the usage of c so far.
func (c *child) used(t testing.TB) usage {
	t.Helper()
	return call[usage](t, c, "usage", none{})
}

// monotonic is a clock that all processes of the machine share, in ns.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
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
