package wstest

import "fmt"

// testCase is one connection: how it is opened, what is said on it, how it ends.
type testCase struct {
	name string // section/class
	why  string // the RFC's words, or what follows from them

	open   request
	answer answer  // the zero value: the connection is opened
	early  []chunk // sent together with the request
	steps  []step
	ends   []ending // one of them; none: the connection stays usable

	strict, head, deflate, failFast bool // only with Target.Strict, Head, Deflate, FailFast
	takeover                        bool // the last step needs our window: not if the server excluded that
}

// step is something to send and what must come back before the next step.
type step struct {
	send  []chunk
	split split
	want  []event
}

// split is how many bytes are written at once.
type split int

const (
	whole     split = 0
	byteWise  split = 1
	oddPieces split = -1 // 1, 2, 3, 5, 7, 11, 13 bytes and again
)

var oddSizes = []int{1, 2, 3, 5, 7, 11, 13}

func (s split) size(i int) int {
	switch s {
	case whole:
		return 1 << 30
	case oddPieces:
		return oddSizes[i%len(oddSizes)]
	default:
		return int(s)
	}
}

// ending is one way for a case to end.
type ending struct {
	want []event // before the end

	// codes are those the server may close with, noCode for a Close frame
	// without one. None: the connection must be usable.
	codes []int
	// lenient: not with Target.Strict.
	lenient bool
}

// noCode stands for an empty Close frame, RFC 6455 §7.1.5.
const noCode = 1005

// event is something a server sends: a whole message, a pong, a Close frame.
type event struct {
	op   byte
	data blob
	code int // of a Close frame
}

func (e event) String() string {
	if e.op == opClose {
		return fmt.Sprintf("a Close frame with code %d, reason %q", e.code, e.data)
	}
	return fmt.Sprintf("a %s of %d bytes, %.60q", opNames[e.op], e.data.n, e.data.unit)
}

func gotText(s string) event   { return event{op: opText, data: str(s)} }
func gotBinary(s string) event { return event{op: opBinary, data: str(s)} }
func gotPong(s string) event   { return event{op: opPong, data: str(s)} }

// usable: these come back, and the connection can be used on.
func usable(want ...event) ending { return ending{want: want} }

// closed: the server closes with one of codes.
func closed(codes ...int) ending { return ending{codes: codes} }

// after wants events before the end.
func (e ending) after(want ...event) ending { e.want = want; return e }

// orLenient allows another end without Target.Strict.
func orLenient(e ending) ending { e.lenient = true; return e }

// row is a case without peculiarities: one write, one end.
type row struct {
	name, why string
	send      []chunk
	end       ending
}

func fromRows(rows []row) []testCase {
	list := make([]testCase, 0, len(rows))
	for _, r := range rows {
		list = append(list, testCase{name: r.name, why: r.why,
			steps: []step{{send: r.send}}, ends: []ending{r.end}})
	}
	return list
}
