package gateway

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel's inet_diag answers with (linux/inet_diag.h, linux/sock_diag.h).
const (
	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	diagMeminfo  = 7  // INET_DIAG_SKMEMINFO
	diagMsgSize  = 72 // struct inet_diag_msg, before the attributes
	diagSport    = 4  // in it: local port, big endian
	skmemRmem    = 0  // in the attribute, as uint32: SK_MEMINFO_RMEM_ALLOC
	skmemQueued  = 5  // SK_MEMINFO_WMEM_QUEUED
)

// socketBuffers is what the kernel holds in the buffers of this end of all TCP
// connections over IPv4 whose local port is port, in bytes as it charges for them.
func socketBuffers(t testing.TB, port int) (sum int64) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, diagRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		part, done, err := sumBuffers(buf[:n], port)
		if err != nil {
			t.Fatal(err)
		}
		if sum += part; done {
			return sum
		}
	}
}

// diagRequest asks for all TCP sockets over IPv4, with their memory: struct nlmsghdr,
// struct inet_diag_req_v2.
func diagRequest() []byte {
	const size = unix.SizeofNlMsghdr + 56
	req := make([]byte, size)
	binary.NativeEndian.PutUint32(req, size)
	binary.NativeEndian.PutUint16(req[4:], diagByFamily)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	r := req[unix.SizeofNlMsghdr:]
	r[0], r[1], r[2] = unix.AF_INET, unix.IPPROTO_TCP, 1<<(diagMeminfo-1)
	binary.NativeEndian.PutUint32(r[4:], ^uint32(0)) // in every state
	return req
}

// sumBuffers adds up what the sockets of one datagram hold; done: it was the last.
func sumBuffers(data []byte, port int) (sum int64, done bool, err error) {
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		msg := data[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(data[4:]) {
		case unix.NLMSG_DONE:
			return sum, true, nil
		case unix.NLMSG_ERROR:
			return 0, true, fmt.Errorf("inet_diag: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(msg))))
		case diagByFamily:
			if int(binary.BigEndian.Uint16(msg[diagSport:])) == port {
				sum += meminfo(msg[diagMsgSize:])
			}
		}
		data = data[min(len(data), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
	return sum, false, nil
}

// meminfo is what the attributes of one socket say of its buffers.
func meminfo(attrs []byte) int64 {
	for len(attrs) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(attrs))
		if binary.NativeEndian.Uint16(attrs[2:]) == diagMeminfo {
			field := func(i int) int64 {
				return int64(binary.NativeEndian.Uint32(attrs[unix.SizeofRtAttr+4*i:]))
			}
			return field(skmemRmem) + field(skmemQueued)
		}
		attrs = attrs[min(len(attrs), (size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	return 0
}
