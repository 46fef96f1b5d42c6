//go:build !race

package bench

// raceEnabled says that the tests run with the race detector.
const raceEnabled = false
