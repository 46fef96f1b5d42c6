//go:build race

package tlsloop

// raceEnabled: what is measured of memory is not what it is.
const raceEnabled = true
