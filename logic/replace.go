package logic

import (
	"context"
	"fmt"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// replaceWorkers tell gateways to close sessions whose keys have connected
	// elsewhere: a gateway that does not answer holds up one of them.
	replaceWorkers = 4
	// replaceTimeout bounds one call; a gateway that takes longer is on its way out.
	replaceTimeout = 3 * time.Second
	// maxReplaced bounds the batches that wait for the workers. Beyond it, older
	// sessions stay until they end by themselves; no push goes to them any more.
	maxReplaced = 1024
)

// replace hands sessions that were displaced over to be closed.
func (l *Logic) replace(routes []cluster.Route) {
	if len(routes) == 0 {
		return
	}
	select {
	case l.replaced <- routes:
	default:
		l.m.replacedDropped.Add(len(routes))
	}
}

// closeReplaced is one worker; it ends with ctx.
func (l *Logic) closeReplaced(ctx context.Context) {
	for {
		select {
		case routes := <-l.replaced:
			if err := l.tellReplaced(ctx, routes); err != nil && ctx.Err() == nil {
				l.m.replacedErrors.Inc()
				l.replaceComplaint.warn(l.log, "close replaced sessions", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tellReplaced tells the gateways among routes whose lives still stand; with a
// dead life its sessions are gone.
func (l *Logic) tellReplaced(ctx context.Context, routes []cluster.Route) error {
	ctx, cancel := context.WithTimeout(ctx, replaceTimeout)
	defer cancel()
	named := map[life]bool{}
	var lives []life
	for i := range routes {
		if at := lifeOf(&routes[i]); !named[at] {
			named[at] = true
			lives = append(lives, at)
		}
	}
	if err := l.view.judge(ctx, lives); err != nil {
		return fmt.Errorf("find the gateways of replaced sessions: %w", err)
	}
	var nodes []cluster.Node
	for _, n := range l.view.nodes() {
		if named[life{n.ID, n.Epoch}] {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	l.m.replaced.Add(len(routes))
	return l.deps.Gateways.CloseReplaced(ctx, nodes, routes)
}
