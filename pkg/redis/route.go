package redis

import (
	"errors"

	"github.com/halley-im/halley/pkg/cluster"
)

// Layout of a stored route; doc.go draws it.
const (
	valueVersion = 1
	stampAt      = 1
	behindStamp  = stampAt + 7
	nodeLenAt    = behindStamp + 7
	nodeAt       = nodeLenAt + 1

	maxNodeID = 255
)

var (
	errMalformed = errors.New("malformed value")
	errNodeID    = errors.New("node id is longer than 255 bytes")
)

// appendBehindStamp appends what follows the stamp in the value of r under its
// key: the epoch, the node and the mid.
func appendBehindStamp(dst []byte, r *cluster.Route) []byte {
	dst = appendUint56(dst, uint64(r.Epoch))
	dst = append(dst, byte(len(r.Node)))
	dst = append(dst, r.Node...)
	return append(dst, r.Mid...)
}

// appendHead appends the value of r up to its mid, which is also the value of r
// under its mid.
func appendHead(dst []byte, r *cluster.Route) []byte {
	dst = append(dst, valueVersion)
	dst = appendUint56(dst, uint64(r.Stamp))
	dst = appendUint56(dst, uint64(r.Epoch))
	dst = append(dst, byte(len(r.Node)))
	return append(dst, r.Node...)
}

// parseValue reads a value under a key or a mid. Mid is what follows the node;
// Key is left to the caller. The strings of the route alias v.
func parseValue(v string) (cluster.Route, error) {
	if len(v) < nodeAt || v[0] != valueVersion {
		return cluster.Route{}, errMalformed
	}
	end := nodeAt + int(v[nodeLenAt])
	if len(v) < end {
		return cluster.Route{}, errMalformed
	}
	return cluster.Route{
		Mid:   v[end:],
		Node:  v[nodeAt:end],
		Epoch: cluster.Epoch(uint56(v[behindStamp:])),
		Stamp: cluster.Stamp(uint56(v[stampAt:])),
	}, nil
}

// sameRoute compares what identifies one registration of a key.
func sameRoute(a, b *cluster.Route) bool {
	return a.Stamp == b.Stamp && a.Epoch == b.Epoch && a.Node == b.Node
}

func appendUint56(dst []byte, v uint64) []byte {
	return append(dst, byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func uint56(s string) uint64 {
	_ = s[6]
	return uint64(s[0])<<48 | uint64(s[1])<<40 | uint64(s[2])<<32 | uint64(s[3])<<24 |
		uint64(s[4])<<16 | uint64(s[5])<<8 | uint64(s[6])
}
