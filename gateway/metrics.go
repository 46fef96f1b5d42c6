package gateway

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/tlsloop"
)

// counters are the gateway's metrics. Nothing ends, is refused or is dropped
// without one of them moving.
type counters struct {
	accepted      *metrics.Counter
	closed        [closeReasons]*metrics.Counter
	packets       *metrics.Counter // received from clients
	ignored       *metrics.Counter // packets before op 7
	refusedRooms  *metrics.Counter // names in op 12 that cannot be used
	writes        *metrics.Counter // write calls; pushed / writes is messages per write
	pushed        *metrics.Counter // messages written to clients
	panics        *metrics.Counter
	loopRestarts  *metrics.Counter
	backendErrors *metrics.Counter
	routesLeft    *metrics.Counter // routes that could not be removed; their lease's end voids them

	batches [3]*metrics.Counter // by push.AckStatus
	repeats *metrics.Counter    // messages that had been admitted before

	// Messages that had no receiver here, by reason.
	noMember    *metrics.Counter // the room has no members on this node
	moved       *metrics.Counter // the key has no session here any more
	notAccepted *metrics.Counter // the session does not accept the operation
	slowDropped *metrics.Counter // the client is behind, its room says drop
	conflated   *metrics.Counter // the client is behind and needs the latest only
	expired     *metrics.Counter // its time to live was over
	unresolved  *metrics.Counter // mids, which nobody may send here
}

func newCounters(set *metrics.Set) *counters {
	c := func(name string) *metrics.Counter { return set.GetOrCreateCounter("halley_gateway_" + name) }
	drop := func(reason string) *metrics.Counter { return c(fmt.Sprintf("dropped_total{reason=%q}", reason)) }
	m := &counters{
		accepted:      c("accepted_total"),
		packets:       c("packets_received_total"),
		ignored:       c("packets_before_auth_total"),
		refusedRooms:  c("room_names_refused_total"),
		writes:        c("writes_total"),
		pushed:        c("messages_written_total"),
		panics:        c("panics_total"),
		loopRestarts:  c("loop_restarts_total"),
		backendErrors: c("backend_errors_total"),
		routesLeft:    c("routes_left_total"),
		repeats:       c("messages_repeated_total"),
		noMember:      drop("no_member"),
		moved:         drop("moved"),
		notAccepted:   drop("not_accepted"),
		slowDropped:   drop("slow"),
		conflated:     drop("conflated"),
		expired:       drop("expired"),
		unresolved:    drop("unresolved"),
	}
	for r, row := range closeTable {
		m.closed[r] = c(fmt.Sprintf("closed_total{reason=%q}", row.label))
	}
	for status, label := range map[push.AckStatus]string{push.AckDone: "done", push.AckBusy: "busy", push.AckStale: "stale"} {
		m.batches[status] = c(fmt.Sprintf("batches_total{answer=%q}", label))
	}
	return m
}

// gauges shows what is there now.
func (srv *Server) gauges(set *metrics.Set) {
	g := func(name string, f func() float64) { set.GetOrCreateGauge("halley_gateway_"+name, f) }
	g("connections", func() float64 { return float64(srv.Conns()) })
	g("sessions", func() float64 { return float64(srv.sessions.Load()) })
	g("rooms", func() float64 { return float64(srv.interest.size()) })
	g("streams", func() float64 { return float64(srv.streams.count()) })
	g("casts", func() float64 { return float64(srv.casts.all.Load()) })
	g("backlog_bytes", func() float64 { return float64(srv.backlog.Load()) })
	g("over_memory", func() float64 {
		if srv.overMemory.Load() {
			return 1
		}
		return 0
	})
	if srv.tls != nil {
		srv.gaugesTLS(g)
	}
	for i, l := range srv.loops {
		g(fmt.Sprintf("mailbox_bytes{loop=\"%d\"}", i), func() float64 { return float64(l.mailbox.reserved()) })
	}
}

// gaugesTLS shows the handshakes.
func (srv *Server) gaugesTLS(g func(name string, f func() float64)) {
	g(`tls_handshakes{state="running"}`, func() float64 { return float64(srv.tls.Stats().Running) })
	g("tls_certificate_expires_seconds", func() float64 { return float64(srv.certificates.NotAfter().Unix()) })
	g(`tls_handshakes{state="waiting"}`, func() float64 { return float64(srv.tls.Stats().Waiting) })
	for result, count := range map[string]func(s tlsloop.Stats) uint64{
		"done":    func(s tlsloop.Stats) uint64 { return s.Done },
		"failed":  func(s tlsloop.Stats) uint64 { return s.Failed },
		"expired": func(s tlsloop.Stats) uint64 { return s.Expired },
		"aborted": func(s tlsloop.Stats) uint64 { return s.Aborted },
		"refused": func(s tlsloop.Stats) uint64 { return s.Refused },
	} {
		g(fmt.Sprintf("tls_handshakes_total{result=%q}", result), func() float64 { return float64(count(srv.tls.Stats())) })
	}
}
