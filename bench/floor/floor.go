package floor

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/work"
	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// Floor is the write loop of one process.
type Floor struct {
	clock    *work.Clock
	accepted chan error // accept's answer

	// Owned by accept until it has answered, then by push.
	fds []int
	seq uint32
}

// New makes a floor without sockets.
func New(clock *work.Clock) *Floor { return &Floor{clock: clock, accepted: make(chan error, 1)} }

// Commands are what a worker that is a floor can be told.
func (f *Floor) Commands() map[string]work.Command {
	return map[string]work.Command{
		"listen": work.Do(f.listen), "push": work.Do(f.push),
		"accepted": work.Do(func(work.None) (work.None, error) { return work.None{}, <-f.accepted }),
	}
}

// Sockets is how many sockets a floor shall have, and what kind.
type Sockets struct{ N, Sndbuf int }

// listen is the command that answers with the address at which the floor waits for
// its sockets.
func (f *Floor) listen(s Sockets) (addr string, err error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	local := [4]byte{127, 0, 0, 1}
	err = errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: local}), unix.Listen(ln, 4096))
	if err != nil {
		return "", err
	}
	name, err := unix.Getsockname(ln)
	if err != nil {
		return "", err
	}
	go func() { f.accepted <- f.accept(ln, s) }() // ends with the process, or when it has all
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

// accept takes the sockets, which are in no epoll.
func (f *Floor) accept(ln int, s Sockets) error {
	for len(f.fds) < s.N {
		fd, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil {
			f.fds = append(f.fds, fd)
			err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, s.Sndbuf))
		}
		if err != nil {
			return fmt.Errorf("accept socket %d of %d: %w", len(f.fds), s.N, err)
		}
	}
	return unix.Close(ln)
}

// Push is Count messages of Size bytes in one write to each socket, from so many
// threads.
type Push struct {
	Run                  uint32
	Op                   int32
	Count, Size, Threads int
}

// push is the command that writes.
func (f *Floor) push(p Push) (work.None, error) {
	now := f.clock.Now()
	var inner []byte
	for range p.Count {
		f.seq++
		inner = protocol.AppendPacket(inner, protocol.Packet{
			Ver: protocol.PushVer, Op: protocol.Op(p.Op),
			Body: stamp.Append(nil, stamp.Stamp{Run: p.Run, Target: stamp.To(stamp.Room, 0), Seq: f.seq, Due: now}, p.Size),
		})
	}
	frame := ws.AppendFrame(nil, ws.OpBinary, protocol.AppendPacket(nil, protocol.Packet{
		Ver: protocol.PushVer, Op: protocol.OpRaw, Body: inner,
	}))
	var threads sync.WaitGroup
	failed := make([]error, p.Threads)
	for i := range p.Threads {
		threads.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			failed[i] = writeAll(f.fds[len(f.fds)*i/p.Threads:len(f.fds)*(i+1)/p.Threads], frame)
		})
	}
	threads.Wait()
	return work.None{}, errors.Join(failed...)
}

// writeAll writes frame to each of fds.
func writeAll(fds []int, frame []byte) error {
	for _, fd := range fds {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)))
		if errno != 0 || int(n) != len(frame) {
			return fmt.Errorf("wrote %d of %d bytes to a socket: %w", int(n), len(frame), errno)
		}
	}
	return nil
}
