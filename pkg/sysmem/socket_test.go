package sysmem_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/sysmem"
)

// What was written to a socket is with the peer, and acknowledged, or in the queue.
func TestSocket(t *testing.T) {
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
	var acked uint64
	_ = raw.Control(func(fd uintptr) { acked, err = sysmem.Acked(int(fd)) })
	if taken := uint64(written - unsent); err != nil || acked != taken && acked != taken+1 { // a SYN is one
		t.Errorf("%d bytes are acknowledged of %d, of which %d are not (%v)", acked, written, unsent, err)
	}
	_, err1 := sysmem.SendQueue(-1)
	_, err2 := sysmem.Acked(-1)
	if !errors.Is(err1, syscall.EBADF) || !errors.Is(err2, syscall.EBADF) {
		t.Errorf("no socket: %v, %v", err1, err2)
	}
}

func BenchmarkSocket(b *testing.B) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	b.Run("SendQueue", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = sysmem.SendQueue(fd)
		}
	})
	b.Run("Acked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = sysmem.Acked(fd)
		}
	})
}
