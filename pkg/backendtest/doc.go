// Package backendtest holds the suites that every backend must pass: pkg/memory
// and the real Redis and Kafka alike. A fake of a server would prove nothing
// about the server, and a suite of its own would let the embedded topology drift
// from the split one.
//
// Each suite is a function that takes a constructor: Registry, RegistryModel,
// Nodes, Rooms and Locks for what logic and job keep in the registry, Queue for
// what runs between them. The contracts are the comments of the interfaces in
// logic/deps.go, job/deps.go and pkg/push; backends may not import the roles, so
// their method sets are repeated here, and wire.go proves that they fit.
//
// RegistryModel compares a registry with a map while random operations run on
// both, the same ones for the same seed. BenchRegistry is what the figures in
// the backends' docs come from.
//
// The suites wait with testkit.Eventually and assert no durations; a lease is
// waited for as long as it lasts.
package backendtest
