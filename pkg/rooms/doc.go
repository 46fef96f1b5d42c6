// Package rooms holds what an operator says about rooms by their names: how their
// messages are gathered and what becomes of members that read too slowly.
//
// The configuration is a list of rules, each a pattern and options:
//
//	[rooms]
//	rules = ["live://* coalesce=20ms slow=drop", "ticker://* slow=conflate", "* slow=close"]
//
// A pattern is a room's id, type://id, in which * stands for any run of bytes,
// also of none, wherever it is; no other character is special. A pattern has no
// white space in it: * stands for that too. Rooms are looked up by the id that
// clients know: the caller cuts off the app's prefix, so a rule holds for a room
// of that id in every app.
//
// Each option is decided by the first rule that matches the room and sets it, and
// by the default if none does. So special rules come first and general ones,
// which fill in what those leave open, behind them; a rule never takes back what
// one above it has said.
//
//	option    values                   default
//	coalesce  0 to 50ms, whole ms      0       messages leave together, once in this time
//	slow      close, drop, conflate    close   when a member reads too slowly
//
// Parse checks the rules and cuts the patterns into pieces; Match, which a gateway
// calls when a room gets its first member, then only compares: at most one pass
// over the room's id per rule, without backtracking, so that neither a pattern
// nor an id that a client makes up can make it slow.
//
// The package decides nothing else: it knows no rooms, no members and no queues,
// starts nothing and imports nothing of ours. Gateway, logic and job can share it.
package rooms
