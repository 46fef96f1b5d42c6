package tlsloop

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// crypto/tls keeps the buffers of a connection for as long as it lives: rawInput,
// which a record of 16 KB makes 17 KB large, and hand, in which the ClientHello
// was. A browser's ClientHello is 1.8 KB, and leaves 4 KB in them. Both are empty
// most of the time, and a buffer that is empty can be the zero one.
//
// There is no way to ask for that, so we reach into tls.Conn, whose fields are found
// by name and type when the program starts. Measured by BenchmarkMemory, per
// connection: 3.1 KB instead of 3.9 KB with Go's smallest ClientHello, of 7.2 KB with
// one as long as a browser's, and of 12 KB after a record of 16 KB. And as rawInput is where records are opened, a record
// that is already in memory can be put there instead of being read: it is opened
// where the socket's bytes were put, without a copy and without the allocation that
// crypto/tls makes per read.
//
// If a Go version has other fields, layout.known is false (a test says so) and
// everything works as crypto/tls has it, at the price above.
var layout = findLayout(reflect.TypeFor[tls.Conn]())

// fields says where in a tls.Conn its buffers are.
type fields struct {
	known bool
	raw   uintptr // rawInput bytes.Buffer: records that are not opened
	input uintptr // input bytes.Reader: what is opened and not read; lies in rawInput
	hand  uintptr // hand bytes.Buffer: parts of handshake messages
}

func findLayout(conn reflect.Type) (f fields) {
	offset := func(name string, t reflect.Type) uintptr {
		field, ok := conn.FieldByName(name)
		f.known = f.known && ok && field.Type == t
		return field.Offset
	}
	f.known = true
	f.raw = offset("rawInput", reflect.TypeFor[bytes.Buffer]())
	f.input = offset("input", reflect.TypeFor[bytes.Reader]())
	f.hand = offset("hand", reflect.TypeFor[bytes.Buffer]())
	return f
}

func (f *fields) rawOf(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), f.raw))
}

func (f *fields) inputOf(c *tls.Conn) *bytes.Reader {
	return (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), f.input))
}

func (f *fields) handOf(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), f.hand))
}

// lend makes record, which is whole, the one that c opens next, in its place. c has
// none, as trim has seen. The record's capacity must end where it does. False: the
// layout is not known.
func (f *fields) lend(c *tls.Conn, record []byte) bool {
	if !f.known {
		return false
	}
	*f.rawOf(c) = *bytes.NewBuffer(record)
	return true
}

// trim frees the buffers of c that are empty, and forgets a lent record that has
// been read. It says whether there may be plaintext that is opened and not read, and
// how much c has of a handshake message that is not whole.
func (f *fields) trim(c *tls.Conn) (unread bool, gathered int) {
	if !f.known {
		return true, 0
	}
	raw, input, hand := f.rawOf(c), f.inputOf(c), f.handOf(c)
	if input.Len() == 0 && raw.Len() == 0 {
		*raw = bytes.Buffer{}
		input.Reset(nil)
	}
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
	return input.Len() > 0, hand.Len()
}
