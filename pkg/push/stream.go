package push

import "github.com/halley-im/halley/pkg/cluster"

// Hello opens a delivery stream: who calls, in which version, and whom it means.
type Hello struct {
	Version int           // cluster.Version of the caller
	Job     string        // id of the calling job
	Node    string        // gateway that is meant
	Epoch   cluster.Epoch // life of the gateway that is meant
}

// Batch is what one gateway gets in one delivery: messages of one partition, in
// order. It is shared once sent: nobody may change it.
type Batch struct {
	Partition  int32
	Generation int32  // of the consumer group's assignment it was read under
	Seq        uint64 // from 1 in steps of 1 per stream, partition and generation
	Items      []Message
}

// AckStatus is a gateway's verdict on batches.
type AckStatus uint8

// Verdicts. A gateway admits all of a batch or nothing of it.
const (
	AckDone  AckStatus = iota // all batches up to Seq are admitted
	AckBusy                   // Seq and later ones are refused; send again from Seq
	AckStale                  // a newer generation owns the partition; stop sending
)

// Ack answers batches of one partition and generation, cumulatively.
type Ack struct {
	Partition  int32
	Generation int32
	Seq        uint64
	Status     AckStatus
}

// Interest is what a gateway announces on a stream: rooms that have members
// there and how many, changes only. Complete marks the last one of the list that
// opens a stream; before it the gateway's rooms are unknown and it is sent all.
type Interest struct {
	Seq      uint64 // from 1 in steps of 1 per stream; confirmed cumulatively
	Rooms    []cluster.RoomCount
	Complete bool

	// Conns is how many sessions the gateway has now, if Counted. It is fresher
	// than the lease (up to 1.5 s old at a job) and may come without rooms. It holds
	// until the next one, or the end of the stream.
	Conns   int64
	Counted bool
}

// Stream is the job's end of a delivery stream to one gateway. What is sent on
// it arrives in that order, or the stream ends and Receiver.Closed is called.
// Methods do not block on the network and may be called concurrently; order is
// then the callers' affair. An error says that the stream has ended.
type Stream interface {
	// Deliver hands over a batch. Its Ack comes later, on any goroutine,
	// possibly before Deliver returns.
	Deliver(b *Batch) error
	// Confirm says that all Interest up to seq is in effect: messages read from
	// now on are sent for those rooms.
	Confirm(seq uint64) error
	// Counts tells how many members rooms have on all other gateways.
	Counts(rooms []cluster.RoomCount) error
	// Close ends the stream; Closed is called if it was not yet.
	Close()
}

// Receiver is the job's side of what comes back on a stream. Calls for one
// stream come one after another, Acks apart from Interest, and must not block.
type Receiver interface {
	Ack(a Ack)
	Interest(i Interest)
	// Closed is called once, last, with the reason.
	Closed(err error)
}
