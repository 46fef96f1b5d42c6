// Package protocol is goim's client wire protocol: a 16-byte big-endian header
// and a body, the same over TCP and inside WebSocket messages.
//
// It parses and appends byte slices, does no I/O and keeps no state. The
// normative description with test vectors is docs/protocol.md.
package protocol
