package gateway

import (
	"context"
	"time"

	"github.com/halley-im/halley/pkg/sysmem"
)

const (
	// sampleEvery is how often the memory in use is compared with its budgets: 100 µs
	// of reading files. At 20,000 new clients a second 90 MB come in between.
	sampleEvery = 500 * time.Millisecond
	// kernelPerConn is what the kernel holds for an idle connection, in bytes:
	// socket, inode, file, dentry, epoll item (4.2 to 4.6 KB by slabinfo).
	kernelPerConn = 4600
	// fullAt and roomAt are the shares of the cgroup's and of the machine's memory at
	// which new clients are refused, and taken again: what is here will still grow.
	fullAt = 0.92
	roomAt = 0.90
)

// watchMemory refuses new connections while memory is short, until ctx ends.
func (srv *Server) watchMemory(ctx context.Context, system sysmem.System) {
	cgroup := system.Cgroup()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		over := srv.memoryShort(system, cgroup)
		if srv.overMemory.Swap(over) != over {
			srv.log.Warn("memory budget", "refusing_clients", over, "connections", srv.Conns(),
				"used", srv.memoryUsed(system), "budget", srv.cfg.MaxMemory)
		}
	}
}

// memoryUsed is what this gateway costs in bytes: its process, and the kernel's
// part of its connections.
func (srv *Server) memoryUsed(system sysmem.System) int64 {
	return system.RSS() + int64(srv.Conns())*kernelPerConn + srv.backlog.Load()
}

func (srv *Server) memoryShort(system sysmem.System, cgroup sysmem.Cgroup) bool {
	share, budget := fullAt, srv.cfg.MaxMemory
	if srv.overMemory.Load() {
		share, budget = roomAt, budget-budget/50
	}
	if budget > 0 && srv.memoryUsed(system) > int64(budget) {
		return true
	}
	return cgroup.Use().Over(share) || system.Machine().Over(share)
}

// KernelMemory is what the kernel holds when all of max_connections are there and
// idle, in bytes.
func (c *Config) KernelMemory() int64 { return int64(c.MaxConnections) * kernelPerConn }
