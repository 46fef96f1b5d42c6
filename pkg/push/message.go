package push

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is how the receivers of a push are named.
type Kind uint8

// The four ways. Keys, Room and All travel on the queue; Mids are resolved to
// Keys before.
const (
	Keys Kind = iota
	Mids
	Room
	All
)

func (k Kind) String() string {
	switch k {
	case Keys:
		return "keys"
	case Mids:
		return "mids"
	case Room:
		return "room"
	default:
		return "all"
	}
}

// ID is the identity of a push, given once by the log that accepted it and
// never changed. Within one Spool, later pushes have greater (Index, Part).
type ID struct {
	Spool uint64 // which log
	Index uint64 // its entry, from 1
	Part  uint32 // which part of the entry, for pushes that go to several gateways
}

// Zero says that the message was made by a producer that gives no identity
// (goim's logic).
func (id ID) Zero() bool { return id == ID{} }

// String is the form of X-Push-Id: spool and index in hexadecimal. It leaves
// out the part: callers know the push as one.
func (id ID) String() string { return fmt.Sprintf("%016x-%x", id.Spool, id.Index) }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	spool, index, ok := strings.Cut(s, "-")
	if !ok {
		return ID{}, fmt.Errorf("push id %q: want SPOOL-INDEX in hexadecimal", s)
	}
	a, err1 := strconv.ParseUint(spool, 16, 64)
	b, err2 := strconv.ParseUint(index, 16, 64)
	if err1 != nil || err2 != nil {
		return ID{}, fmt.Errorf("push id %q: want SPOOL-INDEX in hexadecimal", s)
	}
	return ID{Spool: a, Index: b}, nil
}

// Position is a place in a room's history. An offset alone cannot tell "nothing
// new" from "the history was lost and began again"; the epoch can.
type Position struct {
	Epoch  uint64
	Offset uint64 // contiguous per room and epoch, from 1; 0 means no history
}

// Target names the receivers of a push. Kind says which fields count.
type Target struct {
	Kind Kind

	// All: messages per second over the whole cluster; 0 sets no limit. In a batch
	// it is the gateway's share, rounded and at least 1, as earlier versions read
	// it; Share has it exactly, see Rate.
	Speed int32
	Share Share

	// Keys: connection keys. Node is the gateway that holds them, "" until it
	// was looked up; Epoch is the life of that gateway the routes belong to.
	Keys  []string
	Node  string
	Epoch uint64

	// Mids: user ids.
	Mids []int64

	// Room: type://id.
	Room string
}

// Message is one push: what a producer asked for, and what became of it so far.
// Whoever has sent a Message on must not change it or what it refers to.
type Message struct {
	ID   ID
	App  string // namespace of keys, mids and rooms; "" is goim's
	Op   int32
	To   Target
	Body []byte

	Pos       Position // in the room's history, given by the job
	Accepted  int64    // when it was accepted, µs since 1970 by that node's clock
	Expire    int64    // not to be delivered after, µs since 1970; 0 never
	ReceiptTo string   // internal address that collects receipts; "" none
}

// Size is what the message takes in queues, in bytes, about.
func (m *Message) Size() int {
	n := messageOverhead + len(m.Body) + len(m.App) + len(m.To.Room) + len(m.To.Node)
	for _, k := range m.To.Keys {
		n += len(k) + stringHeader
	}
	return n + 8*len(m.To.Mids)
}

const (
	messageOverhead = 200 // the struct itself
	stringHeader    = 16
)
