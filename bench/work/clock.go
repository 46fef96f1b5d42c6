package work

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the time since a run has begun, the same in all its processes but for
// the error that Sync reports. It may be used concurrently.
type Clock struct {
	base atomic.Int64 // what this machine's monotonic clock was then, ns
}

// NewClock makes the clock of a run that begins now.
func NewClock() *Clock {
	c := &Clock{}
	c.base.Store(monotonic())
	return c
}

// Now is the time since the run has begun.
func (c *Clock) Now() time.Duration { return time.Duration(monotonic() - c.base.Load()) }

// monotonic is CLOCK_MONOTONIC in ns: all processes of a machine share it.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}
