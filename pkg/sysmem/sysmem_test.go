package sysmem

import (
	"testing"
	"testing/fstest"
)

func files(kv ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = &fstest.MapFile{Data: []byte(kv[i+1])}
	}
	return m
}

const meminfo = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:   400 kB\n"

func TestMachine(t *testing.T) {
	if got, want := New(files("proc/meminfo", meminfo)).Machine(), (Use{1000 << 10, 600 << 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := New(files()).Machine(); got != (Use{}) {
		t.Errorf("without files: %+v", got)
	}
}

func TestCgroup(t *testing.T) {
	f := func(name string, want Use, kv ...string) {
		t.Helper()
		if got := New(files(append(kv, "proc/meminfo", meminfo)...)).Cgroup().Use(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	f("version 2", Use{5000, 3000},
		"proc/self/cgroup", "0::/a/b\n",
		"sys/fs/cgroup/a/b/memory.max", "5000\n", "sys/fs/cgroup/a/b/memory.current", "4000\n",
		"sys/fs/cgroup/a/b/memory.stat", "anon 1\ninactive_file 1000\n")
	f("no limit", Use{},
		"proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/memory.max", "max\n", "sys/fs/cgroup/a/memory.current", "4000\n")
	f("the limit is a parent's", Use{7000, 100},
		"proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "max\n",
		"sys/fs/cgroup/a/memory.max", "7000\n", "sys/fs/cgroup/a/memory.current", "100\n")
	f("a container, where the mount is the group", Use{900, 100},
		"proc/self/cgroup", "0::/docker/123\n", "sys/fs/cgroup/memory.max", "900\n", "sys/fs/cgroup/memory.current", "100\n")
	f("version 1, TCP charged apart", Use{5000, 2500},
		"proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/a\n",
		"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000\n", "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "2000\n",
		"sys/fs/cgroup/memory/a/memory.kmem.tcp.usage_in_bytes", "1500\n", "sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 1000\n")
	f("version 1's way to say that there is none", Use{},
		"proc/self/cgroup", "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
	f("nothing there", Use{})
}

func TestOver(t *testing.T) {
	if !(Use{100, 91}).Over(0.9) || (Use{100, 90}).Over(0.9) || (Use{0, 1000}).Over(0.9) {
		t.Error("Over")
	}
}

func TestHere(t *testing.T) {
	if rss := Here().RSS(); rss < 1<<20 {
		t.Errorf("a test of %d bytes", rss)
	}
	if m := Here().Machine(); m.Limit < 64<<20 || m.Used <= 0 || m.Used > m.Limit {
		t.Errorf("machine %+v", m)
	}
}
