// Package ws is the WebSocket protocol (RFC 6455) on byte slices: the opening
// handshake, frames, messages and close codes, for both ends of a connection.
//
// It does no I/O, starts nothing and knows nothing of what messages carry. The
// caller owns the socket and the buffers: it shows the bytes that are there, is
// told how many of them were used (none: read on), and gets payloads that alias
// its own buffer. The gateway uses it on its event loops, bench and tests from
// the other end.
//
// A connection's life, seen by a server:
//
//	Head          is the request's head complete?
//	Upgrader      checks it and appends the whole answer: 101, or why not
//	Assembler     bytes -> frames -> messages and control frames
//	AppendFrame   a message out; AppendClose the last frame
//
// Per connection there is one Assembler of 8 bytes; it holds memory only while
// a fragmented message is under way. Parsing, unmasking and appending allocate
// nothing.
//
// The handshake and the XOR cipher are gobwas/ws's. What that library leaves to
// its caller is done here: the bound of the request head, the grammar of HTTP
// header lines, repeated headers, request bodies, an answer to every error, and
// a parser of frame headers that waits for more bytes instead of failing. There
// are no extensions and no subprotocols.
//
// Whatever is not RFC 6455 is an error with a close code (Code), even where it
// could be guessed what was meant: unmasked client frames, non-minimal lengths,
// reserved bits. One exception is goim's: a text message whose first byte is
// 0x00 is a binary packet in disguise and need not be UTF-8. After an error the
// connection is out of step and must be closed.
package ws
