// Package ws is the WebSocket protocol (RFC 6455) with per-message compression
// (RFC 7692) on byte slices: the opening handshake, frames, messages and close
// codes, for both ends of a connection.
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
//	Assembler     bytes -> frames -> messages and control frames, held to Rules
//	AppendFrame   a message out; AppendClose the last frame
//	Deflater      a message out, compressed, if that was agreed on
//
// Per connection there is one Assembler of 8 bytes; it holds memory only while a
// message is under way, as much as has arrived of it. Everything else is one per
// event loop: Upgrader, Rules, Deflater, Inflater. Parsing, unmasking, inflating,
// deflating and appending allocate nothing.
//
// The XOR cipher is gobwas/ws's, DEFLATE is klauspost/compress's. gobwas's handshake
// was tried and given up: it bounds no head, answers nothing to a malformed one,
// takes one line of a header for all of them and refuses lists in Upgrade, so that
// all of a head had to be read here first. Its reader of frame headers fails where
// it should wait for more bytes.
//
// The one extension is permessage-deflate, always without context takeover: with
// it each connection would cost a window of 32 KiB and a compressor, and a message
// to a room would have to be compressed for each member. Offers that want a window
// of less than 15 bits from us are declined.
//
// Whatever is not RFC 6455 is an error with a close code (Code), even where it
// could be guessed what was meant: unmasked client frames, non-minimal lengths,
// reserved bits. One exception is goim's and can be switched off (Rules): a text
// message whose first byte is 0x00 is a binary packet in disguise and need not be
// UTF-8. After an error the connection is out of step and must be closed.
package ws
