package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/gateway"
	"github.com/halley-im/halley/job"
	"github.com/halley-im/halley/logic"
	"github.com/halley-im/halley/logic/rest"
	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/kafka"
	"github.com/halley-im/halley/pkg/memory"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/redis"
	"github.com/halley-im/halley/pkg/rooms"
	"github.com/halley-im/halley/pkg/rpc"
	"github.com/halley-im/halley/pkg/spool"
	"github.com/halley-im/halley/pkg/sysmem"
)

// Every seam of the system, and what stands on its two sides: in one process,
// and split.
var (
	_ gateway.Backend = (*logic.Logic)(nil)
	_ gateway.Backend = (*rpc.LogicClient)(nil)

	_ logic.Registry  = (*memory.Registry)(nil)
	_ logic.Registry  = (*redis.Client)(nil)
	_ logic.Nodes     = (*memory.Registry)(nil)
	_ logic.Nodes     = (*redis.Client)(nil)
	_ logic.Rooms     = (*memory.Registry)(nil)
	_ logic.Rooms     = (*redis.Rooms)(nil)
	_ logic.Publisher = (*memory.Queue)(nil)
	_ logic.Publisher = (*kafka.Queue)(nil)
	_ logic.Spool     = (*spool.Memory)(nil)
	_ logic.Gateways  = localGateway{}
	_ logic.Gateways  = (*rpc.GatewayClient)(nil)

	_ job.Source = (*memory.Queue)(nil)
	_ job.Source = (*kafka.Queue)(nil)
	_ job.Nodes  = (*memory.Registry)(nil)
	_ job.Nodes  = (*redis.Client)(nil)
	_ job.Rooms  = (*memory.Registry)(nil)
	_ job.Rooms  = (*redis.Rooms)(nil)
	_ job.Sender = (*gateway.Server)(nil)
	_ job.Sender = (*rpc.GatewayClient)(nil)

	_ rpc.Drainer = (*gateway.Server)(nil)
)

// memoryPartitions is how many partitions the embedded queue has: as many as
// make use of a few cores.
const memoryPartitions = 8

// memoryQueueBytes bounds the embedded queue; behind it the spool fills.
const memoryQueueBytes = 64 << 20

// kafkaStart is how long a starting role waits for Kafka, which takes its time to
// start too.
const kafkaStart = 30 * time.Second

// backends are what the roles stand on.
type backends struct {
	registry interface {
		logic.Registry
		logic.Nodes
		logic.Locks
	}
	rooms interface {
		logic.Rooms
		job.Rooms
	}
	queue interface {
		logic.Publisher
		job.Source
	}
	close func() error
}

// openBackends opens embedded parts or real servers.
func openBackends(ctx context.Context, s *settings, r roles, log *slog.Logger, set *metrics.Set) (*backends, error) {
	if r.embedded() {
		reg := memory.NewRegistry()
		return &backends{reg, reg, memory.NewQueue(memoryPartitions, memoryQueueBytes), func() error { return nil }}, nil
	}
	if !r.has(roleLogic) && !r.has(roleJob) {
		return &backends{close: func() error { return nil }}, nil // a gateway reaches them through logic
	}
	reg, err := redis.New(s.Redis)
	if err != nil {
		return nil, err
	}
	if err := reg.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("redis.addrs %v: %w", s.Redis.Addrs, err), reg.Close())
	}
	opening, cancel := context.WithTimeout(ctx, kafkaStart)
	defer cancel()
	queue, err := kafka.Open(opening, s.Kafka, log, set)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kafka.brokers %v: %w", s.Kafka.Brokers, err), reg.Close())
	}
	closeAll := func() error {
		queue.Close()
		return reg.Close()
	}
	// Who holds what is computed from the number of partitions: it may not change
	// under a running cluster.
	pinned, err := reg.PinPartitions(ctx, s.Kafka.Topic, queue.Partitions())
	if err == nil && pinned != queue.Partitions() {
		err = fmt.Errorf("kafka.topic %s has %d partitions, the registry knows it with %d: the number must not change",
			s.Kafka.Topic, queue.Partitions(), pinned)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return &backends{reg, redis.NewRooms(reg, queue.Partitions()), queue, closeAll}, nil
}

