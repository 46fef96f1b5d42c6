package pusher

import (
	"errors"
	"fmt"
	"time"

	"github.com/halley-im/halley/bench/stamp"
)

// Flow is messages of one kind.
type Flow struct {
	Run     uint32
	URLs    []string   // http://host:port of logic nodes; lanes use one after another
	API     string     // goim or im
	Kind    stamp.Kind // of target
	By      string     // mids or keys: how single clients are named
	MidBase int64      // the user id of client n is MidBase+n
	First   int        // the first target
	Targets int        // how many there are, client or room First and on; all take turns
	Op      int32      // operation of the messages
	Ack     string     // queued: wait for the queue; empty: what the server does by itself
	Size    int        // bytes of a body

	Lanes     int           // connections, and messages under way
	FirstLane int           // number of a target's first lane: those below are another flow's
	Rate      float64       // messages per second of all lanes; 0: the next when the last was answered
	Burst     int           // messages that are due at the same time; with a rate
	Limit     int64         // messages, 0: until it is stopped
	Start     time.Duration // when the first is due, by the run's clock
	Patience  time.Duration // for an answer
}

// PerTarget is how many lanes send to one target.
func (f *Flow) PerTarget() int { return (f.Lanes + f.Targets - 1) / f.Targets }

// MaxPerTarget bounds PerTarget: a client keeps 24 bytes for each.
const MaxPerTarget = 64

// Check says what is wrong with f.
func (f *Flow) Check() error {
	switch {
	case len(f.URLs) == 0:
		return errors.New("no REST address to push to")
	case f.Lanes < 1 || f.Targets < 1 || f.Burst < 1:
		return fmt.Errorf("%d connections, %d targets, bursts of %d: want at least one of each", f.Lanes, f.Targets, f.Burst)
	case f.PerTarget() > MaxPerTarget:
		return fmt.Errorf("%d connections push to %d targets: at most %d may push to the same one", f.Lanes, f.Targets, MaxPerTarget)
	case f.FirstLane < 0 || f.FirstLane+f.PerTarget() > stamp.MaxLanes:
		return fmt.Errorf("%d lanes to a target from lane %d on: want lanes from 0 to %d", f.PerTarget(), f.FirstLane, stamp.MaxLanes-1)
	case f.Size < stamp.Size || f.Size > maxBody:
		return fmt.Errorf("body of %d bytes: want %d to %d", f.Size, stamp.Size, maxBody)
	case f.Rate < 0 || f.Limit < 0 || f.Patience <= 0:
		return errors.New("rate, limit and patience: want none below zero, and some patience")
	}
	return nil
}

// maxBody is the longest body of a push, in bytes.
const maxBody = 64 << 10

// due is when message k of the flow is due.
func (f *Flow) due(k int64) time.Duration {
	burst := k / int64(f.Burst) * int64(f.Burst)
	return f.Start + time.Duration(float64(burst)/f.Rate*float64(time.Second))
}

// place is which target message j of a lane is for, and which of the target's
// lanes that is. A target that has one lane only has always the same.
func (f *Flow) place(lane int, j int64) (target, rank int) {
	if f.Targets < f.Lanes {
		return lane % f.Targets, lane / f.Targets
	}
	own := (f.Targets - lane + f.Lanes - 1) / f.Lanes // targets of the lane
	return lane + int(j%int64(own))*f.Lanes, 0
}
