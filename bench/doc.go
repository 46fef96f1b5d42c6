// Package bench is halley bench, a load generator for push gateways. It speaks only
// the public protocol and the public REST API, goim's, so that the same command measures
// halley and goim.
//
// A run is a coordinator, this process, and workers (bench/work): processes of clients
// (bench/swarm), one that pushes (bench/pusher), and for comparison the bare write loop
// (bench/floor). The coordinator opens the clients, begins flows of pushes, lets them
// warm up, measures for a window of time, stops, and waits until what was accepted has
// arrived or has not for too long. Every message says where it belongs and when it was
// due (bench/stamp), and every client checks every message: what is lost, doubled,
// reordered, misdelivered or corrupt makes the run fail, as does a connection that ends.
//
// Pushes are an open loop unless said otherwise: they are due at times that were set
// before, and latency counts from then, whether or not the server kept up. Latencies
// and rates are those of messages that were due within the window.
//
// Servers are looked at from outside, by --server-pid: their CPU time, memory and count
// of write calls from /proc. What the harness itself takes is in the result too: where
// it was the bottleneck, the result says so.
//
//	command   what is shown
//	connect   how fast clients get in, what a connection costs, that a push reaches all
//	storm     how fast all are back after all were cut off at once
//	fanout    messages to the members of rooms, at a rate
//	latency   the same, few and one by one; bystanders of a crowd, readers among stalled ones
//	push      REST calls, as many as the server takes or at a rate, each one delivered
//	mixed     all of that together, for long
//	floor     a push's cost beside a bare loop of write(2)
//	report    results as tables and charts
package bench
