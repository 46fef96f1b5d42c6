// Package testkit is what tests share: waiting for a condition, real test
// servers, leak checks, and a goim client that speaks the wire protocol.
package testkit
