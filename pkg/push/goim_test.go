package push

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// goimSchema is goim.logic.PushMsg as goim knows it (api/logic/logic.proto), for the
// real protobuf library: what it writes goim writes, what it reads goim reads.
func goimSchema(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	const optional, repeated = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	field := func(num int32, name string, label descriptorpb.FieldDescriptorProto_Label, typ descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &num, Label: label.Enum(), Type: typ.Enum()}
		if typ == descriptorpb.FieldDescriptorProto_TYPE_ENUM {
			f.TypeName = proto.String(".goim.logic.PushMsg.Type")
		}
		return f
	}
	value := func(num int32, name string) *descriptorpb.EnumValueDescriptorProto {
		return &descriptorpb.EnumValueDescriptorProto{Name: &name, Number: &num}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("logic.proto"), Package: proto.String("goim.logic"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("PushMsg"),
			EnumType: []*descriptorpb.EnumDescriptorProto{{
				Name:  proto.String("Type"),
				Value: []*descriptorpb.EnumValueDescriptorProto{value(0, "PUSH"), value(1, "ROOM"), value(2, "BROADCAST")},
			}},
			Field: []*descriptorpb.FieldDescriptorProto{
				field(1, "type", optional, descriptorpb.FieldDescriptorProto_TYPE_ENUM),
				field(2, "operation", optional, descriptorpb.FieldDescriptorProto_TYPE_INT32),
				field(3, "speed", optional, descriptorpb.FieldDescriptorProto_TYPE_INT32),
				field(4, "server", optional, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				field(5, "room", optional, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				field(6, "keys", repeated, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				field(7, "msg", optional, descriptorpb.FieldDescriptorProto_TYPE_BYTES),
			},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("PushMsg")
}

// pushMsg is what goim sees of a message.
type pushMsg struct {
	typ       protoreflect.EnumNumber
	operation int32
	speed     int32
	server    string
	room      string
	keys      []string
	msg       []byte
}

func readGoim(schema protoreflect.MessageDescriptor, src []byte) (p pushMsg, err error) {
	m := dynamicpb.NewMessage(schema)
	if err := proto.Unmarshal(src, m); err != nil {
		return pushMsg{}, err
	}
	get := func(num protoreflect.FieldNumber) protoreflect.Value { return m.Get(schema.Fields().ByNumber(num)) }
	keys := get(6).List()
	for i := range keys.Len() {
		p.keys = append(p.keys, keys.Get(i).String())
	}
	p.typ, p.operation, p.speed = get(1).Enum(), int32(get(2).Int()), int32(get(3).Int())
	p.server, p.room, p.msg = get(4).String(), get(5).String(), get(7).Bytes()
	return p, nil
}

func writeGoim(t testing.TB, schema protoreflect.MessageDescriptor, p pushMsg) []byte {
	t.Helper()
	m := dynamicpb.NewMessage(schema)
	set := func(num protoreflect.FieldNumber, v any) {
		m.Set(schema.Fields().ByNumber(num), protoreflect.ValueOf(v))
	}
	set(1, p.typ)
	set(2, p.operation)
	set(3, p.speed)
	set(4, p.server)
	set(5, p.room)
	keys := m.Mutable(schema.Fields().ByNumber(6)).List()
	for _, k := range p.keys {
		keys.Append(protoreflect.ValueOfString(k))
	}
	set(7, p.msg)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asGoim is the message as goim has to see it.
func asGoim(m *Message) pushMsg {
	typ := map[Kind]protoreflect.EnumNumber{Keys: 0, Mids: 0, Room: 1, All: 2}[m.To.Kind]
	return pushMsg{typ, m.Op, m.To.Speed, m.To.Node, m.To.Room, m.To.Keys, m.Body}
}

func (p pushMsg) equal(q pushMsg) bool {
	return p.typ == q.typ && p.operation == q.operation && p.speed == q.speed && p.server == q.server &&
		p.room == q.room && slices.Equal(p.keys, q.keys) && bytes.Equal(p.msg, q.msg)
}

// goim's job reads what halley's logic produces: its own fields are there, ours
// it skips.
func TestGoimReadsOurs(t *testing.T) {
	schema := goimSchema(t)
	f := func(m Message) {
		t.Helper()
		src := AppendMessage(nil, &m)
		got, err := readGoim(schema, src)
		if err != nil || !got.equal(asGoim(&m)) {
			t.Fatalf("got %+v, %v; want %+v", got, err, asGoim(&m))
		}
		if strict, err := readStrict(src); err != nil || !strict.equal(got) {
			t.Fatalf("readStrict reads %+v, %v; the real protobuf %+v", strict, err, got)
		}
	}
	for _, m := range goldenMessages {
		f(m)
	}
	f(Message{})
	f(Message{Op: -1, To: Target{Kind: Keys, Keys: []string{"", "a", ""}}})
}

// halley's job reads what goim's logic produces, byte for byte as in testdata.
func TestWeReadGoims(t *testing.T) {
	schema := goimSchema(t)
	for name, m := range goimMessages {
		src := writeGoim(t, schema, asGoim(&m))
		if !bytes.Equal(src, golden(t, name)) {
			t.Fatalf("%s: goim writes %x, testdata has %x", name, src, golden(t, name))
		}
	}
	f := func(p pushMsg) {
		t.Helper()
		m, err := ParseMessage(writeGoim(t, schema, p))
		if err != nil || !asGoim(&m).equal(p) {
			t.Fatalf("got %+v, %v; want %+v", m, err, p)
		}
	}
	f(pushMsg{})
	f(pushMsg{typ: 2, operation: -1 << 31, speed: -1})
	f(pushMsg{operation: 1<<31 - 1, keys: []string{"a", "", "ü"}, server: "s", msg: make([]byte, 1<<20)})
}
