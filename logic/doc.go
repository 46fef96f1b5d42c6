// Package logic decides who a client is and where a push goes. It has no HTTP:
// the REST API is package rest, the calls of gateways come through pkg/rpc, and
// both end in methods of Logic.
//
// What it owns: the way from an accepted push to the queue, and this node's view
// of the leases. Routes, leases and room counts belong to the registry, messages
// to the log (Spool) before they are acknowledged by the queue and to the queue
// afterwards; each is reached through an interface in deps.go.
//
// The life of a push. Push appends it, unresolved, to the log and gives it its
// identity; the caller is answered. Then the pump (pump.go), one goroutine, reads
// the log in order and in batches, looks the keys and mids of a batch up in one
// call each (resolve.go), leaves out routes whose gateway is dead (view.go), and
// cuts each push into parts, one or more per gateway. A part goes to the producer
// of its partition (produce.go): partition p always uses producer p mod N, a
// producer publishes in the order it was given, and repeats a failed call until
// it succeeds, so the order within a partition is that of the log. What became of
// each entry is kept in flight (flight.go); when all entries up to one are
// acknowledged, the log need not keep them any more (Commit). A push that reaches
// nobody is counted offline and is done.
//
// The pump waits for nothing that a client does, and a client for nothing that
// the pump does, unless it asked for ack=queued (Queued). A registry or a queue
// that is away makes the log longer; when the log is full, pushes are refused.
//
// The life of a connection. A gateway sends its newcomers in batches (Connect):
// the tokens are read, the routes stored in one call, and sessions of the same
// keys on other gateways are closed by a few workers (replace.go).
//
// Routes are never searched by gateway and never expire: a route counts only
// while the lease of that life of its gateway stands. Those of dead gateways are
// skipped, removed when a push comes across them (stale.go), and otherwise by a
// slow sweep that one logic node at a time makes (sweep.go).
//
// Locks: flight.mu may be taken under repeats.mu; view.mu, balancer.mu and
// throttle.mu are leaves. None is held across a call to a dependency, but Logic's
// intake lock is, over Spool.Append: nothing is appended once Run drains.
package logic
