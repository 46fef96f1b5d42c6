package redis

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

func TestConfigValidate(t *testing.T) {
	f := func(change func(*Config), wantErr string) {
		t.Helper()
		cfg := Default()
		change(&cfg)
		err := cfg.Validate()
		if wantErr == "" {
			if err != nil {
				t.Fatalf("%+v: %v", cfg, err)
			}
			return
		}
		if err == nil || !strings.HasPrefix(err.Error(), wantErr) {
			t.Fatalf("%+v: %v, want %s", cfg, err, wantErr)
		}
		if c, err := New(cfg); err == nil {
			t.Fatalf("New took %+v: %v", cfg, c)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.Addrs = []string{"a:1", "[::1]:2"} }, "")
	f(func(c *Config) { c.MasterName, c.Addrs, c.DB = "m", []string{"a:1", "b:2"}, 3 }, "")
	f(func(c *Config) { c.Cluster = true }, "")
	f(func(c *Config) { c.Username, c.Password = "u", "p" }, "")

	f(func(c *Config) { c.Addrs = nil }, "redis addrs")
	f(func(c *Config) { c.Addrs = []string{"localhost"} }, "redis addrs")
	f(func(c *Config) { c.Addrs = []string{"a:1", "b:"} }, "redis addrs")
	f(func(c *Config) { c.Cluster, c.MasterName = true, "m" }, "redis master_name")
	f(func(c *Config) { c.DB = -1 }, "redis db")
	f(func(c *Config) { c.DB, c.Cluster = 1, true }, "redis db")
	f(func(c *Config) { c.DB, c.Addrs = 1, []string{"a:1", "b:1"} }, "redis db")
	f(func(c *Config) { c.Username = "u" }, "redis username")
	f(func(c *Config) { c.SentinelUsername = "u" }, "redis sentinel_username")
	f(func(c *Config) { c.Prefix = "" }, "redis prefix")
	f(func(c *Config) { c.Prefix = "a:b" }, "redis prefix")
	f(func(c *Config) { c.Prefix = "a{b}" }, "redis prefix")
	f(func(c *Config) { c.Prefix = "a*" }, "redis prefix")
	f(func(c *Config) { c.Prefix = strings.Repeat("a", 65) }, "redis prefix")
	f(func(c *Config) { c.DialTimeout = 0 }, "redis dial_timeout")
	f(func(c *Config) { c.Timeout = -time.Second }, "redis timeout")
	f(func(c *Config) { c.Timeout = time.Hour }, "redis timeout")
	f(func(c *Config) { c.PoolSize = 0 }, "redis pool_size")
	f(func(c *Config) { c.PoolSize = 1 << 20 }, "redis pool_size")
}

// TestConfigKind checks which client go-redis makes of a configuration; none of
// them connects yet.
func TestConfigKind(t *testing.T) {
	f := func(change func(*Config), kind string) {
		t.Helper()
		cfg := Default()
		change(&cfg)
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got := "cluster"
		if rdb, ok := c.rdb.(*goredis.Client); ok {
			if got = "single"; rdb.Options().Addr == "FailoverClient" {
				got = "sentinel"
			}
			if o := rdb.Options(); o.ReadTimeout != cfg.Timeout || !o.ContextTimeoutEnabled || (o.TLSConfig != nil) != cfg.TLS {
				t.Fatalf("options %+v do not follow %+v", o, cfg)
			}
		}
		if got != kind {
			t.Fatalf("%+v: %s client, want %s", cfg, got, kind)
		}
	}
	f(func(*Config) {}, "single")
	f(func(c *Config) { c.TLS = true }, "single")
	f(func(c *Config) { c.Cluster = true }, "cluster")
	f(func(c *Config) { c.Addrs = []string{"a:1", "b:1"} }, "cluster")
	f(func(c *Config) { c.MasterName = "m" }, "sentinel")
	f(func(c *Config) { c.MasterName, c.Addrs = "m", []string{"a:1", "b:1"} }, "sentinel")
}
