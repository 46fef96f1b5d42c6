package bench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serverProc is a process of the server that --server-pid names.
type serverProc struct {
	name string
	pid  int
}

// parseServers reads NAME=PID or PID, several with commas between them.
func parseServers(list []string) (procs []serverProc, err error) {
	for _, s := range list {
		name, pid, ok := strings.Cut(s, "=")
		if !ok {
			name, pid = "server", s
		}
		n, err := strconv.Atoi(pid)
		if err != nil || n < 1 || name == "" {
			return nil, fmt.Errorf("--server-pid %q: want PID or NAME=PID, as gateway=4711", s)
		}
		p := serverProc{name, n}
		if _, err := p.usage(); err != nil {
			return nil, fmt.Errorf("--server-pid %q: %w", s, err)
		}
		procs = append(procs, p)
	}
	return procs, nil
}

// Memory is what processes take.
type Memory struct {
	RSS int64 `json:"rss"`
	Pss int64 `json:"pss"` // shared pages in shares; 0 if it may not be read
}

// cpuUse is what a process has used so far.
type cpuUse struct {
	cpu    time.Duration // user and system
	writes int64         // write calls; 0 if it may not be read
}

// clockTick is the unit of times in /proc: USER_HZ is 100 on all of Linux.
const clockTick = 10 * time.Millisecond

func (p serverProc) file(name string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, name))
	return string(text), err
}

// usage reads utime and stime, proc(5), and from io how often it has written.
func (p serverProc) usage() (u cpuUse, err error) {
	text, err := p.file("stat")
	if err != nil {
		return u, errors.New("there is no such process")
	}
	if u.cpu, err = statCPU(text); err != nil {
		return u, fmt.Errorf("/proc/%d/stat: %w", p.pid, err)
	}
	if text, err := p.file("io"); err == nil {
		u.writes = field(text, "syscw:")
	}
	return u, nil
}

// statCPU is utime and stime of a process's stat, its 14th and 15th field. The second
// is its name in brackets, which may itself have blanks and brackets.
func statCPU(text string) (sum time.Duration, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q has too few fields", text)
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum, nil
}

func (p serverProc) memory() (m Memory) {
	if text, err := p.file("status"); err == nil {
		m.RSS = field(text, "VmRSS:") << 10
	}
	if text, err := p.file("smaps_rollup"); err == nil {
		m.Pss = field(text, "Pss:") << 10
	}
	return m
}

// field is the number behind word in a file of lines.
func field(text, word string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseInt(f[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

// names are the names of procs, each once, as they came.
func names(procs []serverProc) (list []string) {
	for _, p := range procs {
		if !slices.Contains(list, p.name) {
			list = append(list, p.name)
		}
	}
	return list
}

// usages is what the processes of each name have used; those that have ended count
// with nothing.
func usages(procs []serverProc) map[string]cpuUse {
	m := map[string]cpuUse{}
	for _, p := range procs {
		u, err := p.usage()
		if err != nil {
			continue
		}
		m[p.name] = cpuUse{m[p.name].cpu + u.cpu, m[p.name].writes + u.writes}
	}
	return m
}

// memories is what the processes of each name take, and of each process.
func memories(procs []serverProc) (sum map[string]Memory, each map[string][]int64) {
	sum, each = map[string]Memory{}, map[string][]int64{}
	for _, p := range procs {
		m := p.memory()
		sum[p.name] = Memory{sum[p.name].RSS + m.RSS, sum[p.name].Pss + m.Pss}
		each[p.name] = append(each[p.name], m.Pss)
	}
	return sum, each
}

// rss is what all processes take, cheaply.
func rss(procs []serverProc) (n int64) {
	for _, p := range procs {
		if text, err := p.file("status"); err == nil {
			n += field(text, "VmRSS:") << 10
		}
	}
	return n
}
