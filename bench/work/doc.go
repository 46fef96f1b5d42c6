// Package work is the processes of the harness: one process may open only so many
// files, and what is measured must not wait for what measures. A run has one
// coordinator and workers, which it starts: itself again (halley bench worker), or
// any command that starts a worker elsewhere, as "ssh client2 halley bench worker".
//
// A worker takes commands on stdin, one JSON value each, and answers each with one
// on stdout, in order. Commands are short: what takes time is begun by one and asked
// after by another. A worker ends when its stdin does, so a coordinator that dies
// leaves none behind.
//
// All processes of a run have one clock, which counts from the run's begin (Clock).
// On one machine it is the kernel's; a worker elsewhere is asked for its time again
// and again, and the answer that took least tells how far it is off (Sync).
package work
