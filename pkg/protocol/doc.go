// Package protocol is goim's client wire protocol: a 16-byte big-endian header
// and a body, the same over TCP and inside WebSocket messages; and its JSON form,
// one object to a WebSocket text message, which says the same to clients that
// would rather not take bytes apart.
//
// Parse, ParseMessage and AppendPacket are the binary form, ParseJSON and
// AppendJSON the other. Both read into and write from Packet, whose Body is bytes
// without a meaning here: the JSON form writes them as JSON if they are JSON, as a
// string if they are text, in base64 otherwise, and never makes a message that
// some parser would refuse. Where the forms must differ in what a body says (the
// count of op 3, the packets in op 9) is the gateway's affair; AppendJSONPush
// joins packets into an op 9.
//
// It parses and appends byte slices, does no I/O and keeps no state. Nothing is
// believed before it is checked, nothing recurses, and no input costs more than
// its length. The normative description with test vectors is docs/protocol.md.
package protocol
