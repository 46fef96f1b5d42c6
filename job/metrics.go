package job

import (
	"fmt"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/push"
)

// dropReason says why a message, or a gateway's copy of it, is not delivered.
type dropReason uint8

const (
	dropExpired    dropReason = iota // its time was over when it was read
	dropNodeGone                     // the life of the gateway it is for is over
	dropNoNode                       // a push to keys that names no gateway, or to mids nobody resolved
	dropNoMembers                    // no gateway has members of the room
	dropUnassigned                   // the partition went to another job, which reads it again
	dropReasons
)

var dropNames = [dropReasons]string{"expired", "node_gone", "no_node", "no_members", "unassigned"}

// meters are the metrics of a job. A message is what was read from the queue; a
// copy is what one gateway is to get of it. At rest
//
//	read = dropped + messages that became copies
//	queued copies = delivered + dropped copies + waiting copies
type meters struct {
	read         [4]*metrics.Counter // by push.Kind
	dropped      [dropReasons]*metrics.Counter
	copies       *metrics.Counter
	delivered    *metrics.Counter
	copyDropped  [dropReasons]*metrics.Counter
	keysGone     *metrics.Counter // keys in what was dropped as node_gone
	batches      *metrics.Counter
	batchItems   *metrics.Counter
	batchBytes   *metrics.Counter
	acks         [3]*metrics.Counter // by push.AckStatus
	laneFull     *metrics.Counter
	opened       *metrics.Counter
	openErrors   *metrics.Counter
	lost         *metrics.Counter
	commits      *metrics.Counter
	commitErrors *metrics.Counter
	roomsPut     *metrics.Counter
	roomsErrors  *metrics.Counter
	nodesErrors  *metrics.Counter

	// Shown as gauges.
	waiting      atomic.Int64 // copies in lanes
	waitingBytes atomic.Int64
	inflight     atomic.Int64 // bytes
	streams      atomic.Int64
	links        atomic.Int64
	partitions   atomic.Int64
	lag          atomic.Int64 // offsets read and not committed
}

func newMeters(set *metrics.Set, rooms func() int) *meters {
	m := &meters{
		copies:       set.NewCounter("halley_job_copies_queued_total"),
		delivered:    set.NewCounter("halley_job_copies_delivered_total"),
		keysGone:     set.NewCounter(`halley_job_keys_dropped_total{reason="node_gone"}`),
		batches:      set.NewCounter("halley_job_batches_total"),
		batchItems:   set.NewCounter("halley_job_batch_messages_total"),
		batchBytes:   set.NewCounter("halley_job_batch_bytes_total"),
		laneFull:     set.NewCounter("halley_job_lane_full_total"),
		opened:       set.NewCounter("halley_job_streams_opened_total"),
		openErrors:   set.NewCounter("halley_job_stream_open_errors_total"),
		lost:         set.NewCounter("halley_job_streams_closed_total"),
		commits:      set.NewCounter("halley_job_commits_total"),
		commitErrors: set.NewCounter("halley_job_commit_errors_total"),
		roomsPut:     set.NewCounter("halley_job_room_counts_written_total"),
		roomsErrors:  set.NewCounter("halley_job_room_counts_errors_total"),
		nodesErrors:  set.NewCounter("halley_job_registry_errors_total"),
	}
	for k := push.Keys; k <= push.All; k++ {
		m.read[k] = set.NewCounter(fmt.Sprintf("halley_job_messages_read_total{kind=%q}", k))
	}
	for r, name := range dropNames {
		m.dropped[r] = set.NewCounter(fmt.Sprintf("halley_job_messages_dropped_total{reason=%q}", name))
		m.copyDropped[r] = set.NewCounter(fmt.Sprintf("halley_job_copies_dropped_total{reason=%q}", name))
	}
	for s, name := range []string{"done", "busy", "stale"} {
		m.acks[s] = set.NewCounter(fmt.Sprintf("halley_job_acks_total{status=%q}", name))
	}
	for name, v := range map[string]*atomic.Int64{
		"halley_job_copies_waiting": &m.waiting,
		"halley_job_lane_bytes":     &m.waitingBytes,
		"halley_job_inflight_bytes": &m.inflight,
		"halley_job_streams_open":   &m.streams,
		"halley_job_gateways":       &m.links,
		"halley_job_partitions":     &m.partitions,
		"halley_job_commit_lag":     &m.lag,
	} {
		set.NewGauge(name, func() float64 { return float64(v.Load()) })
	}
	set.NewGauge("halley_job_interest_rooms", func() float64 { return float64(rooms()) })
	return m
}
