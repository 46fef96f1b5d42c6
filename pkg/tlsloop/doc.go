// Package tlsloop is the server's end of TLS for connections that an event loop
// owns: crypto/tls without a goroutine per connection and without a socket.
//
// crypto/tls reads and writes a blocking net.Conn. Here that is a Conn without a
// network: the loop feeds it what the socket has brought and takes what must be
// sent. Two facts about crypto/tls decide how (Go 1.26, crypto/tls/conn.go):
//
//   - After the handshake a read that fails with a net.Error whose Temporary is true
//     leaves the connection as it was. So "no bytes yet" is such an error.
//   - A handshake that fails stays failed, and so does a write. So the handshake runs
//     blocking, on a goroutine that it has until it is done, and writes never fail.
//
// A connection's life, on its loop unless said otherwise:
//
//	Pool.Server  when it is accepted: 0.4 KB until the client says something
//	Feed         what the socket has brought, as long as Handshaking
//	send, done   on the handshake's goroutine: a flight to write, how it ended.
//	             The caller posts both to the loop, in order
//	Establish    when done's nil has come to the loop; then Read until an error
//	Feed, Read   bytes have come: Feed once, Read until it returns an error
//	Append       seals, for one write to the socket; HasOutput says that there is
//	             something to send without that
//	AppendCloseNotify, Close
//
// Handshakes: the goroutine is taken when the client's first record is whole, so
// those who connect and say nothing, or a little, cost none. Of goroutines, of those
// that compute at one moment, of clients that wait, of the bytes each may send before
// its end and of its time there is a bound each (Options). An HTTP request is
// answered in plain text with 400, like net/http does.
//
// Memory: an idle connection takes 3.1 KB (TLS 1.2: 3.3), whatever the ClientHello
// was, with and without the post-quantum exchange, and after records of 16 KB too:
// 1.8 KB are the two AES-GCM keys, 0.9 KB is tls.Conn, 0.14 KB is ours. With
// crypto/tls alone it is 3.9 KB at least, 7.2 KB when a browser says hello, and
// 12 KB after a record of 16 KB: see layout.go for the one trick in this package.
// The beginning of a record whose rest has not come is kept, 18 KB at most.
//
// Speed (one AMD EPYC core): a full handshake with an ECDSA P-256 certificate takes
// the server 0.15 ms, so 6,500 in a second of CPU; 0.13 ms with a session ticket, and
// 0.06 ms more with the post-quantum exchange. A record of 64 bytes is opened in
// 0.2 µs and sealed in 0.2 µs, one of 16 KB in 3.5 and 4.7 µs; neither allocates.
//
// What it refuses: TLS before 1.2, key exchange without forward secrecy, CBC,
// renegotiation, early data (0-RTT: it can be replayed), several certificates by
// name. It owns no socket and no policy; what is spoken inside and what to do about
// errors is the caller's affair.
package tlsloop
