package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/halley-im/halley/gateway"
	"github.com/halley-im/halley/job"
	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/pkg/auth"
	"github.com/halley-im/halley/pkg/kafka"
	"github.com/halley-im/halley/pkg/redis"
	"github.com/halley-im/halley/pkg/rooms"
)

// settings is the whole configuration; each part belongs to its package.
type settings struct {
	Gateway gateway.Config
	Rooms   rooms.Config
	Logic   logic.Config
	Job     job.Config
	Redis   redis.Config
	Kafka   kafka.Config
	Auth    auth.Config
	API     apiSettings
	Cluster clusterSettings
	Log     logSettings
}

// sections makes every part known to the parser under its name. (As fields of
// cli kong would validate all of them, also those a role does not use.)
func (s *settings) sections() (options []kong.Option) {
	for _, x := range []struct {
		name string
		part any
	}{
		{"gateway", &s.Gateway}, {"rooms", &s.Rooms}, {"logic", &s.Logic}, {"job", &s.Job}, {"redis", &s.Redis}, {"kafka", &s.Kafka},
		{"auth", &s.Auth}, {"api", &s.API}, {"cluster", &s.Cluster}, {"log", &s.Log},
	} {
		options = append(options, kong.Embed(x.part, fmt.Sprintf(`prefix:"%s." group:%q`, x.name, x.name)))
	}
	return options
}

type apiSettings struct {
	InsecureOpen bool `help:"let the REST API listen on an address that is not a loopback one, open to everybody who reaches it"`
}

type clusterSettings struct {
	Secret string `secret:"true" help:"what the roles show each other; the same on all nodes, needed when an internal address is not a loopback one"`
}

type logSettings struct {
	Level string `help:"debug, info, warn or error"`
}

// defaultSettings is what runs when nobody configures anything.
func defaultSettings() settings {
	s := settings{
		Gateway: gateway.Default(), Logic: logic.Default(), Job: job.Default(),
		Redis: redis.Default(), Kafka: kafka.Default(), Auth: auth.Default(),
		Log: logSettings{Level: "info"},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "halley"
	}
	s.Gateway.ID = host // stable: clients' routes name it
	s.Job.ID = fmt.Sprintf("%s-job-%d", host, os.Getpid())
	s.Kafka.Brokers = []string{"127.0.0.1:9092"}
	return s
}

// role is a part that a process plays.
type role string

const (
	roleGateway role = "gateway"
	roleLogic   role = "logic"
	roleJob     role = "job"
)

// roles are the parts one process plays. All of them together need nothing else.
type roles []role

func rolesOf(command string) roles {
	if command == "all" {
		return roles{roleGateway, roleLogic, roleJob}
	}
	return roles{role(command)}
}

func (r roles) has(x role) bool { return slices.Contains(r, x) }
func (r roles) embedded() bool  { return len(r) == 3 }

// sectionOf says whether help on args shall show f.
func sectionOf(f *kong.Flag, args []string) bool {
	sections := map[string][]string{
		"all":     {"gateway", "rooms", "logic", "job", "redis", "kafka", "auth", "api", "cluster", "log"},
		"gateway": {"gateway", "rooms", "cluster", "log"},
		"logic":   {"logic", "redis", "kafka", "auth", "api", "cluster", "log"},
		"job":     {"job", "redis", "kafka", "cluster", "log"},
	}
	for _, a := range args {
		if s, ok := sections[a]; ok {
			section, _, _ := strings.Cut(f.Name, ".")
			return slices.Contains(s, section)
		}
	}
	return false
}

// validate checks what the roles use, and what must not be open to strangers.
func (s *settings) validate(r roles) error {
	var checks []func() error
	if r.has(roleGateway) {
		checks = append(checks, s.Gateway.Validate, s.Rooms.Validate, func() error {
			return s.Auth.CheckListeners(s.Gateway.ClientAddrs()...)
		})
	}
	if r.has(roleLogic) {
		checks = append(checks, s.Logic.Validate, s.Auth.Validate, s.checkREST)
	}
	if r.has(roleJob) {
		checks = append(checks, s.Job.Validate)
	}
	if !r.embedded() && !slices.Equal(r, roles{roleGateway}) {
		checks = append(checks, s.Redis.Validate, s.Kafka.Validate)
	}
	if slices.Equal(r, roles{roleLogic}) {
		checks = append(checks, s.checkSizes)
	}
	checks = append(checks, func() error { return s.checkInternal(r) }, s.Log.validate)
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	if slices.Equal(r, roles{roleGateway}) && len(s.Gateway.LogicAddrs) == 0 {
		return errors.New("gateway.logic_addrs: at least one logic node's internal address is needed")
	}
	return nil
}

// keysBesideBody is what the keys of a push and its header may take on the queue
// beside a body of the largest size.
const keysBesideBody = 40 << 10

// checkSizes: what REST accepts the queue must take.
func (s *settings) checkSizes() error {
	if limit := s.Kafka.MaxMessage - keysBesideBody; s.Logic.MaxBody > limit {
		return fmt.Errorf("logic.max_body %d: at most kafka.max_message less %d is allowed: %d", s.Logic.MaxBody, keysBesideBody, limit)
	}
	return nil
}

// checkREST keeps the REST API, which has no keys yet, from being public by
// accident.
func (s *settings) checkREST() error {
	if s.API.InsecureOpen || isLoopback(s.Logic.RestAddr) {
		return nil
	}
	return fmt.Errorf("logic.rest_addr %s: whoever reaches this address can push to everybody; "+
		"listen on 127.0.0.1 behind a proxy that authenticates, or set api.insecure_open", s.Logic.RestAddr)
}

func (s *settings) checkInternal(r roles) error {
	for _, a := range []struct {
		role      role
		key, addr string
	}{
		{roleGateway, "gateway.internal_addr", s.Gateway.InternalAddr},
		{roleLogic, "logic.internal_addr", s.Logic.InternalAddr},
		{roleJob, "job.internal_addr", s.Job.InternalAddr},
	} {
		if r.has(a.role) && s.Cluster.Secret == "" && !isLoopback(a.addr) {
			return fmt.Errorf("%s %s: cluster.secret must be set when it is not a loopback address", a.key, a.addr)
		}
	}
	return nil
}

// isLoopback says that only this machine reaches addr. Names other than
// localhost may change their meaning and do not count.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (l logSettings) validate() error {
	_, err := l.level()
	return err
}

func (l logSettings) level() (level slog.Level, err error) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		return 0, fmt.Errorf("log.level %q: debug, info, warn or error is allowed", l.Level)
	}
	return level, level.UnmarshalText([]byte(l.Level))
}
