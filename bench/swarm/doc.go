// Package swarm is thousands of clients of a push gateway in one process: they speak
// the public protocol over WebSocket, TCP or WebSocket over TLS, and check every
// message they get.
//
// One thread runs all of them, on non-blocking sockets in one epoll, because what
// the clients take from a machine is missing at the server it measures. A client is 56
// bytes of memory and 24 for each lane it listens to (package stamp); a heap of its
// own it has only while a message is incomplete. Over TLS it has crypto/tls's 6 KB.
//
// Commands are functions that run between two rounds of the loop (Swarm.do) and are
// short: Open says which clients there shall be, and Report, asked again and again,
// how far they are.
//
// What clients see is judged as it comes: doubled, reordered, misdelivered, corrupt.
// What is lost is known at the end, when it is known what has been accepted: Expect
// tells the clients, Missing what has not come.
package swarm
