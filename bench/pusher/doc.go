// Package pusher is the business system of the harness: it pushes messages through the
// REST API of a server, goim's or im-cloud's, and keeps account of what was accepted.
//
// A flow is messages of one kind, sent by a number of lanes, each with a connection
// of its own and one message at a time. With a rate the loop is open: message k is due
// at a time that is known before the flow begins, and stamped with it, so a server that
// answers late finds the next messages late too, and their latency shows it. Without a
// rate it is closed: a lane sends the next message when the last was answered, as ab
// and wrk do.
//
// A message whose target several lanes send to is numbered by its lane (package
// stamp). What becomes of each is known or not: accepted, refused, or unknown when the
// answer did not come or does not tell.
package pusher
