package logic

import (
	"context"

	"github.com/halley-im/halley/pkg/cluster"
)

// maxStale bounds the batches of dead routes that wait to be removed. What does
// not fit is left to the next push that meets it, or to the sweep.
const maxStale = 64

// dropStale hands routes of dead gateways over for removal.
func (l *Logic) dropStale(routes []cluster.Route) {
	if len(routes) == 0 {
		return
	}
	select {
	case l.stale <- routes:
	default:
		l.m.staleDropped.Add(len(routes))
	}
}

// removeStale removes dead routes until ctx ends. Removal is compare-and-delete:
// a key that has connected again meanwhile keeps its new route.
func (l *Logic) removeStale(ctx context.Context) {
	for {
		select {
		case routes := <-l.stale:
			if l.remove(ctx, routes) {
				l.m.removedRoutes.Add(len(routes))
			}
		case <-ctx.Done():
			return
		}
	}
}

// remove makes one attempt to remove routes.
func (l *Logic) remove(ctx context.Context, routes []cluster.Route) bool {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := l.deps.Registry.Disconnect(call, routes); err != nil {
		if ctx.Err() == nil {
			l.m.registryErrs.Inc()
			l.registryComplaint.warn(l.log, "remove dead routes; they are skipped all the same", "err", err)
		}
		return false
	}
	return true
}
