package logic

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Acknowledgements a caller of the REST API can choose.
const (
	AckAccepted = "accepted" // this node has the push in its log
	AckQueued   = "queued"   // the queue has acknowledged it
)

// Config is the configuration of the logic role, section [logic].
type Config struct {
	RestAddr     string `help:"address of the public REST API, HOST:PORT; goim's port"`
	InternalAddr string `help:"address for gateways, metrics and health, HOST:PORT; goim's port of logic's RPC"`

	Producers     int           `help:"goroutines that write to the queue; partition p uses number p mod this. 10 keep a broker at 1 to 2 ms a write busy"`
	SpoolMessages int           `help:"accepted pushes that may wait for the queue, then 503. 1048576: minutes of a busy day"`
	SpoolBytes    int64         `help:"bytes of accepted pushes that may wait for the queue, then 503. 256 MiB: what a small node can spare"`
	MaxBody       int           `help:"bytes of the body of one push, then 413. 1000000: what goim's producer lets into Kafka"`
	MaxHeader     int           `help:"bytes of a request's head, which holds the keys of a push. 65536: about 2000 keys"`
	GoimAck       string        `help:"when /goim/* answers: accepted (in this node's log) or queued (acknowledged by the queue, as goim does)"`
	QueuedTimeout time.Duration `help:"how long ack=queued waits for the queue. 5s: longer than a fail-over of a broker's partition usually takes"`
	PushIDs       int           `name:"push-ids" help:"caller-chosen push ids remembered, each for 10 min, then 503. 1048576: 1700 such pushes a second, about 120 MB when full"`
	DrainTimeout  time.Duration `help:"how long a stop waits for accepted pushes to be enqueued. 5s: within what supervisors wait before they kill"`

	Domain       string        `help:"host that /goim/nodes/weighted names as domain, and as node when there is no gateway. Empty: none"`
	HostDomain   string        `help:"what is put behind a gateway's id to name it to browsers (platform=web). Empty: its public host is named"`
	Heartbeat    time.Duration `help:"interval at which clients shall send heartbeats, told to them in whole seconds. 4m: goim's"`
	HeartbeatMax int           `help:"heartbeats a client may miss, told to clients. 2: goim's"`
	Backoff      Backoff       `embed:"" prefix:"backoff."`
}

// Backoff is how clients shall wait between attempts to connect.
type Backoff struct {
	MaxDelay  int     `help:"longest wait, in seconds. 300: goim's"`
	BaseDelay int     `help:"first wait, in seconds. 3: goim's"`
	Factor    float64 `help:"what a wait is multiplied with to give the next one. 1.8: goim's"`
	Jitter    float64 `help:"share of a wait that is random. 0.3: goim's"`
}

// Default is the configuration of a node for use on its own machine.
func Default() Config {
	return Config{
		RestAddr:      "127.0.0.1:3111",
		InternalAddr:  "127.0.0.1:3119",
		Producers:     10,
		SpoolMessages: 1 << 20,
		SpoolBytes:    256 << 20,
		MaxBody:       1_000_000,
		MaxHeader:     64 << 10,
		GoimAck:       AckAccepted,
		QueuedTimeout: 5 * time.Second,
		PushIDs:       1 << 20,
		DrainTimeout:  5 * time.Second,
		Heartbeat:     4 * time.Minute,
		HeartbeatMax:  2,
		Backoff:       Backoff{MaxDelay: 300, BaseDelay: 3, Factor: 1.8, Jitter: 0.3},
	}
}

// Validate names every value that cannot be worked with, and what is allowed.
func (c Config) Validate() error {
	var errs []error
	addr := func(key, v string) {
		if _, _, err := net.SplitHostPort(v); err != nil {
			errs = append(errs, fmt.Errorf("logic.%s: %w", key, err))
		}
	}
	atLeast := func(key string, v, low int64) {
		if v < low {
			errs = append(errs, fmt.Errorf("logic.%s: %d, at least %d is needed", key, v, low))
		}
	}
	positive := func(key string, d time.Duration) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("logic.%s: %v, more than 0 is needed", key, d))
		}
	}
	addr("rest_addr", c.RestAddr)
	addr("internal_addr", c.InternalAddr)
	atLeast("producers", int64(c.Producers), 1)
	// A batch that is larger than the whole log could never be taken over: one of
	// 4 MiB grows to about 20 MiB in there.
	atLeast("spool_messages", int64(c.SpoolMessages), 1000)
	atLeast("spool_bytes", c.SpoolBytes, max(32<<20, 2*int64(c.MaxBody)))
	atLeast("max_body", int64(c.MaxBody), 1)
	atLeast("max_header", int64(c.MaxHeader), 4096)
	atLeast("push_ids", int64(c.PushIDs), 1)
	positive("queued_timeout", c.QueuedTimeout)
	positive("drain_timeout", c.DrainTimeout)
	if c.GoimAck != AckAccepted && c.GoimAck != AckQueued {
		errs = append(errs, fmt.Errorf("logic.goim_ack: %q is none of %s, %s", c.GoimAck, AckAccepted, AckQueued))
	}
	if c.Heartbeat < 0 || c.HeartbeatMax < 0 || c.Backoff.MaxDelay < 0 || c.Backoff.BaseDelay < 0 ||
		c.Backoff.Factor < 0 || c.Backoff.Jitter < 0 {
		errs = append(errs, errors.New("logic.heartbeat, heartbeat_max and backoff: negative values are not allowed"))
	}
	return errors.Join(errs...)
}
