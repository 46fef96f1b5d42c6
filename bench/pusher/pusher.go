package pusher

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"github.com/halley-im/halley/bench/stamp"
	"github.com/halley-im/halley/bench/swarm"
	"github.com/halley-im/halley/bench/work"
)

// Pusher sends flows, in one process.
type Pusher struct {
	clock *work.Clock

	mu sync.Mutex
	// guards below
	flows []*sending
}

// New makes a pusher that sends nothing yet.
func New(clock *work.Clock) *Pusher { return &Pusher{clock: clock} }

// Commands are what a worker that is a pusher can be told.
func (p *Pusher) Commands() map[string]work.Command {
	return map[string]work.Command{
		"send": work.Do(p.send), "sent": work.Do(p.sent), "stop": work.Do(p.stop), "accepted": work.Do(p.accepted),
	}
}

// sending is a flow that is sent, or was.
type sending struct {
	Flow
	clock *work.Clock
	stop  chan struct{}
	lanes []*lane
	left  sync.WaitGroup
	done  atomic.Bool // all lanes have ended

	// By target and rank; each is touched by one lane only.
	seqs   []uint32
	counts []swarm.Count

	mu sync.Mutex
	// guards below
	stopped time.Duration // when
	report  Sent
	answers *hdrhistogram.Histogram
	late    *hdrhistogram.Histogram
}

// lane is one connection.
type lane struct {
	number int
	next   int64         // how many it has sent
	wake   chan struct{} // something is due
	client *fasthttp.HostClient
}

// Sent is how far a flow is.
type Sent struct {
	Sent     int64
	Accepted int64
	Refused  int64
	Unknown  int64
	Why      map[string]int64 // they were not accepted
	Behind   int64            // messages that were due when it was stopped, and not sent
	Done     bool             // it has ended, or has sent its limit
	Ended    time.Duration    // when the last answer came

	Answers swarm.Times // from when a message was due, or sent without a rate, to the answer; since the last report
	Late    swarm.Times // from when a message was due to when a lane that had nothing to do sent it: the harness's own delay
}

// send is the command that begins a flow, and answers with its number.
func (p *Pusher) send(f Flow) (int, error) {
	if err := f.Check(); err != nil {
		return 0, err
	}
	s := &sending{
		Flow: f, clock: p.clock, stop: make(chan struct{}), lanes: make([]*lane, f.Lanes),
		seqs: make([]uint32, f.Targets*f.PerTarget()), counts: make([]swarm.Count, f.Targets*f.PerTarget()),
		report: Sent{Why: map[string]int64{}}, answers: swarm.NewHistogram(), late: swarm.NewHistogram(),
	}
	dial := func(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, f.Patience) }
	for i := range s.lanes {
		base, err := url.Parse(f.URLs[i%len(f.URLs)])
		if err != nil || base.Scheme != "http" || base.Host == "" {
			return 0, fmt.Errorf("REST address %q: want http://HOST:PORT", f.URLs[i%len(f.URLs)])
		}
		s.lanes[i] = &lane{number: i, wake: make(chan struct{}, 1), client: &fasthttp.HostClient{
			Addr: base.Host, Dial: dial, MaxConns: 1, MaxIdemponentCallAttempts: 1, // a repeated push would be another one
			ReadTimeout: f.Patience, WriteTimeout: f.Patience, MaxIdleConnDuration: time.Hour,
		}}
	}
	s.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = append(p.flows, s)
	return len(p.flows) - 1, nil
}

// run starts the lanes, which end when stop is closed or the limit is reached.
func (s *sending) run() {
	for i, l := range s.lanes {
		s.left.Go(func() { s.runLane(l, s.URLs[i%len(s.URLs)]) })
	}
	if s.Rate > 0 {
		go s.wakeLanes() // ends with the lanes
	}
	go func() { s.left.Wait(); s.done.Store(true) }()
}

// wakeLanes wakes each lane when something is due for it. Go's timers are a
// millisecond late when nothing else happens; the kernel's are not.
func (s *sending) wakeLanes() {
	runtime.LockOSThread() // and ends with it: its timers are as exact as they can be
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return // then lanes wait on their own, a little less exactly
	}
	for k := int64(0); (s.Limit == 0 || k < s.Limit) && !s.done.Load(); k++ {
		for wait := s.due(k) - s.clock.Now(); wait > 0; wait = s.due(k) - s.clock.Now() {
			ts := unix.NsecToTimespec(int64(min(wait, 100*time.Millisecond)))
			_ = unix.Nanosleep(&ts, nil) // it may be interrupted
			if s.done.Load() {
				return
			}
		}
		select {
		case s.lanes[k%int64(s.Lanes)].wake <- struct{}{}:
		default: // it has been woken already
		}
	}
}

