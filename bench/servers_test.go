package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStatCPU(t *testing.T) {
	const rest = " S 1 4711 4711 0 -1 4194560 2000 0 0 0 150 50 0 0 20 0 12 0 100 0 0\n"
	f := func(name string) {
		t.Helper()
		if cpu, err := statCPU("4711 (" + name + ")" + rest); cpu != 2*time.Second || err != nil {
			t.Errorf("%q: %v, %v", name, cpu, err)
		}
	}
	f("halley")
	f("with blanks in it")
	f(") S 9 9 9 (")
	f("a) b")
	f("")
	bad := func(text string) {
		t.Helper()
		if _, err := statCPU(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	bad("")
	bad("4711 (halley) S 1 2 3")
	bad("4711 (halley) S 1 4711 4711 0 -1 4194560 2000 0 0 0 x 50 0")
}

func TestUsage(t *testing.T) {
	p := serverProc{"server", os.Getpid()}
	u, err := p.usage()
	if m := p.memory(); err != nil || m.RSS < 1<<20 || rss([]serverProc{p}) < 1<<20 {
		t.Errorf("usage %+v, %v; memory %+v", u, err, m)
	}
	two := []serverProc{p, p, {"other", os.Getpid()}, {"gone", 1 << 22}}
	sum, each := memories(two)
	if len(each["server"]) != 2 || sum["server"].RSS <= sum["other"].RSS || len(names(two)) != 3 {
		t.Errorf("memories %v, each %v, names %v", sum, each, names(two))
	}
	if all := usages(two); len(all) != 2 {
		t.Errorf("usages %v", all)
	}
}

func TestParseServers(t *testing.T) {
	procs, err := parseServers([]string{"1", "gateway=1", "gateway=2"}[:2])
	if err != nil || len(procs) != 2 || procs[0] != (serverProc{"server", 1}) || procs[1] != (serverProc{"gateway", 1}) {
		t.Errorf("%v, %v", procs, err)
	}
	f := func(arg, want string) {
		t.Helper()
		if _, err := parseServers([]string{arg}); err == nil || !strings.Contains(err.Error(), "--server-pid") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", arg, err)
		}
	}
	f("", "want PID or NAME=PID")
	f("x", "want PID or NAME=PID")
	f("=1", "want PID or NAME=PID")
	f("gateway=", "want PID or NAME=PID")
	f("gateway=-1", "want PID or NAME=PID")
	f("gateway=4194304", "there is no such process")
}

func TestSlabBytes(t *testing.T) {
	const text = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
TCP                  100    120   2432   13    8 : tunables    0    0    0 : slabdata     10     10      0
kmalloc-64          6400   6400     64   64    1 : tunables    0    0    0 : slabdata    100    100      0
`
	if got, want := slabBytes(text), int64(180*os.Getpagesize()); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	if got := slabBytes("slabinfo - version: 2.1\n"); got != 0 {
		t.Errorf("%d bytes", got)
	}
}

func TestSockstatPages(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		if got := sockstatPages(text); got != want {
			t.Errorf("%q: %d pages, want %d", text, got, want)
		}
	}
	f("sockets: used 163\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1234\nUDP: inuse 2 mem 99\nFRAG: inuse 0 memory 0\n", 1234)
	f("TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1", 1)
	f("", 0)
}

func TestField(t *testing.T) {
	f := func(text, word string, want int64) {
		t.Helper()
		if got := field(text, word); got != want {
			t.Errorf("%s in %q: %d, want %d", word, text, got, want)
		}
	}
	f("VmPeak:\t 9 kB\nVmRSS:\t  5124 kB\n", "VmRSS:", 5124)
	f("rchar: 5\nsyscw: 77\n", "syscw:", 77)
	f("Pss:  8 kB\nPss_Dirty: 3 kB\n", "Pss_Dirty:", 3)
	f("VmRSS:\n", "VmRSS:", 0)
	f("", "VmRSS:", 0)
}

func TestReadCgroup(t *testing.T) {
	f := func(used, tcp int64, files map[string]string) {
		t.Helper()
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := readCgroup(dir); a != used || b != tcp {
			t.Errorf("%v: %d and %d, want %d and %d", files, a, b, used, tcp)
		}
	}
	f(5, 0, map[string]string{"memory.current": "5\n"})
	f(7, 2, map[string]string{"memory.usage_in_bytes": "7\n", "memory.kmem.tcp.usage_in_bytes": "2\n"})
	f(0, 0, nil)
}
