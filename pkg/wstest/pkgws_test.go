package wstest

import (
	"net"
	"testing"

	"github.com/halley-im/halley/pkg/testkit"
	"github.com/halley-im/halley/pkg/ws"
)

// ours is an echo server on pkg/ws.
func ours(conn net.Conn) {
	var in []byte // what was read and is not used yet, at the start of buf
	buf := make([]byte, 64<<10)
	read := func() bool {
		n, err := conn.Read(buf[len(in):])
		in = buf[:len(in)+n]
		return n > 0 || err == nil
	}
	use := func(n int) { in = buf[:copy(buf, in[n:])] }
	n := 0
	for n == 0 {
		if !read() {
			return
		}
		var err error
		if n, err = ws.Head(in); err != nil {
			_, _ = conn.Write(ws.AppendTooLarge(nil))
			return
		}
	}
	out, req, err := ws.NewUpgrader(ws.Options{Deflate: true}).Upgrade(nil, in[:n])
	_, _ = conn.Write(out)
	if err != nil {
		return
	}
	use(n)
	rules := ws.Rules{Limit: testLimit, StrictText: true}
	var deflater *ws.Deflater
	if req.Deflate {
		rules.Inflate, deflater = ws.NewInflater(), ws.NewDeflater()
	}
	var a ws.Assembler
	for {
		n, op, payload, done, err := a.Next(in, &rules)
		if err == nil && n == 0 {
			if !read() {
				return
			}
			continue
		}
		var end bool
		if done {
			out, end, err = reply(out[:0], op, payload, deflater)
			_, _ = conn.Write(out)
		}
		if err != nil {
			_, _ = conn.Write(ws.AppendClose(nil, ws.Code(err), ""))
		}
		if end || err != nil {
			return
		}
		use(n)
	}
}

// reply appends what answers a message or a control frame. end says that it is
// the last.
func reply(dst []byte, op ws.OpCode, payload []byte, deflater *ws.Deflater) (out []byte, end bool, err error) {
	switch op {
	case ws.OpPing:
		return ws.AppendFrame(dst, ws.OpPong, payload), false, nil
	case ws.OpPong:
		return dst, false, nil
	case ws.OpClose:
		code, err := ws.CheckClose(payload)
		if err != nil {
			return dst, true, err
		}
		return ws.AppendClose(dst, code, ""), true, nil
	}
	if deflater != nil {
		return deflater.AppendDeflated(dst, op, payload), false, nil
	}
	return ws.AppendFrame(dst, op, payload), false, nil
}

// TestOurs: pkg/ws passes all of it.
func TestOurs(t *testing.T) {
	testkit.LeakCheck(t)
	l := listen(t)
	serve(t, l, ours)
	for _, f := range Check(Target{Dial: func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, Path: ws.Path,
		Limit: testLimit, Frames: ws.MaxFrames, Head: ws.MaxHead, Deflate: true, Subprotocols: true, FailFast: true, Strict: true}) {
		t.Error(f)
	}
}
