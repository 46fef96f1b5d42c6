package push

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/halley-im/halley/pkg/cluster"
)

// Fields of goim.logic.PushMsg (goim api/logic/logic.proto) and, from 100 on,
// halley's. Readers skip fields they do not know, so goim's job reads halley's
// messages and halley's job goim's. The enum of fieldType never grows.
const (
	fieldType      = 1 // enum: PUSH = 0, ROOM = 1, BROADCAST = 2
	fieldOperation = 2 // int32
	fieldSpeed     = 3 // int32
	fieldServer    = 4 // string
	fieldRoom      = 5 // string
	fieldKeys      = 6 // repeated string
	fieldMsg       = 7 // bytes

	fieldVersion     = 100 // uint32: cluster.Version of the producer
	fieldApp         = 101 // string
	fieldSpool       = 102 // fixed64: ID.Spool
	fieldIndex       = 103 // uint64: ID.Index
	fieldPart        = 104 // uint32: ID.Part
	fieldAccepted    = 105 // int64: µs since 1970
	fieldExpire      = 106 // int64: µs since 1970
	fieldServerEpoch = 107 // uint64: Target.Epoch
	fieldPosEpoch    = 108 // fixed64: Position.Epoch
	fieldPosOffset   = 109 // uint64: Position.Offset
	fieldReceiptTo   = 110 // string
	fieldMids        = 111 // repeated int64, packed; only in logs, never on the queue
	fieldByMid       = 112 // bool: the targets are Mids; only in logs
	fieldShareSpeed  = 113 // int32: Share.Speed; 113 to 115 only in batches, never on the queue
	fieldShareConns  = 114 // int64: Share.Conns
	fieldShareAll    = 115 // int64: Share.All
)

const (
	typePush      = 0
	typeRoom      = 1
	typeBroadcast = 2
)

// ErrMessage is what every error of ParseMessage wraps.
var ErrMessage = errors.New("push: malformed message")

// AppendMessage appends m as a PushMsg. Absent and zero fields take no bytes.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = appendUint(dst, fieldType, wireType(m.To.Kind))
	dst = appendUint(dst, fieldOperation, uint64(int64(m.Op)))
	dst = appendUint(dst, fieldSpeed, uint64(int64(m.To.Speed)))
	dst = appendString(dst, fieldServer, m.To.Node)
	dst = appendString(dst, fieldRoom, m.To.Room)
	for _, k := range m.To.Keys {
		dst = protowire.AppendTag(dst, fieldKeys, protowire.BytesType)
		dst = protowire.AppendString(dst, k)
	}
	if len(m.Body) > 0 {
		dst = protowire.AppendTag(dst, fieldMsg, protowire.BytesType)
		dst = protowire.AppendBytes(dst, m.Body)
	}
	dst = appendUint(dst, fieldVersion, cluster.Version)
	dst = appendString(dst, fieldApp, m.App)
	dst = appendFixed(dst, fieldSpool, m.ID.Spool)
	dst = appendUint(dst, fieldIndex, m.ID.Index)
	dst = appendUint(dst, fieldPart, uint64(m.ID.Part))
	dst = appendUint(dst, fieldAccepted, uint64(m.Accepted))
	dst = appendUint(dst, fieldExpire, uint64(m.Expire))
	dst = appendUint(dst, fieldServerEpoch, m.To.Epoch)
	dst = appendFixed(dst, fieldPosEpoch, m.Pos.Epoch)
	dst = appendUint(dst, fieldPosOffset, m.Pos.Offset)
	dst = appendString(dst, fieldReceiptTo, m.ReceiptTo)
	dst = appendMids(dst, &m.To)
	dst = appendUint(dst, fieldShareSpeed, uint64(int64(m.To.Share.Speed)))
	dst = appendUint(dst, fieldShareConns, uint64(m.To.Share.Conns))
	return appendUint(dst, fieldShareAll, uint64(m.To.Share.All))
}

