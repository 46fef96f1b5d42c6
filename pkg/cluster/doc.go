// Package cluster names the parts of a running system: nodes, the epochs of
// their lives, and the routes that say on which node a client key is held.
//
// It holds plain values only. Who stores them (pkg/memory, pkg/redis) and who
// decides over them (logic, job) are other packages.
package cluster
