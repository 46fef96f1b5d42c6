package wstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// run plays c on a connection of its own.
func (tc *testCase) run(target *Target) error {
	c, err := newClient(target)
	if err != nil {
		return err
	}
	defer c.close()
	c.write(append(tc.open.bytes(target), c.early(tc.early)...), tc.open.split)
	open, err := c.readAnswer(target, &tc.open, &tc.answer)
	if err != nil || !open {
		return err
	}
	steps := tc.steps
	if tc.takeover && c.deflater.noTakeover {
		steps = steps[:len(steps)-1]
	}
	for i, s := range steps[:max(len(steps)-1, 0)] {
		c.send(s.send, s.split)
		if err := c.await(s.want); err != nil {
			return fmt.Errorf("after step %d: %w", i+1, err)
		}
	}
	ends := slices.DeleteFunc(slices.Clone(tc.ends), func(e ending) bool { return e.lenient && target.Strict })
	if len(ends) == 0 {
		ends = []ending{{}}
	}
	if len(steps) > 0 {
		s := steps[len(steps)-1]
		c.send(s.send, s.split)
		for i := range ends {
			ends[i].want = append(slices.Clone(s.want), ends[i].want...)
		}
	}
	return c.finish(ends, target.Strict)
}

// early makes the bytes of frames that go out before compression can be agreed.
func (c *client) early(chunks []chunk) []byte {
	var b []byte
	for _, x := range chunks {
		b = x.appendTo(b, nil)
	}
	return b
}

// hope is what an ending still waits for. Messages come in their order, and so
// do pongs; but a pong may answer several pings at once, if it has the payload
// of the latest (RFC 6455 §5.5.3), and may overtake the echo of a message.
type hope struct {
	ending
	messages, pongs []event
	probed          bool // a ping has been sent to see whether the connection lives
	broken          error
}

func newHope(e ending) *hope {
	h := &hope{ending: e}
	for _, w := range e.want {
		if w.op == opPong {
			h.pongs = append(h.pongs, w)
		} else {
			h.messages = append(h.messages, w)
		}
	}
	return h
}

func (h *hope) fulfilled() bool { return len(h.messages)+len(h.pongs) == 0 }

// take compares an event, not a Close frame, to what is hoped for.
func (h *hope) take(e event) {
	queue := &h.messages
	skip := 1 // how far an event may be from the first of its queue
	if e.op == opPong {
		queue = &h.pongs
		skip = len(h.pongs)
	}
	for i, want := range (*queue)[:min(skip, len(*queue))] {
		if want.op == e.op && want.data.equal([]byte(e.data.unit)) {
			*queue = (*queue)[i+1:]
			return
		}
	}
	if len(*queue) == 0 {
		h.broken = fmt.Errorf("unexpected: %v", e)
	} else {
		h.broken = fmt.Errorf("got %v, want %v", e, (*queue)[0])
	}
}

// open says what is still missing, for an error: the first of much.
func (h *hope) open() string {
	const most = 3
	missing := append(slices.Clone(h.messages), h.pongs...)
	var list []string
	for _, e := range missing[:min(most, len(missing))] {
		list = append(list, e.String())
	}
	if len(missing) > most {
		list = append(list, fmt.Sprintf("%d more", len(missing)-most))
	}
	if len(h.codes) > 0 {
		list = append(list, fmt.Sprintf("a Close frame with one of %d", h.codes))
	}
	return strings.Join(list, ", then ")
}

// await reads until all of want is there.
func (c *client) await(want []event) error {
	h := newHope(ending{want: want})
	for !h.fulfilled() {
		e, err := c.next()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", h.open(), err)
		}
		if e.op == opClose {
			return fmt.Errorf("waiting for %s: got %v", h.open(), e)
		}
		if h.take(e); h.broken != nil {
			return h.broken
		}
	}
	return nil
}

// probe is the payload of the ping that shows whether a connection is usable.
const probe = "still there?"

// finish reads until one of ends is reached.
func (c *client) finish(ends []ending, strict bool) error {
	var hopes []*hope
	for _, e := range ends {
		hopes = append(hopes, newHope(e))
	}
	for {
		for _, h := range hopes {
			if !h.fulfilled() || len(h.codes) > 0 {
				continue
			}
			if h.probed {
				return c.shake()
			}
			c.send(send(ping(probe)), whole)
			h.pongs, h.probed = []event{gotPong(probe)}, true
		}
		e, err := c.next()
		if errors.Is(err, errEnded) && !strict {
			// §7.1.7: a Close frame before the end is a SHOULD.
			if slices.ContainsFunc(hopes, func(h *hope) bool { return len(h.codes) > 0 }) {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", hopes[0].open(), err)
		}
		if e.op == opClose {
			return c.closedBy(e, hopes, strict)
		}
		for _, h := range hopes {
			h.take(e)
		}
		broken := hopes[0].broken
		if hopes = slices.DeleteFunc(hopes, func(h *hope) bool { return h.broken != nil }); len(hopes) == 0 {
			return broken
		}
	}
}

// closedBy holds a server's Close frame against hopes. Without Strict messages
// before the violation need not have been answered: a server may have failed the
// connection before its echo was written.
func (c *client) closedBy(e event, hopes []*hope, strict bool) error {
	for _, h := range hopes {
		if slices.Contains(h.codes, e.code) && (h.fulfilled() || !strict) {
			return c.ended()
		}
	}
	return fmt.Errorf("waiting for %s: got %v", hopes[0].open(), e)
}

// shake closes as a client does, RFC 6455 §7.1.2.
func (c *client) shake() error {
	c.send(send(closing(1000, "")), whole)
	e, err := c.next()
	if err != nil {
		return fmt.Errorf("waiting for the answer to our Close frame: %w", err)
	}
	if e.op != opClose || e.code != 1000 {
		return fmt.Errorf("got %v, want the answer to our Close frame, with code 1000", e)
	}
	return c.ended()
}
