package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/halley-im/halley/pkg/cluster"
	"github.com/halley-im/halley/pkg/push"
)

// A delivery stream is frames in both directions:
//
//	 0       4      5
//	+-------+------+--------------
//	| size  | type | payload ...
//	| be32  | byte | size-1 bytes
//	+-------+------+--------------
//
// Payloads are protobuf varints and length-prefixed bytes, without tags; a later
// version adds frame types, or fields at the end, both of which older readers
// ignore.
const (
	framePing     = 0  // both ways: nothing, keeps the stream alive
	frameBatch    = 1  // job → gateway
	frameConfirm  = 2  // job → gateway
	frameCounts   = 3  // job → gateway
	frameRefusal  = 16 // gateway → job, first and last: why not
	frameAck      = 17 // gateway → job
	frameInterest = 18 // gateway → job
)

const (
	frameHead = 5
	// maxFrame bounds a frame: the largest is a batch of one maximal message.
	maxFrame = 16 << 20
)

var errFrame = errors.New("rpc: malformed delivery frame")

// appendFrame appends a frame whose payload body appends.
func appendFrame(dst []byte, typ byte, body func(dst []byte) []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, typ)
	dst = body(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func appendBatch(dst []byte, b *push.Batch) []byte {
	dst = protowire.AppendVarint(dst, uint64(b.Partition))
	dst = protowire.AppendVarint(dst, uint64(b.Generation))
	dst = protowire.AppendVarint(dst, b.Seq)
	dst = protowire.AppendVarint(dst, uint64(len(b.Items)))
	var scratch []byte
	for i := range b.Items {
		scratch = push.AppendMessage(scratch[:0], &b.Items[i])
		dst = protowire.AppendBytes(dst, scratch)
	}
	return dst
}

// parseBatch reads a batch whose bodies alias src.
func parseBatch(src []byte) (*push.Batch, error) {
	r := reader{src: src}
	b := &push.Batch{Partition: int32(r.varint()), Generation: int32(r.varint()), Seq: r.varint()}
	n := r.count()
	b.Items = make([]push.Message, 0, min(n, maxPrealloc))
	for range n {
		m, err := push.ParseMessage(r.bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFrame, err)
		}
		b.Items = append(b.Items, m)
	}
	return b, r.err()
}

func appendAck(dst []byte, a push.Ack) []byte {
	dst = protowire.AppendVarint(dst, uint64(a.Partition))
	dst = protowire.AppendVarint(dst, uint64(a.Generation))
	dst = protowire.AppendVarint(dst, a.Seq)
	return protowire.AppendVarint(dst, uint64(a.Status))
}

func parseAck(src []byte) (push.Ack, error) {
	r := reader{src: src}
	a := push.Ack{Partition: int32(r.varint()), Generation: int32(r.varint()), Seq: r.varint()}
	status := r.varint()
	if status > uint64(push.AckStale) {
		return a, fmt.Errorf("%w: ack status %d", errFrame, status)
	}
	a.Status = push.AckStatus(status)
	return a, r.err()
}

func appendInterest(dst []byte, i push.Interest) []byte {
	dst = protowire.AppendVarint(dst, i.Seq)
	dst = protowire.AppendVarint(dst, protowire.EncodeBool(i.Complete))
	dst = appendRooms(dst, i.Rooms)
	if i.Counted {
		dst = protowire.AppendVarint(dst, uint64(max(i.Conns, 0))+1)
	}
	return dst
}

func parseInterest(src []byte) (push.Interest, error) {
	r := reader{src: src}
	i := push.Interest{Seq: r.varint(), Complete: protowire.DecodeBool(r.varint())}
	i.Rooms = r.rooms()
	if len(r.src) > 0 { // the end of what the first version wrote
		// 0 is not counted: a later field may stand behind it.
		n := r.varint()
		if n > math.MaxInt64 {
			return i, fmt.Errorf("%w: %d sessions", errFrame, n)
		}
		if n > 0 {
			i.Conns, i.Counted = int64(n-1), true
		}
	}
	return i, r.err()
}

func appendRooms(dst []byte, rooms []cluster.RoomCount) []byte {
	dst = protowire.AppendVarint(dst, uint64(len(rooms)))
	for _, rc := range rooms {
		dst = protowire.AppendString(dst, rc.Room)
		dst = protowire.AppendVarint(dst, protowire.EncodeZigZag(int64(rc.Count)))
	}
	return dst
}

// reader reads a payload; after the first fault it returns zeros.
type reader struct {
	src []byte
	bad bool
}

func (r *reader) err() error {
	if r.bad {
		return errFrame
	}
	return nil
}

func (r *reader) varint() uint64 {
	v, n := protowire.ConsumeVarint(r.src)
	if n < 0 {
		r.src, r.bad = nil, true
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) bytes() []byte {
	v, n := protowire.ConsumeBytes(r.src)
	if n < 0 {
		r.src, r.bad = nil, true
		return nil
	}
	r.src = r.src[n:]
	return v
}

// maxPrealloc bounds what is allocated for a count before the things are there.
const maxPrealloc = 1024

// count reads how many things follow; each takes at least a byte, so more than
// what is left is a lie.
func (r *reader) count() int {
	n := r.varint()
	if n > uint64(len(r.src)) {
		r.src, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) rooms() []cluster.RoomCount {
	n := r.count()
	rooms := make([]cluster.RoomCount, 0, min(n, maxPrealloc))
	for range n {
		rooms = append(rooms, cluster.RoomCount{
			Room:  string(r.bytes()),
			Count: int32(protowire.DecodeZigZag(r.varint())),
		})
	}
	return rooms
}
