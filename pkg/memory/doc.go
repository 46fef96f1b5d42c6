// Package memory holds inside one process what redis and kafka hold for a
// cluster: the registry of routes, leases and room counts (Registry), and the
// queue between logic and job (Queue). It is what `halley` without an argument
// runs on, and it passes the same suites (pkg/backendtest) as the real backends.
//
// A Registry is one mutex around plain maps: a route costs an entry in the map
// of keys, one in the map of mids and one object, 216 bytes beside the names
// themselves (measured with a million), and calls are batched, so the lock is
// taken once per batch. Leases end by the clock of the process; nothing has to
// run for that, and nothing does: a Registry starts no goroutine and needs no
// closing.
//
// The life of a route: Connect gives it a stamp, greater than that of every
// route before it, and puts it under its key and its mid, in the place of an
// older route of that key, which the caller is told. Disconnect removes it if it
// still stands. A route is never removed because a lease ended: whether a route
// counts is for the caller to judge (logic keeps a view of the leases).
//
// The package keeps nothing on disk and nothing beyond the process: what a crash
// takes with it are routes and counts of connections that end with it too.
package memory
