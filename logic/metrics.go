package logic

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/push"
)

// counters are the metrics of one Logic. For pushes the books balance: accepted =
// enqueued + offline + cancelled + too_large + lost at the end + what the log
// holds (spool_messages) + what is done but not yet committed.
type counters struct {
	accepted [4]*metrics.Counter // by push.Kind
	repeats  *metrics.Counter    // pushes that were the same as an earlier one
	full     *metrics.Counter    // pushes refused: the log is full
	idsFull  *metrics.Counter    // pushes refused: the table of push ids is full
	stopping *metrics.Counter    // pushes refused: the node stops

	enqueued  *metrics.Counter // pushes acknowledged by the queue, all parts
	offline   *metrics.Counter // pushes that had no receiver
	cancelled *metrics.Counter // pushes that ack=queued gave up
	tooLarge  *metrics.Counter // pushes the queue will never take
	lost      *metrics.Counter // pushes accepted and not enqueued when Run ended

	parts         *metrics.Counter // messages acknowledged by the queue
	publishErrors *metrics.Counter
	registryErrs  *metrics.Counter
	spoolErrors   *metrics.Counter

	connects        *metrics.Counter // routes stored
	refused         *metrics.Counter // clients whose token was refused
	replaced        *metrics.Counter // sessions on other gateways told to close
	replacedDropped *metrics.Counter // not told: the queue to the workers was full
	replacedErrors  *metrics.Counter
	deadRoutes      *metrics.Counter // routes skipped because their gateway is dead
	staleDropped    *metrics.Counter // dead routes not removed: the queue was full
	removedRoutes   *metrics.Counter // dead routes removed when a push met them
	sweptRoutes     *metrics.Counter // dead routes removed by the sweep
	viewErrors      *metrics.Counter // failed listings of the leases
}

func newCounters(set *metrics.Set) *counters {
	c := func(name string) *metrics.Counter { return set.NewCounter("halley_logic_" + name) }
	refused := func(reason string) *metrics.Counter {
		return c(fmt.Sprintf("pushes_refused_total{reason=%q}", reason))
	}
	done := func(result string) *metrics.Counter { return c(fmt.Sprintf("pushes_done_total{result=%q}", result)) }
	m := &counters{
		repeats:         c("push_repeats_total"),
		full:            refused("spool_full"),
		idsFull:         refused("push_ids_full"),
		stopping:        refused("stopping"),
		enqueued:        done("enqueued"),
		offline:         done("offline"),
		cancelled:       done("cancelled"),
		tooLarge:        done("too_large"),
		lost:            done("lost"),
		parts:           c("parts_enqueued_total"),
		publishErrors:   c("publish_errors_total"),
		registryErrs:    c("registry_errors_total"),
		spoolErrors:     c("spool_errors_total"),
		connects:        c("connects_total"),
		refused:         c("connects_refused_total"),
		replaced:        c("replaced_total"),
		replacedDropped: c("replaced_dropped_total"),
		replacedErrors:  c("replaced_errors_total"),
		deadRoutes:      c("dead_routes_total"),
		staleDropped:    c("dead_routes_dropped_total"),
		removedRoutes:   c(`dead_routes_removed_total{by="push"}`),
		sweptRoutes:     c(`dead_routes_removed_total{by="sweep"}`),
		viewErrors:      c("view_errors_total"),
	}
	for k := range m.accepted {
		m.accepted[k] = c(fmt.Sprintf("pushes_accepted_total{kind=%q}", push.Kind(k)))
	}
	return m
}

func (l *Logic) gauges(set *metrics.Set) {
	set.NewGauge("halley_logic_spool_messages", func() float64 {
		n, _ := l.deps.Spool.Depth()
		return float64(n)
	})
	set.NewGauge("halley_logic_spool_bytes", func() float64 {
		_, n := l.deps.Spool.Depth()
		return float64(n)
	})
	set.NewGauge("halley_logic_gateways", func() float64 { return float64(len(l.view.nodes())) })
}
