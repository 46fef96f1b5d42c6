package kafka

import (
	"strings"
	"testing"
	"time"
)

func TestConfigDefault(t *testing.T) {
	cfg := Default()
	if err := cfg.Validate(); err == nil || err.Error() != "kafka.brokers: want at least one host:port" {
		t.Fatalf("Default without brokers: %v", err)
	}
	cfg.Brokers = []string{"localhost:9092"}
	if err := cfg.Validate(); err != nil {
		t.Fatalf("Default with brokers: %v", err)
	}
	if cfg.Topic != "goim-push-topic" || cfg.Group != "goim-push-group-job" || cfg.Partitions != 16 {
		t.Fatalf("the defaults are not goim's: %+v", cfg)
	}
}

// TestConfigValidate: what is wrong is named, with what is allowed.
func TestConfigValidate(t *testing.T) {
	f := func(change func(c *Config), want string) {
		t.Helper()
		cfg := Default()
		cfg.Brokers = []string{"a:9092", "[::1]:1"}
		change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate: %v, want it to say %q", err, want)
		}
	}
	f(func(c *Config) { c.Brokers = nil }, "kafka.brokers: want at least one")
	f(func(c *Config) { c.Brokers = []string{"a:1", "b"} }, `kafka.brokers: "b" is not host:port`)
	f(func(c *Config) { c.Brokers = []string{":9092"} }, "is not host:port")
	f(func(c *Config) { c.Brokers = []string{"a:0"} }, "is not host:port")
	f(func(c *Config) { c.Brokers = []string{"a:70000"} }, "is not host:port")
	f(func(c *Config) { c.Topic = "" }, "kafka.topic: ")
	f(func(c *Config) { c.Topic = "a b" }, "want 1 to 249 letters")
	f(func(c *Config) { c.Topic = ".." }, "kafka.topic: ")
	f(func(c *Config) { c.Topic = strings.Repeat("a", 250) }, "kafka.topic: ")
	f(func(c *Config) { c.Group = "" }, "kafka.group: want a name")
	f(func(c *Config) { c.Partitions = 0 }, "kafka.partitions: 0: want 1 to 10000")
	f(func(c *Config) { c.Replication = -1 }, "kafka.replication: -1: want 1 to 100, or 0")
	f(func(c *Config) { c.MaxMessage = 10 }, "kafka.max_message: 10: want 1 KiB to 64 MiB")
	f(func(c *Config) { c.FetchBytes = 1 << 30 }, "kafka.fetch_bytes: ")
	f(func(c *Config) { c.DialTimeout = 0 }, "kafka.dial_timeout: 0s: want 10ms to 10m")
	f(func(c *Config) { c.RequestTimeout = -1 }, "kafka.request_timeout: ")
	f(func(c *Config) { c.FetchWait = time.Hour }, "kafka.fetch_wait: ")
	f(func(c *Config) { c.Heartbeat = 3 * time.Second }, "kafka.heartbeat (3s) + group_timeout (4s): want at most session_timeout (6s)")
	f(func(c *Config) { c.Group, c.Partitions = "", 0 }, "kafka.group: want a name\nkafka.partitions: 0")
}
