package testkit

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Eventually polls ok until it holds and fails the test with what when it does
// not within timeout. It is how tests wait: they never sleep and hope.
func Eventually(t testing.TB, timeout time.Duration, ok func() bool, what string) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for wait := time.Millisecond; !ok(); wait = min(2*wait, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", timeout, what)
		}
		time.Sleep(wait)
	}
}

// LeakCheck fails the test if goroutines that it started outlive it. Call it
// first: cleanups run in reverse, so everything registered later is closed when
// it looks.
func LeakCheck(t testing.TB) {
	t.Helper()
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, append(sleepers, known)...) })
}

// sleepers are goroutines of fasthttp that nobody can end: they sleep up to 30 s,
// see that their server or client is done, and return.
var sleepers = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*Client).mCleaner"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
}

// Redis is the address of the real Redis that tests use.
func Redis(t testing.TB) string { return server(t, "HALLEY_TEST_REDIS") }

// Kafka is the address of the real Kafka that tests use.
func Kafka(t testing.TB) string { return server(t, "HALLEY_TEST_KAFKA") }

// server never skips: what is not run has not been shown to work.
func server(t testing.TB, env string) string {
	t.Helper()
	addr := os.Getenv(env)
	if addr == "" {
		t.Fatalf("%s is not set: run `make test`, or start one with deploy/dev and set it to HOST:PORT", env)
	}
	return addr
}
