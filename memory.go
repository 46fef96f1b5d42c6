package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/halley-im/halley/gateway"
	"github.com/halley-im/halley/pkg/sysmem"
)

const (
	// gcPercent is what may be added to the live heap before it is collected, of the
	// heap: docs/decisions/0002. At 15,000 connections with 535 live bytes each,
	// resident were 868, 806, 727, 692 and 676 bytes a connection at 200, 100, 50, 25
	// and 10, and a connect took 57, 69 and 104 µs of CPU at 100, 50 and 25.
	gcPercent = 50
	// gcPercentJob is the same for a job alone, which holds next to nothing and makes it
	// anew all the time: routing 15,000 to 22,000 pushes a second takes 0.11 to 0.12 cores
	// instead of 0.18 to 0.19, and 6 MB more.
	gcPercentJob = 200
	// goShare is the part of the memory that is left to Go after the sockets: the
	// rest is for stacks of threads, mapped files, and what the kernel needs.
	goShare = 0.9
	// backlogShare is the default of gateway.max_backlog, of the memory.
	backlogShare = 0.25
)

// limitMemory settles what depends on the memory this process may use: Go's
// collector, unless GOGC and GOMEMLIMIT say otherwise, and gateway.max_backlog.
func limitMemory(cfg *gateway.Config, r roles, system sysmem.System, log *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		percent := gcPercent
		if r.has(roleJob) && !r.embedded() {
			percent = gcPercentJob
		}
		debug.SetGCPercent(percent)
	}
	memory := system.Cgroup().Use().Limit
	limited := memory > 0
	if !limited {
		memory = system.Machine().Limit
	}
	if cfg.MaxBacklog == 0 {
		cfg.MaxBacklog = max(minBacklog, int(backlogShare*float64(memory)))
	}
	if !limited || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	left := memory
	if r.has(roleGateway) {
		left = max(memory/4, memory-cfg.KernelMemory())
	}
	debug.SetMemoryLimit(int64(goShare * float64(left)))
	log.Info("memory limit", "cgroup", memory, "go", int64(goShare*float64(left)))
}

// minBacklog is what a gateway without a known memory lets wait for its clients.
const minBacklog = 64 << 20
