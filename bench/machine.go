package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// thisMachine says where this process runs.
func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = string(bytes.TrimRight(u.Release[:], "\x00"))
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(text), "model name\t: ")
		m.CPU, _, _ = strings.Cut(rest, "\n")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory = field(string(text), "MemTotal:") << 10
	}
	return m
}

// kernelMemory is what the kernel has for sockets on this machine.
type kernelMemory struct {
	slab      int64 // of everything; 0 if it may not be read
	buffers   int64
	available int64
}

// readKernel reads /proc/slabinfo, which only root may, /proc/net/sockstat and
// /proc/meminfo.
func readKernel() (k kernelMemory) {
	if text, err := os.ReadFile("/proc/slabinfo"); err == nil {
		k.slab = slabBytes(string(text))
	}
	if text, err := os.ReadFile("/proc/net/sockstat"); err == nil {
		k.buffers = sockstatPages(string(text)) * int64(os.Getpagesize())
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		k.available = field(string(text), "MemAvailable:") << 10
	}
	return k
}

// slabBytes sums what all caches hold: slabs × pages of a slab, see slabinfo(5). A
// connection has objects in a dozen of them, from TCP to kmalloc-64.
func slabBytes(text string) (n int64) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 16 {
			continue
		}
		pages, err1 := strconv.ParseInt(f[5], 10, 64)
		slabs, err2 := strconv.ParseInt(f[14], 10, 64)
		if err1 == nil && err2 == nil {
			n += pages * slabs * int64(os.Getpagesize())
		}
	}
	return n
}

// sockstatPages is the number behind mem in "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1".
func sockstatPages(text string) int64 {
	_, rest, _ := strings.Cut(text, "TCP: ")
	_, rest, _ = strings.Cut(rest, " mem ")
	word, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
	return n
}

// readCgroup is what a memory cgroup has used, and of it TCP's buffers where they
// are counted apart (version 1).
func readCgroup(dir string) (used, tcp int64) {
	number := func(names ...string) int64 {
		for _, name := range names {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				return n
			}
		}
		return 0
	}
	return number("memory.current", "memory.usage_in_bytes"), number("memory.kmem.tcp.usage_in_bytes")
}
