package push

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// readStrict reads goim's seven fields and nothing else. It is what the fuzz
// target compares with: of another make than ParseMessage, and faster than
// readGoim, which TestGoimReadsOurs holds it against.
func readStrict(src []byte) (p pushMsg, err error) {
	for len(src) > 0 {
		num, typ, n := protowire.ConsumeField(src)
		if n < 0 {
			return pushMsg{}, protowire.ParseError(n)
		}
		_, _, tag := protowire.ConsumeTag(src)
		value := src[tag:n]
		src = src[n:]
		switch {
		case typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			switch num {
			case 1:
				p.typ = protoreflect.EnumNumber(v)
			case 2:
				p.operation = int32(v)
			case 3:
				p.speed = int32(v)
			}
		case typ == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			switch num {
			case 4:
				p.server = string(v)
			case 5:
				p.room = string(v)
			case 6:
				p.keys = append(p.keys, string(v))
			case 7:
				p.msg = v
			}
		}
	}
	return p, nil
}

// What is parsed, appended and parsed again is the same; and what
// goim reads in it, we read.
func FuzzParseMessage(f *testing.F) {
	for name := range goldenMessages {
		f.Add(golden(f, name))
	}
	for name := range goimMessages {
		f.Add(golden(f, name))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := ParseMessage(src)
		goims, goimErr := readStrict(src)
		if err != nil {
			// Ours alone to refuse: kinds that nobody knows, and broken mids.
			if goimErr == nil && goims.typ >= 0 && goims.typ <= 2 && !strings.Contains(err.Error(), "mids") {
				t.Fatalf("%x: refused, %v, but goim reads %+v", src, err, goims)
			}
			return
		}
		if goimErr != nil || !asGoim(&m).equal(goims) {
			t.Fatalf("%x: %+v, goim reads %+v, %v", src, m, goims, goimErr)
		}
		out := AppendMessage(nil, &m)
		again, err := ParseMessage(out)
		if err != nil {
			t.Fatalf("%x: %+v, written as %x: %v", src, m, out, err)
		}
		if len(m.Body) == 0 {
			m.Body = nil // an empty body is not written
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("%x: %+v, again %+v", src, m, again)
		}
		if out2 := AppendMessage(nil, &again); !bytes.Equal(out, out2) {
			t.Fatalf("%x: written as %x, then as %x", src, out, out2)
		}
	})
}
