// Package redis is the registry of a cluster, in Redis 6.2 or newer (tested with
// 7.0): routes, leases, locks and pins (Client) and room counts (Rooms). One
// server, Sentinel and Redis Cluster are told apart by the configuration alone.
// go-redis does the talking; what is here is the layout of the data and the
// scripts that keep it right under concurrent callers.
//
// # Keys
//
// With the default prefix, sizes for a UUID as key and node ids of 9 bytes:
//
//	halley:kKEY              string: a route    155 bytes, 139 without a mid
//	halley:mMID              hash: key → route  171 bytes with one key
//	halley:{nodes}:epochs    sorted set: node id, score: its highest epoch ever
//	halley:{nodes}:leases    sorted set: node id, score: end of the lease, Unix ms
//	halley:{nodes}:infos     hash: node id → "epoch renewed {json of the node}"
//	halley:rooms:{PARTITION} sorted set: room, score: -members    100 bytes a room
//	halley:partitions:TOPIC  string: partitions of the queue, decimal
//	halley:lock:NAME         string: owner, with a TTL
//
// A route with a mid is 325 bytes of Redis memory, tables included
// (BenchmarkMemory; Redis 7.0.15, jemalloc): 50 million are 16 GB. KEY, MID and
// rooms are scoped names and may hold any bytes.
//
// # A stored route
//
//	 0        1           8           15    16
//	+--------+-----------+-----------+-----+--------+------- - -
//	| ver 1  | stamp     | epoch     | len | node   | mid
//	+--------+-----------+-----------+-----+--------+------- - -
//	  1 byte   7 bytes BE  7 bytes BE  1     len      to the end
//
// Under a mid it ends with the node. Binary, because then it stays within the 44
// bytes that Redis stores without a second allocation. The stamp is in the same
// place in every version to come: the scripts compare it.
//
// # The life of a route
//
// Connect sends three pipelines for up to 512 routes. The first runs putKey for
// each: it compares stamps, takes a new one from the clock of Redis, stores, and
// returns what stood before. The second stores the routes under their mids and
// removes the keys from the mids they had before, each by comparing stamps. The
// third reads the keys again: where one was taken over meanwhile, what the
// second has stored is removed if it still stands. So a key and its mids agree
// when all concurrent calls have returned, though no script touches two slots.
// Disconnect removes by comparing, in one pipeline.
//
// A call that fails half way can leave a route under its key or under its mid
// only. The next registration of the key repairs that, and so does Disconnect;
// Scan visits both places, so that a sweeper finds what neither has repaired.
//
// In a batch of 512 a Connect takes 8 to 10 µs per route with Redis, client and
// benchmark on 2 cores, about 5 of them in Redis; Disconnect 6, a look-up of a
// key 0.5, of a mid 1 (BenchmarkRegistry).
//
// # What it leaves to others
//
// It does not judge whether a route counts: that is for who holds the view of
// the leases. Nothing expires but locks, and nothing is removed that was not
// named, but for leases that ended an hour ago and epochs of a month ago. It logs
// nothing and counts nothing: every failure is an error of the caller's. It wants
// no persistence from Redis, since gateways can register again, but no eviction
// either (maxmemory-policy noeviction).
//
// Scripts run by their hashes; a Redis that does not know them (new, restarted,
// failed over) is given them on the way, and the call goes on.
package redis
