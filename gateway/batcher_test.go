package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Work leaves at once while nothing is under way; else it waits for the call that is,
// for more that makes it worth a call, or for linger.
func TestBatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		hold := make(chan struct{})
		b := newBatcher(1000, func(batch []int) {
			batches = append(batches, len(batch)) // synctest.Wait orders this
			<-hold
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- b.run(ctx, 4) }()
		f := func(add int, pass time.Duration, want ...int) {
			t.Helper()
			b.add(make([]int, add)...)
			time.Sleep(pass)
			synctest.Wait()
			if len(batches) != len(want) || want[len(want)-1] != batches[len(batches)-1] {
				t.Errorf("batches of %v, want %v", batches, want)
			}
		}
		f(1, 0, 1)
		f(3, linger-1, 1)
		f(0, 1, 1, 3)                // has waited long enough
		f(worthBatch-1, 0, 1, 3)     // not worth a call
		f(1, 0, 1, 3, worthBatch)    // now it is
		f(2, 0, 1, 3, worthBatch)    // waits for those
		hold <- struct{}{}           // one of three ends: still others under way
		f(0, 0, 1, 3, worthBatch)    //
		hold <- struct{}{}           //
		hold <- struct{}{}           // the last
		f(0, 0, 1, 3, worthBatch, 2) // is not waited for any more
		hold <- struct{}{}
		synctest.Wait()
		if !b.idle() {
			t.Error("not idle")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
