package work

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a worker has used so far.
type Usage struct {
	CPU time.Duration // user and system time
	RSS int64         // resident size, bytes
}

// ownUsage is that of this process.
func ownUsage() (u Usage, err error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u, err
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if fields := strings.Fields(string(text)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		u.RSS = pages * int64(os.Getpagesize())
	}
	return u, nil
}