func appendMids(dst []byte, t *Target) []byte {
	if t.Kind != Mids {
		return dst
	}
	size := 0
	for _, mid := range t.Mids {
		size += protowire.SizeVarint(uint64(mid))
	}
	dst = protowire.AppendTag(dst, fieldMids, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	for _, mid := range t.Mids {
		dst = protowire.AppendVarint(dst, uint64(mid))
	}
	return appendUint(dst, fieldByMid, 1)
}

func wireType(k Kind) uint64 {
	switch k {
	case Room:
		return typeRoom
	case All:
		return typeBroadcast
	default:
		return typePush
	}
}

func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendFixed(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), v)
}

func appendString(dst []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

// ParseMessage reads a PushMsg, goim's or ours. Body aliases src. Fields it does
// not know, or knows with another wire type, are skipped.
func ParseMessage(src []byte) (Message, error) {
	var m Message
	var kind int32
	var byMid bool
	for len(src) > 0 {
		num, typ, n := protowire.ConsumeTag(src)
		if n < 0 {
			return Message{}, fmt.Errorf("%w: %w", ErrMessage, protowire.ParseError(n))
		}
		src = src[n:]
		switch typ {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(src); n >= 0 {
				kind, byMid = m.setUint(num, v, kind, byMid)
			}
		case protowire.Fixed64Type:
			var v uint64
			if v, n = protowire.ConsumeFixed64(src); n >= 0 {
				m.setFixed(num, v)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(src); n >= 0 {
				if err := m.setBytes(num, v); err != nil {
					return Message{}, err
				}
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, src)
		}
		if n < 0 {
			return Message{}, fmt.Errorf("%w: field %d: %w", ErrMessage, num, protowire.ParseError(n))
		}
		src = src[n:]
	}
	if err := m.setKind(kind, byMid); err != nil {
		return Message{}, err
	}
	return m, nil
}

// setKind comes after all fields: they may stand in any order.
func (m *Message) setKind(wire int32, byMid bool) error {
	switch {
	case wire == typePush && byMid:
		m.To.Kind = Mids
	case wire == typePush:
		m.To.Kind = Keys
	case wire == typeRoom:
		m.To.Kind = Room
	case wire == typeBroadcast:
		m.To.Kind = All
	default:
		return fmt.Errorf("%w: type %d is none of PUSH, ROOM, BROADCAST", ErrMessage, wire)
	}
	if m.To.Kind != Mids {
		m.To.Mids = nil // AppendMessage would not write them either
	}
	return nil
}

func (m *Message) setUint(num protowire.Number, v uint64, kind int32, byMid bool) (int32, bool) {
	switch num {
	case fieldType:
		kind = int32(v)
	case fieldOperation:
		m.Op = int32(v)
	case fieldSpeed:
		m.To.Speed = int32(v)
	case fieldIndex:
		m.ID.Index = v
	case fieldPart:
		m.ID.Part = uint32(v)
	case fieldAccepted:
		m.Accepted = int64(v)
	case fieldExpire:
		m.Expire = int64(v)
	case fieldServerEpoch:
		m.To.Epoch = v
	case fieldPosOffset:
		m.Pos.Offset = v
	case fieldByMid:
		byMid = v != 0
	case fieldShareSpeed:
		m.To.Share.Speed = int32(v)
	case fieldShareConns:
		m.To.Share.Conns = int64(v)
	case fieldShareAll:
		m.To.Share.All = int64(v)
	}
	return kind, byMid
}

func (m *Message) setFixed(num protowire.Number, v uint64) {
	switch num {
	case fieldSpool:
		m.ID.Spool = v
	case fieldPosEpoch:
		m.Pos.Epoch = v
	}
}

func (m *Message) setBytes(num protowire.Number, v []byte) error {
	switch num {
	case fieldServer:
		m.To.Node = string(v)
	case fieldRoom:
		m.To.Room = string(v)
	case fieldKeys:
		m.To.Keys = append(m.To.Keys, string(v))
	case fieldMsg:
		m.Body = v[:len(v):len(v)]
	case fieldApp:
		m.App = string(v)
	case fieldReceiptTo:
		m.ReceiptTo = string(v)
	case fieldMids:
		for len(v) > 0 {
			mid, n := protowire.ConsumeVarint(v)
			if n < 0 {
				return fmt.Errorf("%w: mids: %w", ErrMessage, protowire.ParseError(n))
			}
			m.To.Mids = append(m.To.Mids, int64(mid))
			v = v[n:]
		}
	}
	return nil
}
