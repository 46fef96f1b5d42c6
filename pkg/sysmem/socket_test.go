package sysmem_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/sysmem"
)

func TestSendQueue(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	queued := func() (n int) {
		t.Helper()
		if err := errors.Join(raw.Control(func(fd uintptr) { n, err = sysmem.SendQueue(int(fd)) }), err); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := queued(); n != 0 {
		t.Errorf("%d bytes before anything was written", n)
	}
	// Nobody accepts, so nobody reads: written until neither end takes more.
	written := 0
	if err := raw.Write(func(fd uintptr) bool {
		for chunk := make([]byte, 64<<10); ; {
			n, err := unix.Write(int(fd), chunk)
			if errors.Is(err, unix.EAGAIN) {
				return true
			}
			if err != nil {
				t.Errorf("write: %v", err)
				return true
			}
			written += n
		}
	}); err != nil {
		t.Fatal(err)
	}
	unsent := 0
	_ = raw.Control(func(fd uintptr) { unsent, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	if n := queued(); err != nil || n < unsent || unsent == 0 || n > 2*unsent {
		t.Errorf("%d bytes queued, %d of %d written not acknowledged (%v)", n, unsent, written, err)
	}
	if _, err := sysmem.SendQueue(-1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("no socket: %v", err)
	}
}

func BenchmarkSendQueue(b *testing.B) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sysmem.SendQueue(fd); err != nil {
			b.Fatal(err)
		}
	}
}
