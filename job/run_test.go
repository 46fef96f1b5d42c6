package job

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

func TestConfigValidate(t *testing.T) {
	f := func(change func(*Config), wantErr string) {
		t.Helper()
		c := Default()
		c.ID = "job-1"
		change(&c)
		err := c.Validate()
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("got %v, want %q", err, wantErr)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.InternalAddr = "127.0.0.1:0" }, "")
	f(func(c *Config) { c.DrainTimeout = 0 }, "")
	f(func(c *Config) { c.ID = "" }, "job.id")
	f(func(c *Config) { c.ID = strings.Repeat("x", 256) }, "job.id")
	f(func(c *Config) { c.InternalAddr = "3129" }, "job.internal_addr")
	f(func(c *Config) { c.InternalAddr = "127.0.0.1:http" }, "job.internal_addr")
	f(func(c *Config) { c.BatchBytes = 1023 }, "job.batch_bytes")
	f(func(c *Config) { c.Window = c.BatchBytes - 1 }, "job.window")
	f(func(c *Config) { c.LaneBytes = c.BatchBytes - 1 }, "job.lane_bytes")
	f(func(c *Config) { c.CommitEvery = 0 }, "job.commit_every")
	f(func(c *Config) { c.DrainTimeout = -1 }, "job.drain_timeout")
}

// The lease comes before the list, the list before consuming, and on the way out
// the lease ends after consuming.
func TestOrderOfStartAndStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 2, "gw")
		r.start()
		<-r.job.Ready()
		settle()
		if err := r.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		want := []string{"renew job", "list gateway", "consume", "leave"}
		if calls, _ := r.registry.called(); !slices.Equal(calls, want) {
			t.Errorf("calls %q, want %q", calls, want)
		}
		if _, h, _ := r.gateways.get("gw").opened(); len(h) != 1 || h[0] != (push.Hello{Version: cluster.Version, Job: "job-1", Node: "gw", Epoch: 1}) {
			t.Errorf("hellos %+v", h)
		}
		if !r.gateways.get("gw").stream().isClosed() {
			t.Error("the stream is still open")
		}
	})
}

func TestLeaseIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.start()
		pass(10 * time.Second)
		r.mustEnd()
		_, renewed := r.registry.called()
		if n := len(renewed); n != 11 {
			t.Fatalf("%d renewals in 10 s, want 11", n)
		}
		for i, at := range renewed[1:] {
			if d := at.Sub(renewed[i]); d != cluster.RenewEvery {
				t.Errorf("renewal %d came after %v", i+1, d)
			}
		}
	})
}

func TestRegistryAwayAtStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.registry.err = errors.New("away")
		r.start()
		r.queue.publish(0, toAll(0, "a"))
		pass(time.Minute)
		if r.queue.generation() != 0 {
			t.Error("consumes without a lease")
		}
		r.registry.set(func() { r.registry.err = nil })
		pass(time.Second)
		r.wantBodies("gw", "a")
	})
}

func TestStopWhileRegistryIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.registry.err = errors.New("away")
		r.start()
		pass(time.Second)
		if err := r.end(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestFenced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, 1, "gw")
		r.start()
		pass(3 * time.Second)
		r.registry.set(func() { r.registry.fenced = true })
		pass(2 * time.Second)
		select {
		case err := <-r.result:
			if !errors.Is(err, cluster.ErrFenced) {
				t.Errorf("Run: %v, want ErrFenced", err)
			}
			r.result <- err
		default:
			t.Error("still runs under an id that another process holds")
		}
		if calls, _ := r.registry.called(); slices.Contains(calls, "leave") {
			t.Error("a fenced job ended the lease of the other")
		}
	})
}
