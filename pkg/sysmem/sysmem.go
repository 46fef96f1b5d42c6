package sysmem

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// System reads one machine's files.
type System struct{ root fs.FS }

// Here is the machine this runs on.
func Here() System { return System{os.DirFS("/")} }

// New reads the files below root, for tests.
func New(root fs.FS) System { return System{root} }

// Use is memory in bytes.
type Use struct {
	Limit int64 // that may be used; 0 is not known
	Used  int64 // of it; the page cache that the kernel would give up is not counted
}

// Over says that more than the share (0 to 1) of the limit is used.
func (u Use) Over(share float64) bool {
	return u.Limit > 0 && float64(u.Used) > share*float64(u.Limit)
}

// Machine is the memory of the machine, from /proc/meminfo (proc(5)): MemTotal, and
// what of it is not MemAvailable.
func (s System) Machine() Use {
	total, ok1 := s.field("proc/meminfo", "MemTotal:")
	available, ok2 := s.field("proc/meminfo", "MemAvailable:")
	if !ok1 || !ok2 {
		return Use{}
	}
	return Use{Limit: total << 10, Used: (total - available) << 10}
}

// Cgroup is a memory cgroup whose use can be read again and again.
type Cgroup struct {
	system System
	dir    string // "" if no cgroup is limited
	read   func(s System, dir string) Use
}

// Use is what the cgroup may use and does; Limit is 0 if none is limited.
func (c Cgroup) Use() Use {
	if c.dir == "" {
		return Use{}
	}
	return c.read(c.system, c.dir)
}

// Cgroup finds the tightest of the limited cgroups that this process is in
// (cgroups(7)). A limit above the machine's memory is none.
func (s System) Cgroup() (tightest Cgroup) {
	text, err := fs.ReadFile(s.root, "proc/self/cgroup")
	if err != nil {
		return Cgroup{}
	}
	machine := s.Machine().Limit
	for line := range bytes.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(f) != 3 {
			continue
		}
		read, mounts := System.v2, []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		if f[1] != "" {
			if read, mounts = System.v1, []string{"sys/fs/cgroup/memory"}; !strings.Contains(","+f[1]+",", ",memory,") {
				continue
			}
		}
		for _, mount := range mounts {
			// In a container the path is the host's and the mount is the group itself.
			for dir := path.Join(mount, f[2]); strings.HasPrefix(dir, mount); dir = path.Dir(dir) {
				limit, best := read(s, dir).Limit, tightest.Use().Limit
				if limit > 0 && (machine == 0 || limit < machine) && (best == 0 || limit < best) {
					tightest = Cgroup{s, dir, read}
				}
			}
		}
	}
	return tightest
}

// v2 reads a cgroup of version 2; memory.current has the sockets in it.
func (s System) v2(dir string) Use {
	limit, ok := s.number(path.Join(dir, "memory.max"))
	if !ok {
		return Use{}
	}
	used, _ := s.number(path.Join(dir, "memory.current"))
	cache, _ := s.field(path.Join(dir, "memory.stat"), "inactive_file")
	return Use{Limit: limit, Used: used - cache}
}

// v1 reads a cgroup of version 1, where the buffers of TCP are charged apart.
func (s System) v1(dir string) Use {
	limit, ok := s.number(path.Join(dir, "memory.limit_in_bytes"))
	if !ok {
		return Use{}
	}
	used, _ := s.number(path.Join(dir, "memory.usage_in_bytes"))
	tcp, _ := s.number(path.Join(dir, "memory.kmem.tcp.usage_in_bytes"))
	cache, _ := s.field(path.Join(dir, "memory.stat"), "total_inactive_file")
	return Use{Limit: limit, Used: used + tcp - cache}
}

// RSS is the resident memory of this process in bytes, 0 when it is not known.
func (s System) RSS() int64 {
	text, err := fs.ReadFile(s.root, "proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64) // 0 when it is not a number
	return pages * int64(os.Getpagesize())
}

// number reads a file with one number; ok is false for "max" and for no file.
func (s System) number(name string) (n int64, ok bool) {
	text, err := fs.ReadFile(s.root, name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads the number behind a word at the start of a line.
func (s System) field(name, word string) (n int64, ok bool) {
	file, err := s.root.Open(name)
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.Close() }() // it was only read
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == word {
			n, err = strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
