package logic

import (
	"context"
	"fmt"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

// The sweep is slow on purpose: what it removes is skipped by every look-up, and
// costs memory only. 4,000 routes a second take 50 million of them in 3.5 hours.
const (
	sweepLock  = "sweep"
	sweepBatch = 1000                   // routes of a step
	sweepEvery = 250 * time.Millisecond // between steps
	sweepRest  = time.Minute            // after a whole round
	// sweepLease is how long the lock is held beyond the last step: long enough
	// for sweepRest, so that one node sweeps for good and the others only look.
	sweepLease = sweepRest + 30*time.Second
	sweepStand = 10 * time.Second // between attempts of those that stand by
)

// sweep removes routes of dead gateways, until ctx ends, as long as it holds the
// lock of the sweep.
func (l *Logic) sweep(ctx context.Context) {
	owner := fmt.Sprintf("logic-%016x", l.deps.Spool.ID())
	var cursor uint64
	for wait := sweepStand; pause(ctx, wait); {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		mine, err := l.deps.Locks.TryLock(call, sweepLock, owner, sweepLease)
		if err == nil && mine {
			cursor, err = l.sweepStep(call, cursor)
		}
		cancel()
		switch {
		case err != nil:
			if ctx.Err() == nil {
				l.m.registryErrs.Inc()
				l.registryComplaint.warn(l.log, "sweep dead routes; they are skipped all the same", "err", err)
			}
			wait = sweepStand
		case !mine:
			cursor, wait = 0, sweepStand
		case cursor == 0:
			wait = sweepRest
		default:
			wait = sweepEvery
		}
	}
}

// sweepStep looks at some routes and returns where to go on.
func (l *Logic) sweepStep(ctx context.Context, cursor uint64) (uint64, error) {
	routes, next, err := l.deps.Registry.Scan(ctx, cursor, sweepBatch)
	if err != nil {
		return cursor, fmt.Errorf("scan routes: %w", err)
	}
	named := map[life]bool{}
	var lives []life
	for i := range routes {
		if at := lifeOf(&routes[i]); !named[at] {
			named[at] = true
			lives = append(lives, at)
		}
	}
	if err := l.view.judge(ctx, lives); err != nil {
		return cursor, err
	}
	var dead []cluster.Route
	for i := range routes {
		if l.view.removable(lifeOf(&routes[i])) {
			dead = append(dead, routes[i])
		}
	}
	if len(dead) > 0 {
		if err := l.deps.Registry.Disconnect(ctx, dead); err != nil {
			return cursor, fmt.Errorf("remove dead routes: %w", err)
		}
		l.m.sweptRoutes.Add(len(dead))
	}
	return next, nil
}
