package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// PinPartitions stores n as the number of partitions of topic if none is stored
// yet and returns what is stored. The caller must not go on if that differs.
func (c *Client) PinPartitions(ctx context.Context, topic string, n int32) (int32, error) {
	name := c.name("partitions", topic)
	var got *goredis.StringCmd
	_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.SetNX(ctx, name, n, 0)
		got = p.Get(ctx, name)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("pin the partitions of topic %s: %w", topic, err)
	}
	pinned, err := got.Int()
	if err != nil {
		return 0, fmt.Errorf("pinned partitions of topic %s: %w", topic, err)
	}
	return int32(pinned), nil
}

// TryLock says whether owner holds the lock from now on for ttl, at least 1 ms:
// nobody held it, its time was over, or owner held it already and has it
// renewed. It does not wait. A lock is a hint between well-behaved owners, not a
// fence: who holds it may be late without knowing.
func (c *Client) TryLock(ctx context.Context, name, owner string, ttl time.Duration) (bool, error) {
	held, err := tryLock.Run(ctx, c.rdb, []string{c.name("lock", name)}, owner, ttl.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", name, err)
	}
	return held, nil
}
