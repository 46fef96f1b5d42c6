// Package rpc is the contracts between roles: for each, the types, the client
// and the HTTP handler stand together.
//
// There are two kinds of link. Calls (connect, disconnect, renew, close, drain) are
// HTTP/1.1 with JSON bodies on long-lived connections, batched by the caller; drain
// is also for operators, by hand.
// Deliveries are one framed TCP stream per job and gateway, opened by an HTTP
// Upgrade on the gateway's internal address (delivery.go).
//
// Both carry cluster.Version and the cluster secret. In one process none of
// this is used: the roles call each other directly through the same interfaces.
package rpc
