// Package job carries messages from the queue to the gateways.
//
// A Job is one member of the queue's consumer group. Of every partition it is
// assigned it reads the records in order, decides which gateways each one is for,
// and puts it into one lane per partition and gateway (partition.go, lane.go). A
// link per gateway keeps one delivery stream open and sends what its lanes hold,
// many batches in flight under a window of bytes (link.go). The gateway answers
// cumulatively per partition; the offset that is committed is the smallest one a
// lane still waits for (assignment.go). So a message is on the queue until every
// gateway it was for has admitted it, and a job that dies loses nothing: the next
// owner of the partition reads it again, and gateways recognise repeats by
// push.ID.
//
// The life of one message: Read, route (keys to the gateway that holds them, a
// room to the gateways that announced it and to those whose rooms are not known
// yet, a broadcast to all), staged by the partition's reader, handed to the lane
// when the input is empty or a batch is full, sealed and sent when the window
// allows, acknowledged, committed. Nothing waits for a timer: a lone message
// leaves at once, and under load what waits for the window is merged, so batches
// grow by themselves.
//
// Order holds per partition and gateway: through a busy gateway (go back and send
// again), a lost stream (everything unanswered goes again on the next one), and a
// new assignment (everything uncommitted is read again). A repeat is always a
// contiguous piece that was sent before, in the same order.
//
// A push to all may have a speed for the whole cluster. The job divides it by the
// sessions of the gateways (share.go), once and for all of them, so that the shares
// add up to it; keeping to it is the gateways' affair.
//
// The job also owns the rooms of its partitions: it adds up the member counts the
// gateways announce, writes them to the registry, and tells every gateway how
// many members its rooms have elsewhere (index.go, counts.go).
//
// What it refuses: to drop anything because a gateway is slow or away (the reader
// of that partition waits while the lane is full), to drop anything while no
// gateway is known, and to believe that a node is gone before it has asked the
// registry. It drops messages that expired, and those for nodes that are gone;
// each is counted by reason. Dead means here: the lease is over and no stream
// stands that answers. A lease alone may lapse because the registry was away.
//
// Locks. Job.mu guards the set of links and partitions and is taken before
// link.mu; link.mu guards the lanes of that link; shard.mu (the room index) and
// partition.mu are leaves. No lock is held while a method of push.Stream, or of a
// backend, is called: in one process a stream is a direct call into the gateway,
// which answers on the same goroutine before it returns.
package job