// localGateway is the gateway of this process as logic sees it.
type localGateway struct{ *gateway.Server }

// CloseReplaced implements logic.Gateways.
func (g localGateway) CloseReplaced(_ context.Context, _ []cluster.Node, routes []cluster.Route) error {
	g.Server.CloseReplaced(routes)
	return nil
}

// Open implements job.Sender.
func (g localGateway) Open(ctx context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error) {
	return g.Server.Open(ctx, n, h, r)
}

// process is one run of halley: what it is made of.
type process struct {
	settings *settings
	roles    roles
	log      *slog.Logger
	set      *metrics.Set
	budget   budget
	bound    ready  // addresses as really bound
	quit     func() // ends the process as a signal does

	gateway *gateway.Server
	logic   *logic.Logic
	rest    *rest.API
	job     *job.Job

	listeners map[string]net.Listener // by configuration key
}

// runRoles builds the roles, runs them until ctx ends, and stops them in order.
func runRoles(ctx context.Context, s settings, r roles, readyFile string, stderr io.Writer) (err error) {
	level, err := s.Log.level()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	p := &process{settings: &s, roles: r, log: log, set: metrics.NewSet(), quit: quit, listeners: map[string]net.Listener{}}
	if p.budget, err = fileBudget(r, &s.Gateway); err != nil {
		return err
	}
	s.Gateway.MaxConnections = p.budget.clients
	limitMemory(&s.Gateway, r, sysmem.Here(), log)

	b, err := openBackends(ctx, &s, r, log, p.set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := p.build(b); err != nil {
		return errors.Join(err, p.closeListeners())
	}
	// base outlives ctx: calls between roles go on until the last has stopped.
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	return runServices(ctx, p.services(base), func() error {
		log.Info("ready", "roles", fmt.Sprint(r), "version", version, "addresses", p.bound.String(), "max_connections", p.budget.clients)
		return p.bound.write(readyFile)
	})
}

// build makes the roles and binds their addresses; it starts nothing.
func (p *process) build(b *backends) (err error) {
	s := p.settings
	var gateways logic.Gateways = rpc.NewGatewayClient(s.Cluster.Secret)
	var sender job.Sender = rpc.NewGatewayClient(s.Cluster.Secret)
	var backend lateBackend

	if p.roles.has(roleGateway) {
		rules, err := rooms.Parse(s.Rooms.Rules)
		if err != nil {
			return fmt.Errorf("rooms.rules: %w", err)
		}
		p.gateway, err = gateway.New(s.Gateway, gateway.Deps{
			Backend: &backend, Rules: rules, Build: version, Log: p.log, Metrics: p.set,
		})
		if err != nil {
			return err
		}
		if err := p.listenGateway(); err != nil {
			return err
		}
		backend.Backend = rpc.NewLogicClient(s.Gateway.LogicAddrs, s.Cluster.Secret)
	}
	if p.roles.embedded() {
		gateways, sender = localGateway{p.gateway}, p.gateway
	}
	if p.roles.has(roleLogic) {
		if err := p.buildLogic(b, gateways); err != nil {
			return err
		}
	}
	if p.roles.embedded() {
		backend.Backend = p.logic
	}
	if p.roles.has(roleJob) {
		internal, err := p.listen("job.internal_addr", &s.Job.InternalAddr)
		if err != nil {
			return err
		}
		p.bound.Job = map[string]string{"internal_addr": internal}
		p.job = job.New(s.Job, job.Deps{Source: b.queue, Nodes: b.registry, Rooms: b.rooms, Sender: sender}, p.log, p.set)
	}
	return nil
}

// lateBackend lets gateway and logic of one process know each other.
type lateBackend struct{ gateway.Backend }

func (p *process) buildLogic(b *backends, gateways logic.Gateways) error {
	s := p.settings
	internal, err := p.listen("logic.internal_addr", &s.Logic.InternalAddr)
	if err != nil {
		return err
	}
	public, err := p.listen("logic.rest_addr", &s.Logic.RestAddr)
	if err != nil {
		return err
	}
	p.bound.Logic = map[string]string{"internal_addr": internal, "rest_addr": public}
	p.logic, err = logic.New(s.Logic, logic.Deps{
		Registry: b.registry, Nodes: b.registry, Rooms: b.rooms, Locks: b.registry, Publisher: b.queue,
		Spool: spool.NewMemory(s.Logic.SpoolMessages, s.Logic.SpoolBytes), Gateways: gateways,
	}, p.log, p.set)
	if err != nil {
		return err
	}
	p.rest = rest.New(p.logic, s.Logic, p.log, p.set)
	return nil
}

func (p *process) listenGateway() error {
	internal, err := p.listen("gateway.internal_addr", &p.settings.Gateway.InternalAddr)
	if err != nil {
		return err
	}
	if p.bound.Gateway, err = p.gateway.Listen(internal); err != nil {
		return err
	}
	p.bound.Gateway["internal_addr"] = internal
	return nil
}

// listen binds an address and puts what was bound in its place.
func (p *process) listen(key string, addr *string) (string, error) {
	ln, err := rpc.Listen(key, *addr)
	if err != nil {
		return "", err
	}
	p.listeners[key] = ln
	*addr = ln.Addr().String()
	return *addr, nil
}

func (p *process) closeListeners() (err error) {
	for _, ln := range p.listeners {
		err = errors.Join(err, ln.Close())
	}
	return err
}

// services lists what runs, in the order in which it is stopped: no new pushes,
// then those accepted leave for the queue, then clients are closed, then
// deliveries end, and the calls between the roles last.
func (p *process) services(base context.Context) (list []service) {
	internal := func(key string, healthy func() error, handle func(in *rpc.Internal)) service {
		in := rpc.NewInternal(p.settings.Cluster.Secret, p.set, healthy)
		handle(in)
		return p.server(key, rpc.ServerOptions{MaxConns: p.budget.internal, MaxBody: maxInternalBody}, in.Serve)
	}
	var last []service
	if p.logic != nil {
		list = append(list,
			p.server("logic.rest_addr", rpc.ServerOptions{
				MaxConns: p.budget.rest, MaxBody: p.rest.MaxRequestBody(), MaxHead: p.settings.Logic.MaxHeader, TooLarge: p.rest.TooLarge,
			}, p.rest.Handler),
			service{name: "logic", run: p.logic.Run, ready: p.logic.Ready})
		last = append(last, internal("logic.internal_addr", p.logic.Ready, func(in *rpc.Internal) {
			rpc.HandleLogic(base, in, p.logic)
		}))
	}
	if p.gateway != nil {
		list = append(list, service{name: "gateway", run: p.runGateway, ready: opened(p.gateway.Ready())})
		last = append(last, internal("gateway.internal_addr", p.gateway.Healthy, func(in *rpc.Internal) {
			rpc.HandleGateway(base, in, p.gateway, p.log)
			rpc.HandleDrain(in, p.gateway, p.log)
		}))
	}
	if p.job != nil {
		list = append(list, service{name: "job", run: p.job.Run, ready: opened(p.job.Ready())})
		last = append(last, internal("job.internal_addr", opened(p.job.Ready()), func(*rpc.Internal) {}))
	}
	return append(list, last...)
}

// runGateway ends the process, without an error, when the gateway was drained.
func (p *process) runGateway(ctx context.Context) error {
	err := p.gateway.Run(ctx)
	if errors.Is(err, gateway.ErrDrained) {
		p.quit()
		return nil
	}
	return err
}

// maxInternalBody bounds a call between roles: 512 clients with a token each.
const maxInternalBody = 8 << 20

func (p *process) server(key string, o rpc.ServerOptions, h func(ctx *rpc.RequestCtx)) service {
	return service{name: key, run: func(ctx context.Context) error {
		return rpc.Serve(ctx, p.listeners[key], h, o, p.log)
	}}
}
