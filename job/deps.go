package job

import (
	"context"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// Source is the consuming end of the queue, as one member of a group.
type Source interface {
	// Partitions is how many the queue has; it never changes.
	Partitions() int32
	// Consume joins the group and calls run for each assignment, one after
	// another. run's ctx ends with the assignment; the next one begins when run
	// has returned. run may return earlier: then the member gives the assignment
	// up and gets another, of a newer generation. A transient fault of the
	// backend is retried within. It returns ctx's error when ctx ends.
	Consume(ctx context.Context, run func(ctx context.Context, a push.Assignment)) error
}

// Nodes is the registry's list of leases; see logic.Nodes.
type Nodes interface {
	Renew(ctx context.Context, n cluster.Node) (cluster.Epoch, error)
	Leave(ctx context.Context, id string, epoch cluster.Epoch) error
	List(ctx context.Context, role cluster.Role) ([]cluster.Node, error)
}

// Rooms is where the cluster's room counts are kept.
type Rooms interface {
	// Put stores the counts of rooms of one partition; a count of 0 removes the
	// room. With all set, rooms of that partition that are not given are
	// removed too.
	Put(ctx context.Context, partition int32, counts []cluster.RoomCount, all bool) error
}

// Sender opens delivery streams to gateways.
type Sender interface {
	// Open connects to n and says h. From its return until r.Closed the stream
	// can be used; r may be called before Open returns. An error means that
	// nothing was opened and r is not called.
	Open(ctx context.Context, n cluster.Node, h push.Hello, r push.Receiver) (push.Stream, error)
}
