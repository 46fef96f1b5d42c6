package gateway

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/pkg/protocol"
	"github.com/halley-im/halley/pkg/ws"
)

// floor is what no server can go below: a process that holds accepted sockets
// and, told to push, does one write(2) of the very bytes a gateway would write to
// each of them. No event loop, no buffers, no scheduler: raw system calls, from as
// many threads as the gateway has loops.
type floor struct {
	fds      []int      // owned by accept until it has answered
	accepted chan error // accept's answer
	seq      uint64
}

// floorSpec is how many sockets a floor shall have, and what kind.
type floorSpec struct{ N, Sndbuf int }

func floorMain() error {
	f := &floor{accepted: make(chan error, 1)}
	return obey(map[string]command{
		"usage": cmd(ownUsage), "listen": cmd(f.listen), "push": cmd(f.push),
		"accepted": cmd(func(none) (none, error) { return none{}, <-f.accepted }),
	})
}

// listen answers with the address at which the floor waits for its sockets.
func (f *floor) listen(s floorSpec) (addr string, err error) {
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
func (f *floor) accept(ln int, s floorSpec) error {
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

// floorPush is a pushSpec for the floor, which has no rooms.
type floorPush struct{ Count, Size, Threads int }

func (f *floor) push(p floorPush) (none, error) {
	now := monotonic()
	var inner []byte
	for range p.Count {
		f.seq++
		inner = protocol.AppendPacket(inner, protocol.Packet{
			Ver: protocol.PushVer, Op: 1000, Body: appendStamped(nil, f.seq, now, p.Size),
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
	return none{}, errors.Join(failed...)
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
