package job

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var out bytes.Buffer
		th := throttle{log: slog.New(slog.NewTextHandler(&out, nil)), last: map[string]*warning{}}
		for range 100 {
			th.warn("one", "err", "away")
			th.warn("two")
			time.Sleep(warnEvery / 50)
		}
		th.warn("one")
		var one, two int
		for _, line := range strings.Split(out.String(), "\n") {
			one += strings.Count(line, "msg=one")
			two += strings.Count(line, "msg=two")
		}
		if one != 3 || two != 2 || strings.Count(out.String(), "swallowed=49") != 3 {
			t.Errorf("100 warnings in two periods were written as\n%s", out.String())
		}
	})
}
