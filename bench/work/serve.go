package work

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
)

// request is a command to a worker, answer what it says to it.
type request struct {
	Do   string
	With json.RawMessage `json:",omitempty"`
}

type answer struct {
	Error string          `json:",omitempty"`
	Got   json.RawMessage `json:",omitempty"`
}

// None is the argument or the result of commands that have none.
type None struct{}

// Command is what a worker does when it is told to.
type Command func(with json.RawMessage) (any, error)

// Do makes a Command of a function.
func Do[A, R any](f func(A) (R, error)) Command {
	return func(with json.RawMessage) (any, error) {
		var a A
		if len(with) > 0 {
			if err := json.Unmarshal(with, &a); err != nil {
				return nil, err
			}
		}
		return f(a)
	}
}

// Serve is a worker: it runs commands, one after another, until in ends. To its own
// commands it adds those by which its clock is set and it is looked at: usage is what it
// has used so far, memory the bytes it takes once garbage is collected.
func Serve(in io.Reader, out io.Writer, clock *Clock, commands map[string]Command) error {
	all := maps.Clone(commands)
	all["time"] = Do(func(None) (int64, error) { return monotonic(), nil })
	all["sync"] = Do(func(base int64) (None, error) { clock.base.Store(base); return None{}, nil })
	all["usage"] = Do(func(None) (Usage, error) { return ownUsage() })
	all["memory"] = Do(func(None) (int64, error) {
		debug.FreeOSMemory() // what is not used any more is nobody's: a report is large
		u, err := ownUsage()
		return u.RSS, err
	})
	d, e := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var req request
		if err := d.Decode(&req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("command: %w", err)
		}
		if err := e.Encode(run(all, req)); err != nil {
			return err
		}
	}
}

func run(commands map[string]Command, req request) (a answer) {
	do, ok := commands[req.Do]
	if !ok {
		return answer{Error: fmt.Sprintf("no command %q", req.Do)}
	}
	got, err := do(req.With)
	if err == nil {
		a.Got, err = json.Marshal(got)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return a
}
