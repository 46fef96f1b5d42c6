package logic

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/spool"
)

func newTestCounters() *counters { return newCounters(metrics.NewSet()) }

func TestPushOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		first := r.once(toRoom("live://1"), "order-1")
		if again := r.once(toRoom("live://1"), "order-1"); again != first {
			t.Fatalf("repeated: %v, want %v", again, first)
		}
		if again := r.once(toRoom("live://1"), first.String()); again != first {
			t.Fatalf("repeated by the id it was given: %v, want %v", again, first)
		}
		other := r.once(toRoom("live://1"), "order-2")
		unnamed := r.once(toRoom("live://1"), "")
		shop := toRoom("live://1")
		shop.App = "shop"
		ofShop := r.once(shop, "order-1")
		r.mustQueue(first, other, unnamed, ofShop)
		if n := len(r.queue.messages()); n != 4 {
			t.Fatalf("%d on the queue, want 4", n)
		}

		time.Sleep(repeatFor - time.Nanosecond)
		if again := r.once(toRoom("live://1"), "order-1"); again != first {
			t.Fatalf("within 10 minutes: %v, want %v", again, first)
		}
		time.Sleep(time.Nanosecond)
		if again := r.once(toRoom("live://1"), "order-1"); again == first {
			t.Fatal("after 10 minutes it is another push")
		}
		if n := r.m.repeats.Get(); n != 3 {
			t.Fatalf("%d counted as repeats, want 3", n)
		}
		if len(r.repeats.known) != 1 || len(r.repeats.order) != 1 {
			t.Fatalf("%d and %d remembered, want 1", len(r.repeats.known), len(r.repeats.order))
		}
	})
}

// Ids of other nodes, of pushes that never were, or that only look like ours are
// just ids that a caller chose.
func TestPushOnceForeignID(t *testing.T) {
	r := newRig(t, nil)
	first := r.push(toRoom("live://1"))
	for _, id := range []push.ID{{Spool: first.Spool ^ 1, Index: first.Index}, {Spool: first.Spool, Index: first.Index + 9}, {Spool: first.Spool}} {
		got := r.once(toRoom("live://1"), id.String())
		if got == first || got == id {
			t.Fatalf("%v stood for %v", id, got)
		}
		if again := r.once(toRoom("live://1"), id.String()); again != got {
			t.Fatalf("%v repeated: %v, want %v", id, again, got)
		}
	}
}

func TestPushOnceBatch(t *testing.T) {
	r := newRig(t, nil)
	x := r.once(toRoom("live://x"), "x")
	msgs := []push.Message{toRoom("live://a"), toRoom("live://b"), toRoom("live://x"), toRoom("live://b"), toRoom("live://c")}
	if err := r.PushOnce(msgs, []string{"", "b", "x", "b", ""}); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, m := range msgs {
		got = append(got, m.ID.Index-x.Index)
	}
	if got[0] != 1 || got[1] != 2 || got[2] != 0 || got[3] != 2 || got[4] != 3 {
		t.Fatalf("entries %v behind the first, want 1 2 0 2 3", got)
	}
	if n, _ := r.deps.Spool.Depth(); n != 4 {
		t.Fatalf("%d in the log, want 4", n)
	}
}

// A push that was given up does not stand in the way of its repetition, by
// whichever id.
func TestPushOnceAfterGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		back := inLog(r)
		first := r.once(toRoom("live://1"), "order")
		if err := r.queued(first); !errors.Is(err, ErrNotQueued) {
			t.Fatalf("got %v, want ErrNotQueued", err)
		}
		second := r.once(toRoom("live://1"), "order")
		if second == first {
			t.Fatal("the push that was given up was not pushed again")
		}
		third := r.once(toRoom("live://1"), first.String())
		if third == first || third == second {
			t.Fatal("the push that was given up was not pushed again by its id")
		}
		if again := r.once(toRoom("live://1"), first.String()); again != third {
			t.Fatal("the new push is not known by the old id")
		}
		back()
		r.mustQueue(second, third)
		if got := r.queue.messages(); len(got) != 2 || got[0].ID != second || got[1].ID != third {
			t.Fatalf("on the queue: %v", got)
		}
	})
}

func TestPushOnceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *Deps) { c.PushIDs = 2 })
		r.once(toRoom("live://1"), "a")
		first := r.once(toRoom("live://1"), "b")
		err := r.PushOnce([]push.Message{toRoom("live://1")}, []string{"c"})
		if !errors.Is(err, ErrPushIDs) || !Busy(err) || r.m.idsFull.Get() != 1 {
			t.Fatalf("got %v, counted %d; want ErrPushIDs, 1", err, r.m.idsFull.Get())
		}
		if again := r.once(toRoom("live://1"), "b"); again != first {
			t.Fatal("a known id was not recognised when the table was full")
		}
		r.once(toRoom("live://1"), "")
		time.Sleep(repeatFor)
		r.once(toRoom("live://1"), "c")
	})
}

// What was not accepted leaves nothing behind.
func TestPushOnceRefused(t *testing.T) {
	r := newRig(t, func(_ *Config, d *Deps) { d.Spool = spool.NewMemory(1, 1<<20) })
	two := []push.Message{toRoom("live://1"), toRoom("live://1")}
	if err := r.PushOnce(two, []string{"a", "b"}); !errors.Is(err, ErrSpoolFull) {
		t.Fatalf("got %v, want ErrSpoolFull", err)
	}
	if len(r.repeats.known)+len(r.repeats.order) != 0 {
		t.Fatal("ids of pushes that were refused are remembered")
	}
	r.once(toRoom("live://1"), "a")
}

func TestClaimBusy(t *testing.T) {
	r := newRepeats(10)
	usable := func(uint64) bool { return true }
	a, b := newRepeatKey("", "a"), newRepeatKey("", "b")
	if _, err := r.claim([]repeatKey{a}, usable); err != nil {
		t.Fatal(err)
	}
	if _, err := r.claim([]repeatKey{b, a}, usable); !errors.Is(err, ErrPushIDBusy) {
		t.Fatalf("got %v, want ErrPushIDBusy", err)
	}
	if len(r.known) != 1 {
		t.Fatal("a claim that failed left something behind")
	}
	r.settle(a, 7)
	if found, err := r.claim([]repeatKey{b, a}, usable); err != nil || found[0] != 0 || found[1] != 7 {
		t.Fatalf("got %v, %v", found, err)
	}
}

func TestCheckPushID(t *testing.T) {
	f := func(id, want string) {
		t.Helper()
		err := CheckPushID(id)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Fatalf("%q: got %v, want %q", id, err, want)
		}
	}
	f("", "")
	f("a", "")
	f(strings.Repeat("~", 64), "")
	f(strings.Repeat("~", 65), "65 bytes, at most 64 are allowed")
	const printable = "only printable ASCII without spaces is allowed"
	f("a b", printable)
	f("a\x1fb", printable)
	f("é", printable)
	f("\x7f", printable)
}
