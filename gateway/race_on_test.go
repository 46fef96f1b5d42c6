//go:build race

package gateway

// raceEnabled says that the tests run with the race detector.
const raceEnabled = true
