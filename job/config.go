package job

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// Config is what an operator may set for a job.
type Config struct {
	ID           string        `help:"name of this job in the cluster, unlike that of any other job or gateway (default: made of host name and process)"`
	InternalAddr string        `help:"address of metrics and health; announced in the lease"`
	BatchBytes   int           `help:"a batch to a gateway is closed when it has this many bytes"`
	Window       int           `help:"bytes that may be in flight to one gateway, not answered yet"`
	LaneBytes    int           `help:"bytes that may wait for one gateway per partition before the partition's reader waits"`
	CommitEvery  time.Duration `help:"how often consumed offsets are committed"`
	DrainTimeout time.Duration `help:"how long a partition that is given up waits for gateways to answer what was read"`
}

// Default is the configuration of a job that nobody configured; ID is empty and
// must be set.
func Default() Config {
	return Config{
		InternalAddr: "127.0.0.1:3129",
		BatchBytes:   64 << 10,
		Window:       1 << 20, // 16 full batches: covers 1 ms of round trip at 1 GB/s
		LaneBytes:    8 << 20,
		CommitEvery:  200 * time.Millisecond,
		DrainTimeout: time.Second, // a rebalance waits for it, so it is short
	}
}

// Validate reports the first field that cannot be used, and what is allowed.
func (c *Config) Validate() error {
	if c.ID == "" || len(c.ID) > 255 {
		return fmt.Errorf("job.id %q: from 1 to 255 bytes are allowed", c.ID)
	}
	_, port, err := net.SplitHostPort(c.InternalAddr)
	if err != nil {
		return fmt.Errorf("job.internal_addr %q: want host:port: %w", c.InternalAddr, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("job.internal_addr %q: port: a number from 0 to 65535 is allowed", c.InternalAddr)
	}
	for _, n := range []struct {
		name      string
		value     int
		low, high int
	}{
		{"job.batch_bytes", c.BatchBytes, 1 << 10, 1 << 20},
		{"job.window", c.Window, c.BatchBytes, 16 << 20}, // a link queues 32 MiB at most
		{"job.lane_bytes", c.LaneBytes, c.BatchBytes, 1 << 30},
	} {
		if n.value < n.low || n.value > n.high {
			return fmt.Errorf("%s %d: from %d to %d is allowed", n.name, n.value, n.low, n.high)
		}
	}
	for _, d := range []struct {
		name      string
		value     time.Duration
		low, high time.Duration
	}{
		{"job.commit_every", c.CommitEvery, time.Millisecond, time.Minute},
		{"job.drain_timeout", c.DrainTimeout, 0, time.Minute},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("%s %v: from %v to %v is allowed", d.name, d.value, d.low, d.high)
		}
	}
	return nil
}
