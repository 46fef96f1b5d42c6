package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/testkit"
)

// memory is what a process of the machine takes, and the machine's kernel for all
// of them, in bytes.
type memory struct {
	RSS  int64 // of the process
	Anon int64 // of it, what is in no file: heap, stacks, the runtime's own
	kernel
}

// kernel is memory that belongs to no process. A socket's two ends, when both are
// here, are both in it.
type kernel struct {
	Slab    map[string]int64 // by name of the slab cache, "all" if only the sum may be read
	Sockets int64            // buffers of TCP sockets, by the kernel's own account
	Orphans int64            // closed sockets whose last bytes are not acknowledged
}

// all is the sum of the slab caches.
func (k kernel) all() (sum int64) {
	for _, n := range k.Slab {
		sum += n
	}
	return sum
}

// memoryOf reads the memory of process pid.
func memoryOf(t testing.TB, pid int) memory {
	t.Helper()
	m, err := readMemory(pid)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func readMemory(pid int) (m memory, err error) {
	rollup, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	sockstat, err2 := os.ReadFile("/proc/net/sockstat")
	if err := errors.Join(err1, err2); err != nil {
		return m, err
	}
	m.RSS = fieldOf(rollup, "Rss:", 0) << 10
	m.Anon = fieldOf(rollup, "Anonymous:", 0) << 10
	m.Sockets = fieldOf(sockstat, "TCP:", 9) * int64(os.Getpagesize())
	m.Orphans = fieldOf(sockstat, "TCP:", 3)
	m.Slab, err = slabs()
	return m, err
}

// fieldOf is the n-th number, or word, behind the line's first word.
func fieldOf(text []byte, line string, n int) int64 {
	for l := range bytes.Lines(text) {
		if words := strings.Fields(string(l)); len(words) > n+1 && words[0] == line {
			v, _ := strconv.ParseInt(words[n+1], 10, 64)
			return v
		}
	}
	return 0
}

// slabs reads the kernel's slab caches: each by its name for root, their sum for
// everybody else.
func slabs() (map[string]int64, error) {
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		text, err = os.ReadFile("/proc/meminfo")
		return map[string]int64{"all": fieldOf(text, "Slab:", 0) << 10}, err
	}
	// name active_objs num_objs objsize objperslab pagesperslab : tunables a b c :
	// slabdata active_slabs num_slabs sharedavail
	caches := map[string]int64{}
	for l := range bytes.Lines(text) {
		if w := strings.Fields(string(l)); len(w) == 16 && w[6] == ":" {
			pages, err1 := strconv.ParseInt(w[5], 10, 64)
			n, err2 := strconv.ParseInt(w[14], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return nil, fmt.Errorf("/proc/slabinfo: %w", err)
			}
			caches[w[0]] += pages * n * int64(os.Getpagesize())
		}
	}
	return caches, nil
}

// grown are the slab caches that have grown most, with bytes for each of n.
func (k kernel) grown(before kernel, n int) string {
	type cache struct {
		name  string
		bytes int64
	}
	var all []cache
	for name, now := range k.Slab {
		all = append(all, cache{name, (now - before.Slab[name]) / int64(n)})
	}
	slices.SortFunc(all, func(a, b cache) int { return int(b.bytes - a.bytes) })
	var s []string
	for _, c := range all[:min(6, len(all))] {
		s = append(s, fmt.Sprintf("%s %d", c.name, c.bytes))
	}
	return strings.Join(s, ", ")
}

// settled is the memory of process pid when what it gives back has been given
// back: the resident size has not fallen by more than 0.2 % within 300 ms.
func settled(t testing.TB, pid int) (m memory) {
	t.Helper()
	var low int64
	var since time.Time
	testkit.Eventually(t, 30*time.Second, func() bool {
		m = memoryOf(t, pid)
		if low == 0 || m.RSS < low-low/500 {
			low, since = m.RSS, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	}, "the process's resident size is steady")
	return m
}

// others is what the CPUs do beside the processes that are measured.
type others struct {
	since time.Time
	busy  time.Duration // of the machine's CPUs since it was started, as of since
	ours  time.Duration // of our processes
}

// watchOthers begins to look; ours are the children that are measured.
func watchOthers(t testing.TB, ours ...*work.Process) others {
	t.Helper()
	o := others{since: time.Now()}
	o.read(t, ours)
	return o
}

// share is what all other processes have taken of the CPUs since, in percent.
func (o others) share(t testing.TB, ours ...*work.Process) float64 {
	t.Helper()
	now := watchOthers(t, ours...)
	wall := now.since.Sub(o.since) * time.Duration(runtime.NumCPU())
	return max(0, 100*float64((now.busy-o.busy)-(now.ours-o.ours))/float64(wall))
}

func (o *others) read(t testing.TB, ours []*work.Process) {
	t.Helper()
	var own unix.Rusage
	err1 := unix.Getrusage(unix.RUSAGE_SELF, &own)
	text, err2 := os.ReadFile("/proc/stat")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	o.ours = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, p := range ours {
		o.ours += used(t, p)
	}
	for n := range 8 { // user nice system idle iowait irq softirq steal, in 10 ms
		if n != 3 && n != 4 {
			o.busy += time.Duration(fieldOf(text, "cpu", n)) * 10 * time.Millisecond
		}
	}
}
