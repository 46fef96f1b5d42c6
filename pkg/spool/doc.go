// Package spool is the log of accepted pushes: what a logic node has taken over
// and not yet handed to the queue.
//
// An HTTP request is answered as soon as its pushes are appended here, unresolved
// (mids, not routes). The pump of package logic reads the log in order behind
// that, looks receivers up, produces, and commits when the queue has acknowledged.
// So a queue or a registry that is away makes the log longer and nothing else.
//
// The log gives every push its identity, push.ID{Spool, Index}: Spool is the log's
// own random number, Index counts its entries from 1 without gaps. Everything
// later recognises repeats by it. Identities of different logs never meet: a log
// begins with a new Spool unless it goes on where it ended. The highest bit of
// Spool is always 0: numbers with that bit belong to pushes of producers that give
// no identity, and pkg/kafka makes those up from (topic, partition, offset).
//
// Memory keeps the log in memory, bounded by messages and by bytes. It dies with
// the process: a crash loses what was answered and not yet enqueued. When it is
// full it says so (ErrFull) and takes nothing: the caller answers 503. It never
// drops, never blocks, never starts a goroutine, and knows nothing of receivers.
package spool
