// Package rest is the public REST API of a logic node, on fasthttp: goim's routes
// under /goim, im-cloud's under /im, and ours under /v1. It owns no state but
// counters; every handler reads its parameters, calls one method of logic.Logic,
// and words the answer in the dialect of its route.
//
// Existing callers must not notice a difference: /goim answers what goim's gin
// answers, byte for byte, with its validation messages, its redirects of trailing
// slashes and its 404s (gin.go); /im answers what im-cloud's PHP answers (im.go).
// Only headers are added. The golden files in testdata show each answer.
//
// The life of a push: the handler checks it, appends it to the node's log through
// Logic.Push and answers. Only when fasthttp has flushed the answer does it close
// the request's user values, and the one put there by accept hands over: it wakes
// the pump and does nothing else, since the next request of that connection waits
// for it. With ack=queued the answer waits for the queue instead.
//
// The package refuses what could not be delivered or would reach into the names
// of another app, never trusts a length, and answers a panic with an empty 500.
// Listeners, time limits and sizes of requests are the server's (pkg/rpc); it must
// not parse multipart bodies ahead (DisablePreParseMultipartForm), because goim's
// pushes are raw bytes whatever their Content-Type.
package rest
