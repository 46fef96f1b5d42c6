// Package push is what travels between the roles: the Message a producer asked
// for, the Batch one gateway gets, and the contracts of the queue and of the
// delivery stream they travel over.
//
// A Message keeps its ID from the log that accepted it to the socket it is
// written to; every repeat on the way (a producer's retry, a pump that ran
// twice, a job that took over) is recognised by it.
//
// On the queue a Message is goim's protobuf PushMsg with additional fields, so
// that halley's job understands goim's logic and the other way round (codec.go).
package push
