package push

// Share is what one gateway has of the speed of a push to all. The job divides the
// speed by the gateways' sessions, in one go for all of them, and sends the
// fraction, not its value: so the shares of a push always add up to its speed, also
// where they are less than a message a second (5 a second over 10, 10 and 80
// sessions), and however old the counts were.
type Share struct {
	Speed int32 // messages per second over the whole cluster, as the producer asked
	Conns int64 // of All; 0: the job knew of no session there
	All   int64 // sessions of all gateways the push went to; 0: there is no Share
}

// Rate is how many messages per second a gateway may write of a push to all; 0
// sets no limit. It may be far less than 1. sessions is how many the gateway has
// when the push begins there; it counts only where the job knew of none: those
// have come since, and get as much for each as all others.
//
// A job that sends no Share (of an earlier version) has put the gateway's share
// into Speed, rounded.
func (t *Target) Rate(sessions int64) float64 {
	s := &t.Share
	switch {
	case t.Speed <= 0:
		return 0
	case s.All <= 0 || s.Speed <= 0:
		return float64(t.Speed)
	case s.Conns > 0:
		return float64(s.Speed) * (float64(min(s.Conns, s.All)) / float64(s.All))
	default:
		mine := float64(max(sessions, 1))
		return float64(s.Speed) * (mine / (float64(s.All) + mine))
	}
}
