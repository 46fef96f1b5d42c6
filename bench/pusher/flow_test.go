package pusher

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/halley-im/halley/bench/stamp"
)

// good is a flow with nothing wrong.
func good() Flow {
	return Flow{URLs: []string{"http://127.0.0.1:1"}, Lanes: 1, Targets: 1, Burst: 1, Size: 30, Patience: time.Second}
}

func TestCheck(t *testing.T) {
	f := func(want string, change func(x *Flow)) {
		t.Helper()
		x := good()
		change(&x)
		if err := x.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	f("", func(*Flow) {})
	f("", func(x *Flow) { x.Lanes = MaxPerTarget })
	f("", func(x *Flow) { x.Size = stamp.Size })
	f("", func(x *Flow) { x.Size = maxBody })
	f("", func(x *Flow) { x.FirstLane = stamp.MaxLanes - 1 })
	f("no REST address", func(x *Flow) { x.URLs = nil })
	f("0 connections", func(x *Flow) { x.Lanes = 0 })
	f("0 targets", func(x *Flow) { x.Targets = 0 })
	f("bursts of 0", func(x *Flow) { x.Burst = 0 })
	f("at most 64", func(x *Flow) { x.Lanes = MaxPerTarget + 1 })
	f("at most 64", func(x *Flow) { x.Lanes, x.Targets = 129, 2 })
	f("lanes from 0 to 255", func(x *Flow) { x.FirstLane = stamp.MaxLanes })
	f("lanes from 0 to 255", func(x *Flow) { x.FirstLane = -1 })
	f("want 20 to 65536", func(x *Flow) { x.Size = stamp.Size - 1 })
	f("want 20 to 65536", func(x *Flow) { x.Size = maxBody + 1 })
	f("rate, limit and patience", func(x *Flow) { x.Rate = -1 })
	f("rate, limit and patience", func(x *Flow) { x.Limit = -1 })
	f("rate, limit and patience", func(x *Flow) { x.Patience = 0 })
}

// Each target is sent to by PerTarget lanes at most, each of which has a rank of its
// own there and is the only one that has it; and all take turns.
func TestPlace(t *testing.T) {
	type place struct{ target, rank int }
	f := func(lanes, targets int) {
		t.Helper()
		x := Flow{Lanes: lanes, Targets: targets}
		const rounds = 3
		owner := map[place]int{}
		came := make([]int, targets)
		each := rounds * (targets + lanes - 1) / lanes * max(1, lanes/targets)
		for lane := range lanes {
			for j := range int64(each) {
				target, rank := x.place(lane, j)
				if target < 0 || target >= targets || rank < 0 || rank >= x.PerTarget() {
					t.Fatalf("%d lanes, %d targets: message %d of lane %d is for %d, rank %d of %d", lanes, targets, j, lane, target, rank, x.PerTarget())
				}
				if was, ok := owner[place{target, rank}]; ok && was != lane {
					t.Fatalf("%d lanes, %d targets: lanes %d and %d are both rank %d of target %d", lanes, targets, was, lane, rank, target)
				}
				owner[place{target, rank}] = lane
				came[target]++
			}
		}
		least, most := came[0], came[0]
		for _, n := range came {
			least, most = min(least, n), max(most, n)
		}
		if least == 0 || most > 2*least+1 {
			t.Errorf("%d lanes, %d targets: a target got %d messages, another one %d", lanes, targets, least, most)
		}
	}
	for lanes := 1; lanes <= 20; lanes++ {
		for targets := 1; targets <= 45; targets++ {
			if (&Flow{Lanes: lanes, Targets: targets}).PerTarget() <= MaxPerTarget {
				f(lanes, targets)
			}
		}
	}
	f(100, 5000)
	f(64, 1)
	f(127, 2)
}

func TestDue(t *testing.T) {
	f := func(rate float64, burst int, k int64, want time.Duration) {
		t.Helper()
		x := Flow{Rate: rate, Burst: burst, Start: time.Second}
		if got := x.due(k) - x.Start; (got - want).Abs() > time.Nanosecond {
			t.Errorf("message %d at %v/s in bursts of %d is due after %v, want %v", k, rate, burst, got, want)
		}
	}
	f(100, 1, 0, 0)
	f(100, 1, 1, 10*time.Millisecond)
	f(100, 1, 100*3600*10, 10*time.Hour)
	f(100, 5, 4, 0)
	f(100, 5, 5, 50*time.Millisecond)
	f(100, 5, 14, 100*time.Millisecond)
	f(0.5, 1, 3, 6*time.Second)
}

func TestJudge(t *testing.T) {
	f := func(api string, status int, body string, err error, want outcome) {
		t.Helper()
		var resp fasthttp.Response
		resp.SetStatusCode(status)
		resp.SetBodyString(body)
		o, why := (&Flow{API: api}).judge(&resp, err)
		if o != want || (why == "") != (o == accepted) {
			t.Errorf("%s, %d %q, %v: outcome %d because of %q, want %d", api, status, body, err, o, why, want)
		}
	}
	f("goim", 200, `{"code":0,"message":""}`, nil, accepted)
	f("goim", 200, `{"code":-400,"message":""}`, nil, refused)
	f("goim", 200, `{"code":-500,"message":"kafka"}`, nil, unknown)
	f("goim", 200, ``, nil, unknown)
	f("goim", 200, `{"msg":"","data":["ok"],"code":0}`, nil, unknown)
	f("goim", 400, `{"code":-400,"message":"Key: 'Op'"}`, nil, refused)
	f("goim", 503, `{"code":-500,"message":"busy"}`, nil, refused)
	f("goim", 500, ``, nil, unknown)
	f("goim", 404, `404 page not found`, nil, unknown)
	f("goim", 429, ``, nil, unknown)
	f("goim", 200, `{"code":0,"message":""}`, errors.New("timeout"), unknown) // of the call before, perhaps
	f("im", 200, `{"msg":"","data":["ok"],"code":0}`, nil, accepted)
	f("im", 200, `{"msg":"\u7f3a","data":[],"code":1}`, nil, refused)
	f("im", 503, ``, nil, refused)
	f("im", 500, ``, nil, unknown)
	f("goim", 200, "\xff"+strings.Repeat("x", 1000), nil, unknown)
}
