package swarm

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms count times from 1 µs to maxTime, to three digits.
const (
	maxTime = 10 * time.Minute
	digits  = 3
)

// NewHistogram makes one as all processes of a run use it.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(maxTime), digits)
}

// histogram is one that is emptied whenever it is handed out.
type histogram struct{ h *hdrhistogram.Histogram }

func (h histogram) add(d time.Duration) {
	// A time that is out of range counts as the end of the range it is beyond.
	_ = h.h.RecordValue(int64(min(max(d, 0), maxTime)))
}

// Times is a histogram on its way between processes; empty if nothing was counted.
type Times []byte

func (h histogram) take() (Times, error) { return Take(h.h) }

// Take encodes and empties h.
func Take(h *hdrhistogram.Histogram) (Times, error) {
	if h.TotalCount() == 0 {
		return nil, nil
	}
	defer h.Reset()
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// AddTo adds the times to h.
func (t Times) AddTo(h *hdrhistogram.Histogram) error {
	if len(t) == 0 {
		return nil
	}
	got, err := hdrhistogram.Decode(t)
	if err == nil {
		h.Merge(got)
	}
	return err
}
