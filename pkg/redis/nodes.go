package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halley-im/halley/pkg/cluster"
)

const (
	// leaseKept is how long an ended lease is kept for people to look at.
	leaseKept = time.Hour
	// epochKept is how long the epoch of a node that does not renew is kept, so
	// that a fleet whose node ids never come back does not fill Redis. A new
	// life begins above a forgotten epoch unless the clock goes back that far.
	epochKept = 30 * 24 * time.Hour
)

func (c *Client) epochsName() string { return c.name("{nodes}", "epochs") }
func (c *Client) leasesName() string { return c.name("{nodes}", "leases") }
func (c *Client) infosName() string  { return c.name("{nodes}", "infos") }

// Renew stores a node's lease; see logic.Nodes.
func (c *Client) Renew(ctx context.Context, n cluster.Node) (cluster.Epoch, error) {
	info, err := json.Marshal(n)
	if err != nil {
		return 0, fmt.Errorf("renew the lease of %s: %w", n.ID, err)
	}
	epoch, err := renew.Run(ctx, c.rdb, []string{c.epochsName(), c.leasesName(), c.infosName()},
		n.ID, uint64(n.Epoch), info, cluster.LeaseTTL.Milliseconds(),
		leaseKept.Milliseconds(), epochKept.Microseconds()).Uint64()
	if err != nil {
		return 0, fmt.Errorf("renew the lease of %s: %w", n.ID, err)
	}
	if epoch == 0 {
		return 0, cluster.ErrFenced
	}
	return cluster.Epoch(epoch), nil
}

// Leave ends a lease; see logic.Nodes.
func (c *Client) Leave(ctx context.Context, id string, epoch cluster.Epoch) error {
	err := leave.Run(ctx, c.rdb, []string{c.leasesName(), c.infosName()}, id, uint64(epoch)).Err()
	if err != nil {
		return fmt.Errorf("end the lease of %s: %w", id, err)
	}
	return nil
}

// List returns the nodes whose leases stand by the clock of Redis; see
// logic.Nodes.
func (c *Client) List(ctx context.Context, role cluster.Role) ([]cluster.Node, error) {
	infos, err := list.Run(ctx, c.rdb, []string{c.leasesName(), c.infosName()}).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var out []cluster.Node
	for _, info := range infos {
		n, err := parseInfo(info)
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		if n.Role == role {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b cluster.Node) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// parseInfo reads "epoch renewed json". The numbers are Redis' own: the JSON was
// written before they were known.
func parseInfo(info string) (cluster.Node, error) {
	epoch, rest, _ := strings.Cut(info, " ")
	renewed, body, _ := strings.Cut(rest, " ")
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	at, err2 := strconv.ParseInt(renewed, 10, 64)
	var n cluster.Node
	err3 := json.Unmarshal([]byte(body), &n)
	if err1 != nil || err2 != nil || err3 != nil {
		return cluster.Node{}, fmt.Errorf("node info %.100q: %w", info, errMalformed)
	}
	n.Epoch, n.Renewed = cluster.Epoch(e), at
	return n, nil
}
