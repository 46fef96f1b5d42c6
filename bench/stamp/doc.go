// Package stamp is what the harness writes into the messages it pushes, so that
// whoever receives one can tell where it belongs, in which order, and when it was
// due; and the bookkeeping of a receiver that finds what is lost, doubled,
// reordered or not its own.
//
// Messages to one target are numbered from 1 by each lane that sends to it. A lane
// sends one message after another, the next when the last was answered, so a server
// that keeps order keeps the order of a lane. Several lanes to one target have no
// order among them, and need none.
//
// A receiver keeps 24 bytes for each lane of each target it listens to (Track).
package stamp
