// Package gateway holds client connections: goim's protocol over TCP and
// WebSocket, on event loops.
//
// It owns sessions, their rooms on this node, and the directory that finds a
// session by its key. Who a client is it asks logic (Backend); what to write it
// gets from jobs (push.Stream). It decides nothing about users and stores nothing.
//
// A Server has N loops, each a gnet engine of its own with one event loop on one
// SO_REUSEPORT address. A loop is the lock of everything it owns: sessions, rooms,
// deadlines. Others post to its mailbox, which is ordered and bounded, and no loop
// ever waits for anybody: calls that block are made by a pool of workers, whose
// answers are posted back. Loops share only the directory, the interest table and
// the admission of batches, each with a mutex that is held for moments.
//
// The life of one message: a job delivers a batch; admission checks that it is its
// turn and not a repeat; split encodes each message once and finds the loops that
// hold receivers; room for it is reserved in all their mailboxes, or the job is
// told "busy". Each loop then appends the messages to rooms and sessions, and
// settle writes once per connection.
//
// What it refuses: more connections than its limit, clients that do not
// authenticate in time, send what is not the protocol, stay silent, or read more
// slowly than we push. close.go names every way a connection ends.
//
// Lock order: under admission.mu interest.mu, directory shards and mailboxes may be
// locked, each alone. No other lock is taken under one of those, and a job is never
// called under any.
package gateway
