package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/gateway"
)

// service is one thing that runs. run blocks until its ctx ends and everything it
// started is gone; ready says why it cannot take work yet, and is nil when it
// always can.
type service struct {
	name  string
	run   func(ctx context.Context) error
	ready func() error
}

// opened makes a service's ready of a channel that is closed when it can.
func opened(ch <-chan struct{}) func() error {
	return func() error {
		select {
		case <-ch:
			return nil
		default:
			return errStarting
		}
	}
}

var errStarting = errors.New("starting")

// readyPoll is how often services are asked whether they are ready.
const readyPoll = 2 * time.Millisecond

// runServices runs all of list, calls onReady when all are ready, and when ctx
// ends or one of them does, stops them one after another in their order. It
// returns what went wrong.
func runServices(ctx context.Context, list []service, onReady func() error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stops := make([]func(), len(list))
	for i, s := range list {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() { // ends by cancel
			defer close(done)
			err := s.run(own)
			if err == nil && own.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil {
				end(fmt.Errorf("%s: %w", s.name, err))
			}
		}()
		stops[i] = func() { cancel(); <-done }
	}
	if allReady(ctx, list) {
		if err := onReady(); err != nil {
			end(err)
		}
	}
	<-ctx.Done()
	for _, stop := range stops {
		stop()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// allReady waits until everything can take work; false when ctx ends before.
func allReady(ctx context.Context, list []service) bool {
	for _, s := range list {
		for s.ready != nil && s.ready() != nil {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(readyPoll):
			}
		}
	}
	return true
}

// ready is the content of the ready file: addresses as really bound, by the
// names of their configuration keys.
type ready struct {
	Gateway map[string]string `json:"gateway,omitempty"`
	Logic   map[string]string `json:"logic,omitempty"`
	Job     map[string]string `json:"job,omitempty"`
	PID     int               `json:"pid"`
}

// write puts the file in place complete or not at all.
func (r ready) write(file string) error {
	if file == "" {
		return nil
	}
	r.PID = os.Getpid()
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".ready-*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("ready file: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// String is for the log line that says where to connect.
func (r ready) String() string {
	var parts []string
	for _, x := range []struct {
		name  string
		addrs map[string]string
	}{{"gateway", r.Gateway}, {"logic", r.Logic}, {"job", r.Job}} {
		for _, k := range slices.Sorted(maps.Keys(x.addrs)) {
			parts = append(parts, x.name+"."+k+"="+x.addrs[k])
		}
	}
	return strings.Join(parts, " ")
}

// budget is who may use how many file descriptors.
type budget struct{ clients, rest, internal int }

const (
	// reservedFiles are for everything else: logs, profiles, certificates, connections
	// to Redis and Kafka.
	reservedFiles = 64 + 128
	maxREST       = 4096
	maxInternal   = 512
)

// fileBudget divides the file limit, so that running out of descriptors cannot
// happen by our doing. gateway.max_connections 0 takes what is left.
func fileBudget(r roles, cfg *gateway.Config) (budget, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return budget{}, fmt.Errorf("read the file limit: %w", err)
	}
	files := int(min(limit.Cur, 1<<24))
	b := budget{internal: min(maxInternal, files/8)}
	if r.has(roleLogic) {
		b.rest = min(maxREST, files/4)
	}
	if !r.has(roleGateway) {
		return b, nil
	}
	clients, left := cfg.MaxConnections, files-reservedFiles-b.internal*len(r)-b.rest-cfg.Files()
	if left < 1 {
		return budget{}, fmt.Errorf("the limit is %d open files, of which %d are needed for other things than clients: raise it (ulimit -n; LimitNOFILE of a systemd unit)",
			files, files-left)
	}
	if clients > left {
		return budget{}, fmt.Errorf("gateway.max_connections %d: the limit is %d open files, of which %d are needed for other things; at most %d is allowed (see ulimit -n)",
			clients, files, files-left, left)
	}
	if b.clients = clients; clients == 0 {
		b.clients = left
	}
	return b, nil
}
