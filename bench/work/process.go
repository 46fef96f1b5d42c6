package work

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	callPatience = time.Minute      // no command takes so long
	endPatience  = 10 * time.Second // nor does a worker's end
)

// Process is a worker that this process has started. It may be called
// concurrently; calls are made one after another.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail tail // the last it has said on stderr

	mu sync.Mutex
	// guards below
	in     io.WriteCloser
	out    chan answer // closed when stdout ends
	broken error       // why it can be called no more

	ended error // how it has ended badly; set before out is closed, then read-only
}

// Start starts a worker: argv, or with a shell if it is one word that has blanks.
func Start(argv ...string) (*Process, error) {
	if len(argv) == 1 && strings.Contains(argv[0], " ") {
		argv = []string{"/bin/sh", "-c", "exec " + argv[0]}
	}
	p := &Process{name: strings.Join(argv, " "), cmd: exec.Command(argv[0], argv[1:]...), out: make(chan answer)}
	p.cmd.Stderr = &p.tail
	p.cmd.WaitDelay = endPatience // for whoever it has started and left behind with its stderr
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", p.name, err)
	}
	go p.read(stdout) // ends with the process
	return p, nil
}

// read hands over the answers. When they end, so does the process; out is closed only
// when all that it has said on stderr is there.
func (p *Process) read(stdout io.Reader) {
	defer close(p.out)
	in := json.NewDecoder(stdout)
	for {
		var a answer
		if err := in.Decode(&a); err != nil {
			if !errors.Is(err, io.EOF) {
				_ = p.cmd.Process.Kill() // it speaks of something else, and need not end by itself
			}
			break
		}
		p.out <- a
	}
	if err := p.cmd.Wait(); err != nil {
		p.ended = fmt.Errorf("worker %d: %w: %s", p.Pid(), err, p.tail.text())
	}
}

// Pid is the process id of what was started.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Call has p run a command and returns what it answers.
func Call[R any](p *Process, do string, with any) (got R, err error) {
	raw, err := json.Marshal(with)
	if err != nil {
		return got, err
	}
	text, err := p.call(request{do, raw})
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		err = fmt.Errorf("worker %d: %s: %w", p.Pid(), do, err)
	}
	return got, err
}

func (p *Process) call(r request) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	if err := json.NewEncoder(p.in).Encode(r); err != nil {
		return nil, p.breakLocked("it has ended: " + p.tail.text())
	}
	timeout := time.NewTimer(callPatience)
	defer timeout.Stop()
	select {
	case a, ok := <-p.out:
		switch {
		case !ok:
			return nil, p.breakLocked("it has ended: " + p.tail.text())
		case a.Error != "":
			return nil, errors.New(a.Error)
		}
		return a.Got, nil
	case <-timeout.C:
		return nil, p.breakLocked(fmt.Sprintf("no answer within %v", callPatience))
	}
}

func (p *Process) breakLocked(why string) error {
	p.broken = errors.New(why)
	return p.broken
}

// Stop ends the worker: it is told to, waited for, and killed if it does not.
func (p *Process) Stop() {
	_ = p.in.Close() // it may have ended already
	kill := time.AfterFunc(endPatience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.out { // an answer that nobody waits for any more
	}
}

// Ended says how the worker has ended, once Stop has returned: nil if it did so by
// itself and said that all was well.
func (p *Process) Ended() error { return p.ended }

// syncRounds is how often a worker is asked for its time. The answer that took least
// is the one that was delayed least.
const syncRounds = 50

// Sync sets the worker's clock to c. The error of its clock is at most off.
func (p *Process) Sync(c *Clock) (off time.Duration, err error) {
	var ahead int64
	off = 1 << 62
	for range syncRounds {
		before := monotonic()
		there, err := Call[int64](p, "time", None{})
		if err != nil {
			return 0, err
		}
		after := monotonic()
		if half := time.Duration(after-before) / 2; half < off {
			off, ahead = half, there-before-int64(half)
		}
	}
	if time.Duration(max(ahead, -ahead)) <= off {
		ahead, off = 0, 0 // the same clock, as far as can be told: then it is
	}
	_, err = Call[None](p, "sync", c.base.Load()+ahead)
	return off, err
}

// tail keeps the last that was written to it, for the message about the end of a
// process.
type tail struct {
	mu   sync.Mutex
	last []byte
}

const tailSize = 8 << 10 // a report of the race detector

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	t.last = t.last[max(0, len(t.last)-tailSize):]
	return len(b), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.last))
}
