package redis

import (
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says where Redis is and how it is used.
type Config struct {
	// Addrs are host:port of one Redis server, of the Sentinels (MasterName is
	// set then), or of some nodes of a Redis Cluster (more than one address, or
	// Cluster is set).
	Addrs []string `help:"host:port of one Redis server, of the Sentinels (with master_name), or of some nodes of a Redis Cluster; comma-separated"`
	// MasterName is the name Sentinel knows the master by; "" is no Sentinel.
	MasterName string `help:"name by which the Sentinels know the master; empty: no Sentinel"`
	// Cluster says that a single address is that of a Redis Cluster.
	Cluster bool `help:"a single address is that of a Redis Cluster"`

	// Username and Password of Redis; Username "" is Redis' default user,
	// Password "" does not authenticate.
	Username string `help:"user at Redis; empty is Redis' default user"`
	Password string `help:"password at Redis; empty does not authenticate" secret:"true"`
	// SentinelUsername and SentinelPassword of the Sentinels.
	SentinelUsername string `help:"user at the Sentinels"`
	SentinelPassword string `help:"password at the Sentinels" secret:"true"`
	// DB is the number of the database, from 0; a Redis Cluster has only 0.
	DB int `help:"number of the database; a Redis Cluster has only 0"`
	// TLS encrypts connections to Redis and the Sentinels and checks their
	// certificates with the system's roots.
	TLS bool `help:"encrypt connections and check certificates with the system's roots"`

	// Prefix is what the names of all keys begin with, up to a colon. Two
	// systems on one Redis have different ones.
	Prefix string `help:"what the names of all keys begin with; two systems on one Redis have different ones"`

	// DialTimeout bounds one attempt to connect.
	DialTimeout time.Duration `help:"for one attempt to connect"`
	// Timeout bounds waiting for the answer to a command or a pipeline, and for
	// a free connection. A pipeline is tried twice (three times in a Redis
	// Cluster), so a Redis that hangs holds a caller for a few of it at most,
	// or until its ctx ends.
	Timeout time.Duration `help:"for the answer to a command or pipeline"`
	// PoolSize is how many connections there are for single commands, and once
	// more for pipelines, per Redis node. They are opened when they are needed.
	PoolSize int `help:"connections for single commands, and once more for pipelines, per Redis node"`
}

// Default returns a Config for one Redis on this machine.
func Default() Config {
	return Config{
		Addrs:       []string{"127.0.0.1:6379"},
		Prefix:      "halley",
		DialTimeout: time.Second,
		Timeout:     2 * time.Second,
		PoolSize:    16,
	}
}

// Bounds of what Validate accepts.
const (
	maxTimeout  = time.Minute
	maxPoolSize = 1024
	maxDB       = 1 << 20
)

// validPrefix leaves out what means something to Redis (braces are hash tags,
// * ? [ ] \ are patterns) and the colon, so that no prefix can stand for a part
// of the names under another.
var validPrefix = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Validate names the first field that cannot be used and what is allowed.
func (c *Config) Validate() error {
	if len(c.Addrs) == 0 {
		return fmt.Errorf("redis addrs: want at least one host:port")
	}
	for _, a := range c.Addrs {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			return fmt.Errorf("redis addrs: %q: want host:port", a)
		}
	}
	switch {
	case c.Cluster && c.MasterName != "":
		return fmt.Errorf("redis master_name: must be empty with cluster: a Redis Cluster has no Sentinels")
	case c.DB < 0 || c.DB > maxDB:
		return fmt.Errorf("redis db: %d: want 0 to %d", c.DB, maxDB)
	case c.DB != 0 && c.clustered():
		return fmt.Errorf("redis db: %d: a Redis Cluster has only 0", c.DB)
	case c.Username != "" && c.Password == "":
		return fmt.Errorf("redis username: %q: wants a password too", c.Username)
	case c.SentinelUsername != "" && c.SentinelPassword == "":
		return fmt.Errorf("redis sentinel_username: %q: wants a sentinel_password too", c.SentinelUsername)
	case !validPrefix.MatchString(c.Prefix):
		return fmt.Errorf("redis prefix: %q: want 1 to 64 of letters, digits, dot, underscore, dash", c.Prefix)
	case c.DialTimeout <= 0 || c.DialTimeout > maxTimeout:
		return fmt.Errorf("redis dial_timeout: %v: want more than 0, at most %v", c.DialTimeout, maxTimeout)
	case c.Timeout <= 0 || c.Timeout > maxTimeout:
		return fmt.Errorf("redis timeout: %v: want more than 0, at most %v", c.Timeout, maxTimeout)
	case c.PoolSize < 1 || c.PoolSize > maxPoolSize:
		return fmt.Errorf("redis pool_size: %d: want 1 to %d", c.PoolSize, maxPoolSize)
	}
	return nil
}

// clustered says whether go-redis shall speak Redis Cluster.
func (c *Config) clustered() bool {
	return c.MasterName == "" && (c.Cluster || len(c.Addrs) > 1)
}

// Buffers of connections. A pipeline of 512 registrations is about 130 KB out
// and 30 KB in; go-redis' own default of 2 × 128 KiB per pipeline connection is
// no faster (BenchmarkConnect).
const (
	commandBuffer  = 4 << 10
	pipelineBuffer = 32 << 10
)

func (c *Config) options() *goredis.UniversalOptions {
	o := &goredis.UniversalOptions{
		Addrs:            c.Addrs,
		MasterName:       c.MasterName,
		IsClusterMode:    c.Cluster,
		ClientName:       c.Prefix,
		DB:               c.DB,
		Username:         c.Username,
		Password:         c.Password,
		SentinelUsername: c.SentinelUsername,
		SentinelPassword: c.SentinelPassword,

		// Nothing here needs RESP3, and without it go-redis need not look for
		// push messages before every reply.
		Protocol: 2,
		// Asked of every new connection by default; Redis itself answers with an
		// error.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		// One repetition covers a connection that Redis closed while it was
		// idle. More would multiply the timeouts; callers repeat on their own.
		MaxRetries:    1,
		DialTimeout:   c.DialTimeout,
		DialerRetries: 1, // 5 by default, within one attempt of a command
		ReadTimeout:   c.Timeout,
		WriteTimeout:  c.Timeout,
		PoolTimeout:   c.Timeout,
		// Without it go-redis lets a call run on when its ctx has ended.
		ContextTimeoutEnabled: true,

		PoolSize:                c.PoolSize,
		PipelinePoolSize:        c.PoolSize,
		ReadBufferSize:          commandBuffer,
		WriteBufferSize:         commandBuffer,
		PipelineReadBufferSize:  pipelineBuffer,
		PipelineWriteBufferSize: pipelineBuffer,
	}
	if c.clustered() {
		// There, what is repeated is counted as redirections.
		o.MaxRetries, o.MaxRedirects = -1, 2
	}
	if c.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}
