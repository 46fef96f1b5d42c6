package backendtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/testkit"
)

// LocksBackend is what a registry offers beside routes and leases.
type LocksBackend interface {
	// PinPartitions stores n for topic if nothing is stored and returns what is.
	PinPartitions(ctx context.Context, topic string, n int32) (int32, error)
	// TryLock says whether owner holds the lock from now on for ttl.
	TryLock(ctx context.Context, name, owner string, ttl time.Duration) (bool, error)
}

// Locks tests pins and locks. open returns an empty backend for each test and
// cleans up after it through t.
func Locks(t *testing.T, open func(t testing.TB) LocksBackend) {
	t.Run("pin", func(t *testing.T) { pin(t, open(t)) })
	t.Run("pin at once", func(t *testing.T) { pinAtOnce(t, open(t)) })
	t.Run("lock", func(t *testing.T) { lock(t, open(t)) })
	t.Run("lock at once", func(t *testing.T) { lockAtOnce(t, open(t)) })
}

func pin(t *testing.T, b LocksBackend) {
	f := func(topic string, n, is int32) {
		t.Helper()
		got, err := b.PinPartitions(t.Context(), topic, n)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "pinned "+topic, got, is)
	}
	f("pushes", 16, 16)
	f("pushes", 16, 16)
	f("pushes", 8, 16)
	f("a:b {c}", 8, 8)
	f("pushes", 1, 16)
}

func pinAtOnce(t *testing.T, b LocksBackend) {
	var got [8]int32
	parallel(len(got), func(i int) {
		n, err := b.PinPartitions(t.Context(), "pushes", int32(i+1))
		if err != nil {
			t.Error(err)
		}
		got[i] = n
	})
	for _, n := range got {
		if n < 1 || n != got[0] {
			t.Fatalf("pinned %v, want the same for all", got)
		}
	}
}

func lock(t *testing.T, b LocksBackend) {
	f := func(name, owner string, ttl time.Duration, is bool) {
		t.Helper()
		got, err := b.TryLock(t.Context(), name, owner, ttl)
		if err != nil {
			t.Fatal(err)
		}
		want(t, fmt.Sprintf("%s locks %s", owner, name), got, is)
	}
	f("sweep", "a", time.Hour, true)
	f("sweep", "b", time.Hour, false)
	f("sweep", "a", time.Hour, true)
	f("other", "b", time.Hour, true)
	f("other", "a", time.Hour, false)

	f("sweep", "a", 20*time.Millisecond, true) // a renewal may be shorter
	testkit.Eventually(t, 10*time.Second, func() bool {
		held, err := b.TryLock(t.Context(), "sweep", "b", time.Hour)
		return err == nil && held
	}, "b holds the lock when a's time is over")
	f("sweep", "a", time.Hour, false)
}

func lockAtOnce(t *testing.T, b LocksBackend) {
	var held atomic.Int32
	parallel(8, func(i int) {
		ok, err := b.TryLock(t.Context(), "sweep", fmt.Sprint("owner-", i), time.Hour)
		if err != nil {
			t.Error(err)
		}
		if ok {
			held.Add(1)
		}
	})
	want(t, "owners", held.Load(), 1)
}
