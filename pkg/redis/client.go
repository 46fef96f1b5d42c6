package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// go-redis logs to stderr, past every setting of ours, what it also returns as
// an error. Whoever called has that error, and logs it with what it was for.
func init() { logging.Disable() }

// maxBatch is how many routes are sent in one pipeline: at about 5 µs each Redis
// is not kept from others for more than a few milliseconds.
const maxBatch = 512

// Client is the registry in Redis: routes (registry.go, lookup.go), leases
// (nodes.go), locks and pins (lock.go). All methods may be called concurrently.
// Each ends when its ctx does, and after a few of Config.Timeout at the latest.
type Client struct {
	// Static after construction.
	rdb    goredis.UniversalClient
	prefix string
}

// New returns a Client. It connects to nothing yet; an error is one of the
// configuration.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Client{rdb: goredis.NewUniversalClient(cfg.options()), prefix: cfg.Prefix}, nil
}

// Close closes all connections; calls that are under way fail.
func (c *Client) Close() error {
	if err := c.rdb.Close(); err != nil {
		return fmt.Errorf("close redis connections: %w", err)
	}
	return nil
}

// Ping asks Redis whether it answers.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// name joins the parts of a Redis key other than those of routes. The first part
// must not begin with k or m.
func (c *Client) name(parts ...string) string {
	return c.prefix + ":" + strings.Join(parts, ":")
}

// keyName and midName have no second colon: with it, the name for a UUID would
// be a byte too long for jemalloc's 48 and take 64, 16 of 341 bytes per route
// (BenchmarkMemory).
func (c *Client) keyName(key string) string { return c.prefix + ":k" + key }
func (c *Client) midName(mid string) string { return c.prefix + ":m" + mid }

// call is one run of a script on one key.
type call struct {
	script *goredis.Script
	key    string
	arg    any
	value  []byte // second argument; nil none
}

// runScripts runs calls in one pipeline, in order as far as they concern the
// same key, and returns the replies in order. After an error some have run and
// some have not.
func (c *Client) runScripts(ctx context.Context, calls []call) ([]string, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	out := make([]string, len(calls))
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	unknown, err := c.runSome(ctx, calls, todo, out)
	if err != nil || len(unknown) == 0 {
		return out, err
	}
	// Slow path - Redis is new or was restarted and does not know the scripts.
	for _, s := range batched {
		if err := s.Load(ctx, c.rdb).Err(); err != nil {
			return nil, fmt.Errorf("load scripts: %w", err)
		}
	}
	unknown, err = c.runSome(ctx, calls, unknown, out)
	if err == nil && len(unknown) > 0 {
		err = errors.New("redis forgot a script at once")
	}
	return out, err
}

// runSome runs the calls of these indexes and returns the indexes of those whose
// script Redis does not know.
func (c *Client) runSome(ctx context.Context, calls []call, todo []int, out []string) (unknown []int, err error) {
	pipe := c.rdb.Pipeline()
	cmds := make([]*goredis.Cmd, len(todo))
	for i, at := range todo {
		s := &calls[at]
		if s.value == nil {
			cmds[i] = pipe.EvalSha(ctx, s.script.Hash(), []string{s.key}, s.arg)
		} else {
			cmds[i] = pipe.EvalSha(ctx, s.script.Hash(), []string{s.key}, s.arg, s.value)
		}
	}
	_, execErr := pipe.Exec(ctx)
	for i, at := range todo {
		reply, err := cmds[i].Text()
		switch {
		case err == nil:
			out[at] = reply
		case goredis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, at)
		default:
			return nil, err
		}
	}
	if execErr != nil && len(unknown) == 0 {
		return nil, execErr
	}
	return unknown, nil
}

// gets returns the values of Redis keys in order, "" where there is none.
func (c *Client) gets(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if _, clustered := c.rdb.(*goredis.ClusterClient); clustered {
		return c.getEach(ctx, names)
	}
	values, err := c.rdb.MGet(ctx, names...).Result()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(names))
	for i, v := range values {
		out[i], _ = v.(string)
	}
	return out, nil
}

// getEach is gets where the keys are on several nodes.
func (c *Client) getEach(ctx context.Context, names []string) ([]string, error) {
	pipe := c.rdb.Pipeline()
	cmds := make([]*goredis.StringCmd, len(names))
	for i, name := range names {
		cmds[i] = pipe.Get(ctx, name)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return nil, err
	}
	out := make([]string, len(names))
	for i, cmd := range cmds {
		v, err := cmd.Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
