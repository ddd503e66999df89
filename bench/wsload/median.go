//go:build linux

package main

import (
	"slices"
	"time"
)

// percentiles are the 50th and 99th of microseconds. It sorts in place.
func percentiles(us []uint32) (p50, p99 float64) {
	if len(us) == 0 {
		return 0, 0
	}
	slices.Sort(us)
	at := func(p int) float64 { return float64(us[(len(us)*p+99)/100-1]) }
	return at(50), at(99)
}

// milliseconds with one decimal, for the raw results.
func milliseconds(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond)) / 1e6 }
