package gateway

import "time"

// alarm has a loop run a mail at a later time. All fields are owned by the loop.
type alarm struct {
	loop  *loop
	mail  mail
	timer *time.Timer
	set   bool
}

// in has the mail run after d, unless the alarm is set already.
func (a *alarm) in(d time.Duration) {
	if a.set {
		return
	}
	a.set = true
	if a.timer == nil {
		// The mail is lost only when the loop's engine has ended, which resets it.
		a.timer = time.AfterFunc(d, func() { a.loop.mailbox.post(a.mail) })
		return
	}
	a.timer.Reset(d)
}

// stop forgets what was set.
func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.set = false
}

// wheelSlots is more than the milliseconds a room may coalesce or rest.
const wheelSlots = 64

// wheel holds the rooms whose followers wait until it has coalesced or rested.
type wheel struct {
	slots [wheelSlots][]*room // by the millisecond at which they are due
	next  int64               // ms of loop.clock up to which slots were emptied
	rooms int
	due   int64 // ms of loop.clock for which the chime is set
}

// flushAt has r flushed at ms of loop.clock, which is less than wheelSlots ahead.
func (l *loop) flushAt(ms int64, r *room) {
	w := &l.wheel
	now := l.clock()
	if w.rooms == 0 {
		w.next = now
	}
	w.slots[ms%wheelSlots] = append(w.slots[ms%wheelSlots], r)
	w.rooms++
	if l.chime.set && w.due <= ms {
		return
	}
	l.chime.stop() // one that is already in the mail finds nothing due
	l.chimeAt(ms, now)
}

func (l *loop) chimeAt(ms, now int64) {
	l.wheel.due = ms
	l.chime.in(time.Duration(ms-now) * time.Millisecond)
}

// chime is the mail that flushes the rooms that are due.
type chime struct{}

func (chime) run(l *loop) {
	l.chime.set = false
	w := &l.wheel
	now := l.clock()
	w.next = max(w.next, now-wheelSlots)
	for ; w.next <= now && w.rooms > 0; w.next++ {
		due := &w.slots[w.next%wheelSlots]
		for _, r := range *due {
			l.dirtyRooms.push(r)
		}
		w.rooms -= len(*due)
		clear(*due)
		*due = (*due)[:0]
	}
	if w.rooms > 0 {
		l.chimeAt(now+1, now)
	}
}
