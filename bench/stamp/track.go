package stamp

// window is how far back a Track remembers which messages have come.
const window = 64

// Track is what one receiver remembers of one lane to one target. Zero is that of
// a receiver to whom nothing has come.
type Track struct {
	last   uint32 // the highest number that has come
	seen   uint32 // how many different ones have
	recent uint64 // bit i: last-i has come
	sum    uint64 // of the numbers of those that are seen
}

// Verdict is what is wrong with the order of a message.
type Verdict uint8

const (
	Fine      Verdict = iota
	Doubled           // it has come before
	Reordered         // one behind it has come before it
	Stale             // one or the other: it is 64 or more places behind
)

// Come notes that message seq has come. That some are missing before it is no
// fault yet: they may come late, which is one, or not at all, which Seen tells.
func (t *Track) Come(seq uint32) Verdict {
	if seq > t.last {
		if ahead := seq - t.last; ahead < window {
			t.recent = t.recent<<ahead | 1
		} else {
			t.recent = 1
		}
		t.last = seq
		t.see(seq)
		return Fine
	}
	behind := t.last - seq
	switch bit := uint64(1) << min(behind, window-1); {
	case behind >= window:
		return Stale
	case t.recent&bit != 0:
		return Doubled
	default:
		t.recent |= bit
		t.see(seq)
		return Reordered
	}
}

func (t *Track) see(seq uint32) {
	t.seen++
	t.sum += uint64(seq)
}

// Sum is that of the numbers of the messages that Seen counts. That as many have come
// as should does not say that they are those.
func (t *Track) Sum() uint64 { return t.sum }

// Seen is how many different messages have come, without stale ones.
func (t *Track) Seen() uint32 { return t.seen }

// Skipped is how many messages have not come though one behind them has.
func (t *Track) Skipped() uint32 { return t.last - t.seen }

func (v Verdict) String() string {
	return [...]string{"fine", "doubled", "reordered", "doubled or reordered"}[v]
}
