package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"github.com/halley-im/halley/pkg/backendtest"
	"github.com/halley-im/halley/pkg/testkit"
)

// openClient returns a Client of the real Redis with a prefix of its own, whose
// keys are removed when the test is over. HALLEY_TEST_REDIS may also name some
// nodes of a Redis Cluster, separated by commas.
func openClient(t testing.TB) *Client {
	t.Helper()
	cfg := Default()
	cfg.Addrs = strings.Split(testkit.Redis(t), ",")
	cfg.Prefix = "t" + strings.ToLower(rand.Text()[:5]) // as long as the default
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.removeAll(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// removeAll removes every key under the prefix.
func (c *Client) removeAll(ctx context.Context) error {
	masters, err := c.masters(ctx)
	if err != nil {
		return err
	}
	for _, m := range masters {
		it := m.Scan(ctx, 0, c.prefix+":*", 1000).Iterator()
		pipe := m.Pipeline()
		for it.Next(ctx) {
			pipe.Unlink(ctx, it.Val())
		}
		if err := it.Err(); err != nil {
			return err
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) countKeys(t testing.TB) (n int) {
	t.Helper()
	masters, err := c.masters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		it := m.Scan(t.Context(), 0, c.prefix+":*", 1000).Iterator()
		for it.Next(t.Context()) {
			n++
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	return n
}

func openRegistry(t testing.TB) backendtest.RegistryBackend { return openClient(t) }

func TestRegistry(t *testing.T) { backendtest.Registry(t, openRegistry) }

func TestRegistryModel(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			backendtest.RegistryModel(t, seed, 2500, openRegistry)
		})
	}
}

func TestNodes(t *testing.T) {
	backendtest.Nodes(t, func(t testing.TB) backendtest.NodesBackend { return openClient(t) })
}

func TestRooms(t *testing.T) {
	backendtest.Rooms(t, func(t testing.TB) backendtest.RoomsBackend {
		return NewRooms(openClient(t), backendtest.RoomPartitions)
	})
}

func TestLocks(t *testing.T) {
	backendtest.Locks(t, func(t testing.TB) backendtest.LocksBackend { return openClient(t) })
}
