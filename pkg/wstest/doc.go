// Package wstest says whether a WebSocket server keeps to RFC 6455 and, for
// compression, to RFC 7692. It is for tests only.
//
// The server under test is an echo server: it sends every whole message back,
// text as text, binary as binary, compressed or not as it likes. That is all it
// has to know, so what is tested is the protocol and nothing else. Run gives
// every case a subtest; Check collects what failed without a *testing.T, so that
// a test of this package can show that servers which are wrong are found out.
//
// The cases are tables: a name that begins with the section the case is about
// ("5.2/rsv1-on-text"; a section of another RFC has its number before it, as in
// "7692:7.2.3.2/second-message-refers-to-first"), the words of the RFC the
// expectation rests on, what is sent, in which pieces, and how it may end.
// A family that is a product, such as bad UTF-8 whole and in fragments, is a loop
// over a table. Each case has a connection of its own.
//
// One case, from its start:
//
//	request      the opening request, with the case's edits, perhaps in pieces,
//	             perhaps with the first frames in the same write
//	answer       held against §4.2.2, whatever the case is about
//	steps        bytes out, then the messages and pongs that must come back
//	ending       a Close frame with one of the allowed codes and then the end of
//	             the TCP connection; or the connection is still usable: a ping
//	             is answered, and so is a Close frame
//
// Whatever a server sends is checked while it is read: no masks, no reserved
// bits or opcodes, lengths in their shortest form, control frames that are whole
// and short, UTF-8, close codes that may be sent, compressed messages that
// inflate with the window that was agreed, and nothing after a Close frame.
//
// Where the RFCs leave a choice, the case allows all of it and says why. Some
// sentences are SHOULD or MAY: there, Target.Strict wants what a careful server
// does, as the public test suites call it, and without it the rest is allowed as
// well.
//
// Not looked at: how long a server takes, what it does with a client that says
// nothing, and, where it agrees to a smaller window of its own, distances within
// a single message.
//
// The package shares no code with a server of ours, or an error in it would
// cancel out: it has its own writer and reader of frames and of extension
// headers, and takes deflate from the standard library. It starts no server and
// knows no time but Target.Timeout, which only ends cases that already failed.
package wstest
