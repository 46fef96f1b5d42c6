package cluster

import (
	"errors"
	"time"
)

const (
	// LeaseTTL is how long a lease stands without renewal: five renewals may
	// fail, and a dead node is no longer addressed within 6 s.
	LeaseTTL = 5 * time.Second
	// RenewEvery is how often a node renews.
	RenewEvery = time.Second
)

// ErrFenced says that a newer life of the same node id holds the lease.
var ErrFenced = errors.New("another process has taken over this node id")
