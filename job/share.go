package job

import "github.com/halley-im/halley/pkg/push"

// maxConns bounds what a gateway is believed to hold, so that no sum overflows.
const maxConns = 1 << 40

// appendShares divides the speed of a push to all over the gateways of v by their
// sessions and appends the shares to dst, in the order of v.links. All counts are
// taken once, here, so Conns of the shares add up to All. While no session is known
// anywhere the gateways count alike. A speed of 0 or less sets no limit and is not
// divided.
func (v *view) appendShares(dst []push.Share, speed int32) []push.Share {
	var all int64
	had := len(dst)
	for _, l := range v.links {
		s := push.Share{Speed: speed}
		if speed > 0 {
			s.Conns = l.sessions()
			all += s.Conns
		}
		dst = append(dst, s)
	}
	if speed <= 0 {
		clear(dst[had:])
		return dst
	}
	for i := had; i < len(dst); i++ {
		if all == 0 {
			dst[i].Conns, dst[i].All = 1, int64(len(v.links))
		} else {
			dst[i].All = all
		}
	}
	return dst
}

// sessions is how many the gateway has: as it said last on the open stream, else
// as its lease says.
func (l *link) sessions() int64 {
	n := l.told.Load()
	if n < 0 {
		n = l.conns.Load()
	}
	return min(max(n, 0), maxConns)
}

// divided makes t that of one gateway, with what falls to it. Speed is what
// gateways of an earlier version go by: whole messages, and at least one, because
// 0 would be no limit.
func divided(t *push.Target, s push.Share) {
	t.Share = s
	if t.Speed = 0; s.Speed > 0 {
		t.Speed = max(1, int32(float64(s.Speed)*(float64(s.Conns)/float64(s.All))+0.5))
	}
}
