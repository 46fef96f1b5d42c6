package protocol

// Op is the operation of a packet. Numbers below 1000 are the protocol's,
// business operations are free. The names are goim's (api/protocol/operation.go).
type Op int32

// Operations a client sends, and their answers.
const (
	OpHeartbeat       Op = 2
	OpHeartbeatReply  Op = 3 // body: int32, how many are online in the room
	OpSendMsg         Op = 4
	OpDisconnectReply Op = 6
	OpAuth            Op = 7 // body: token, the first packet of a connection
	OpAuthReply       Op = 8
	OpRaw             Op = 9 // body: packets, one after another
	OpChangeRoom      Op = 12
	OpChangeRoomReply Op = 13
	OpSub             Op = 14 // body: operations as decimals, comma-separated
	OpSubReply        Op = 15
	OpUnsub           Op = 16
	OpUnsubReply      Op = 17
)
