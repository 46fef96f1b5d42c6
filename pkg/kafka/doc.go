// Package kafka is the queue between logic and job on Apache Kafka: Queue is a
// logic.Publisher and a job.Source. It is tested with Kafka 4.3.
//
// One topic, shared with goim: each record's value is goim's protobuf PushMsg with
// halley's additional fields (push.AppendMessage), its key the first key, the room
// or the decimal operation, without headers, as goim's logic writes it
// (internal/logic/dao/kafka.go). So halley's job reads what goim's logic produces.
// Such a record has no identity; it is given one made of its place:
// ID.Spool is a hash of topic and partition with the highest bit set, which logs of
// our own never have, and ID.Index its offset + 1. A repeat is recognised by it like
// any other, as long as the topic is not deleted and created again.
//
// The life of a message: Publish writes it to exactly the partition that logic
// chose, in requests of at most 900 KiB, and returns when all in-sync replicas have
// it. There is no batching timer: while one request is on its way, the pump collects
// the next. A member of the consumer group is given partitions for one generation;
// it reads each over a connection of its own to the partition's leader, from the
// committed offset, or from the first one there is when none was ever committed:
// what was accepted before the first job came is delivered, not lost. A record that
// is no PushMsg is counted, logged and skipped, and its offset is committed with
// those around it.
//
// Memory: a Read holds what one fetch brings, FetchBytes or one larger record, and
// nothing is read ahead. That is FetchBytes for each partition, plus the structs of
// its messages. The exception is a batch that a foreign producer compressed: it is
// unpacked as a whole, by the broker's limit on compressed size only.
//
// What is used of kafka-go v0.4.51, and why not more of it (T: tried here):
//   - Client.Produce, not Writer: the Writer waits for a batch to fill or a timer.
//   - ConsumerGroup with a Conn for each partition, not Reader. The group's Reader
//     hides the generation. The plain Reader reads ahead by messages, not bytes;
//     waits in silence, for ever, at an offset behind the end of a topic that was
//     recreated (T); and makes the socket's deadline of MaxWait, so that a small one
//     tears connections down on a busy machine.
//   - A Conn on which a fetch has failed is out of step: the rest of that answer is
//     left unread (T). It is closed.
//   - Records given to Produce are streams: a retry with the same ones sends nothing
//     and reports success (T). They are made anew for each attempt.
//   - The cache of leaders is refreshed at random within MetadataTTL and never on an
//     error: after one, the idle connections are dropped, which fetches it anew. With
//     nothing cached, an unreachable broker reads "topic not found".
//   - Client.Timeout 0 tells the broker to give up on its replicas after 500 ms.
//   - A request whose ctx ended goes on until its deadline: what it reads must not be
//     used again, and it may still be written, behind a repeat. Readers remove
//     repeats by identity.
//   - ConsumerGroup.Close waits for a join that is under way, up to the rebalance
//     timeout, and every look-up of partitions asks the broker to create the topic:
//     auto.create.topics.enable=false keeps a deleted topic deleted.
//
// The package refuses to choose partitions, to keep messages when the brokers are
// away (the spool does), and to drop any.
package kafka
