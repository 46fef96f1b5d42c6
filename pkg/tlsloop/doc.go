// Package tlsloop is the server's end of TLS for connections that an event loop
// owns: crypto/tls, without a goroutine per connection and without a socket.
//
// crypto/tls reads and writes a net.Conn, blocking. Here that is a Conn without a
// network: the loop feeds it what the socket has brought (Feed) and takes what
// must be sent (Append). Two facts about crypto/tls make it work (Go 1.26,
// crypto/tls/conn.go):
//
//   - after the handshake a read that fails with a net.Error whose Temporary is true
//     leaves the connection as it was, half a record included, so "no bytes yet" is
//     such an error;
//   - a handshake that fails stays failed, and a failed write too, so the handshake
//     runs blocking, on a goroutine that it has until it is done, and writes never
//     fail.
//
// The goroutines of handshakes are bounded (Options.Handshakes); clients beyond
// wait in line, bounded as well, and each has a deadline from its first byte. A
// connection that has sent nothing costs no goroutine, one that is idle after its
// handshake neither.
//
// A life: Pool.Server when a connection is accepted; Feed with each read. What the
// handshake writes comes through the send function on its goroutine, and how it
// ended through done: the loop, told of both in that order, calls Establish. From
// then on Read until ErrAgain after each Feed, and Append for what is written. Close
// when the socket is closed.
//
// The package owns no sockets and no policy: what is spoken inside, and what to do
// about errors, is the caller's affair. Certificates are read again when their
// files change.
package tlsloop
