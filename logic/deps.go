package logic

import (
	"context"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
	"github.com/halley-im/halley/pkg/spool"
)

// Registry holds the routes: which key is connected to which gateway. Keys and
// mids are scoped (cluster.Scope). Every method may be called concurrently and
// honours ctx; an error leaves some of the routes done and some not, and the
// call may be repeated. Routes do not expire: they count only while their
// gateway's lease stands, which is for the caller to judge.
type Registry interface {
	// Connect stores routes, put-if-newer by stamp and atomic per key, each
	// also under its mid. It answers in the same order. When it returns, every
	// Lookup sees the routes.
	Connect(ctx context.Context, routes []cluster.Route) ([]cluster.Registered, error)
	// Disconnect removes those routes that still stand as given (key, node,
	// epoch and stamp), from their mids too. Others are left alone.
	Disconnect(ctx context.Context, routes []cluster.Route) error
	// Keys returns the route of each key in the same order; Node is "" where
	// there is none.
	Keys(ctx context.Context, keys []string) ([]cluster.Route, error)
	// Mids returns the routes of each mid in the same order, in no order within
	// a mid.
	Mids(ctx context.Context, mids []string) ([][]cluster.Route, error)
	// Scan visits about n routes from cursor on and returns where to go on; a
	// cursor of 0 begins, and comes back when all were seen. Routes that stand
	// throughout a whole round are seen at least once.
	Scan(ctx context.Context, cursor uint64, n int) ([]cluster.Route, uint64, error)
}

// ErrFenced is what Nodes.Renew returns when a newer life of the same node id
// holds the lease: the caller must not go on under its epoch.
var ErrFenced = cluster.ErrFenced

// Nodes holds the leases. Every method may be called concurrently.
type Nodes interface {
	// Renew stores n under its id for cluster.LeaseTTL. With Epoch 0 it begins
	// a new life: the stored epoch is greater than every earlier one of that id,
	// and the life before is fenced. It returns the epoch, or ErrFenced when a
	// newer life than n's was begun.
	Renew(ctx context.Context, n cluster.Node) (cluster.Epoch, error)
	// Leave ends the lease of id if epoch still holds it.
	Leave(ctx context.Context, id string, epoch cluster.Epoch) error
	// List returns the nodes of a role whose leases stand, ordered by id.
	List(ctx context.Context, role cluster.Role) ([]cluster.Node, error)
}

// Locks are the registry's locks, for work that one node at a time should do.
type Locks interface {
	// TryLock says whether owner holds the lock from now on for ttl: nobody
	// held it, its time was over, or owner held it already and has it renewed.
	// It does not wait. Holding it is no guarantee: the work must bear a second
	// holder.
	TryLock(ctx context.Context, name, owner string, ttl time.Duration) (bool, error)
}

// Rooms holds how many members the rooms of the whole cluster have. The jobs
// write it, each for the partitions it owns.
type Rooms interface {
	// Counts returns the count of each scoped room in the same order, 0 where
	// a room is not known.
	Counts(ctx context.Context, rooms []string) ([]int32, error)
	// Top returns the rooms with the most members whose scoped name begins with
	// prefix, at most limit, most first, equal ones by name.
	Top(ctx context.Context, prefix string, limit int) ([]cluster.RoomCount, error)
}

// Publisher appends to the queue.
type Publisher interface {
	// Partitions is how many the queue has; it never changes.
	Partitions() int32
	// Publish appends msgs to the partition in order and returns when the queue
	// has acknowledged all of them. Calls for one partition come one after
	// another. After an error some may be on the queue: the caller repeats the
	// call with the same messages, and readers remove repeats by Message.ID. After
	// a *push.TooLargeError it goes on behind the message that is named there.
	Publish(ctx context.Context, partition int32, msgs []push.Message) error
}

// Spool is the log of accepted pushes. It may be used concurrently, Next and
// Commit by one goroutine.
type Spool interface {
	// ID identifies the log: the Spool of every push.ID it gives.
	ID() uint64
	// Append takes over all of msgs or none. It sets their ID.Spool and
	// ID.Index; indexes are contiguous. ErrSpoolFull when its bound is reached.
	Append(msgs []push.Message) error
	// Next returns at most max messages behind index after, in order; none when
	// there are none. It does not block.
	Next(after uint64, max int) ([]push.Message, error)
	// Commit says that everything up to index need not be kept any more.
	Commit(index uint64) error
	// Depth is how many messages, and how many bytes, wait for Commit.
	Depth() (messages int, bytes int64)
}

// ErrSpoolFull means: not accepted, try again later.
var ErrSpoolFull = spool.ErrFull

// Gateways reaches gateways from logic.
type Gateways interface {
	// CloseReplaced closes on their nodes the sessions of keys that a newer
	// connection has taken over: a session is closed if its epoch and stamp are
	// those of the route. Best effort: the first error is returned, the others
	// are tried all the same.
	CloseReplaced(ctx context.Context, nodes []cluster.Node, routes []cluster.Route) error
}

// Deps is what a Logic works with. All fields are needed.
type Deps struct {
	Registry  Registry
	Nodes     Nodes
	Locks     Locks
	Rooms     Rooms
	Publisher Publisher
	Spool     Spool
	Gateways  Gateways
}