// runLane sends the messages of one lane.
func (s *sending) runLane(l *lane, base string) {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	defer l.client.CloseIdleConnections()
	s.prepare(req, base)
	var body []byte
	for ; ; l.next++ {
		k := l.next*int64(s.Lanes) + int64(l.number)
		if s.Limit > 0 && k >= s.Limit {
			return
		}
		due, slept, ok := s.await(l, k)
		if !ok {
			s.leave(k)
			return
		}
		target, rank := s.place(l.number, l.next)
		at := target*s.PerTarget() + rank
		s.seqs[at]++
		body = stamp.Append(body[:0], stamp.Stamp{
			Run: s.Run, Target: stamp.To(s.Kind, s.First+target), Lane: uint8(s.FirstLane + rank), Seq: s.seqs[at], Due: due,
		}, s.Size)
		s.fill(req, s.First+target, body)
		begun := s.clock.Now()
		resp.Reset()
		err := l.client.DoTimeout(req, resp, s.Patience)
		o, why := s.judge(resp, err)
		s.settle(&s.counts[at], s.seqs[at], o)
		s.note(o, why, s.clock.Now()-due, begun-due, slept)
	}
}

// await waits until message k is due, and says when that is. slept: it has had to wait.
func (s *sending) await(l *lane, k int64) (due time.Duration, slept, ok bool) {
	select {
	case <-s.stop:
		return 0, false, false
	default:
	}
	due = s.Start
	if s.Rate > 0 {
		due = s.due(k)
	}
	for wait := due - s.clock.Now(); wait > 0; wait = due - s.clock.Now() {
		slept = true
		timer := time.NewTimer(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-s.stop:
			timer.Stop()
			return 0, false, false
		}
		timer.Stop()
	}
	if s.Rate == 0 {
		due = s.clock.Now()
	}
	return due, slept, true
}

// leave notes which messages of a lane, from k on, were due when the flow was stopped.
func (s *sending) leave(k int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s.Rate > 0 && (s.Limit == 0 || k < s.Limit) && s.due(k) <= s.stopped; k += int64(s.Lanes) {
		s.report.Behind++
	}
}

// settle notes what has become of a message. A refused one leaves a hole in the
// numbers, which is why receivers count and sum them up.
func (s *sending) settle(c *swarm.Count, seq uint32, o outcome) {
	switch o {
	case accepted:
		c.Least++
		c.Most++
		c.Sum += uint64(seq)
	case unknown:
		c.Most++
	}
}

const maxReasons = 20

func (s *sending) note(o outcome, why string, took, late time.Duration, slept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report
	r.Sent++
	r.Ended = s.clock.Now()
	switch o {
	case accepted:
		r.Accepted++
	case refused:
		r.Refused++
	default:
		r.Unknown++
	}
	if why != "" {
		if len(r.Why) >= maxReasons && r.Why[why] == 0 {
			why = "other reasons"
		}
		r.Why[why]++
	}
	_ = s.answers.RecordValue(int64(max(took, 0))) // beyond the range: patience is within
	if slept && s.Rate > 0 {
		_ = s.late.RecordValue(int64(max(late, 0)))
	}
}

// sent is the command that answers how far a flow is.
func (p *Pusher) sent(n int) (r Sent, err error) {
	s, err := p.flow(n)
	if err != nil {
		return r, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err1, err2 error
	r = s.report
	r.Done = s.done.Load()
	r.Why = maps.Clone(r.Why)
	r.Answers, err1 = swarm.Take(s.answers)
	r.Late, err2 = swarm.Take(s.late)
	return r, errors.Join(err1, err2)
}

func (p *Pusher) flow(n int) (*sending, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || n >= len(p.flows) {
		return nil, fmt.Errorf("no flow %d", n)
	}
	return p.flows[n], nil
}

// stop is the command that ends a flow: what is under way is finished.
func (p *Pusher) stop(n int) (work.None, error) {
	s, err := p.flow(n)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		select {
		case <-s.stop:
		default:
			s.stopped = s.clock.Now()
			close(s.stop)
		}
	}
	return work.None{}, err
}

// Accepted is what a flow has had accepted: for target First+i and its lane
// FirstLane+j it is Counts[i*PerTarget+j].
type Accepted struct {
	Counts []swarm.Count
}

// accepted is the command that answers with it, when the flow has ended.
func (p *Pusher) accepted(n int) (a Accepted, err error) {
	s, err := p.flow(n)
	if err != nil {
		return a, err
	}
	if !s.done.Load() {
		return a, errors.New("the flow has not ended")
	}
	return Accepted{s.counts}, nil
}
