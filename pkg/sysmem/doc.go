// Package sysmem tells how much memory this process may use, and how much of that
// is used: by the memory cgroup it runs in (version 1 or 2), by the machine, and by a
// socket.
//
// It reads files below /proc and /sys and calls the kernel when it is asked, starts
// nothing and keeps nothing. What cannot be read counts as not limited: a gateway on a
// kernel without cgroups runs, without a budget that nobody set.
//
// Why not a library: those that exist set Go's memory limit from the cgroup's
// limit. A gateway also has to know what is used, kernel memory of sockets
// included, to refuse clients before the kernel kills it.
package sysmem
