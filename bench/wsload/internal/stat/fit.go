//go:build linux

package stat

import "slices"

// Slope is the least-squares slope of y over x; 0 with fewer than two points.
func Slope(x, y []float64) float64 {
	n := float64(len(x))
	if len(x) < 2 || len(x) != len(y) {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	d := n*sxx - sx*sx
	if d == 0 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// Drift is how much y grows over the last two thirds of the samples, along their
// least-squares line, as a share of its mean there: 0.01 is 1 %.
func Drift(x, y []float64) float64 {
	from := len(x) / 3
	x, y = x[from:], y[from:]
	if len(x) < 2 {
		return 0
	}
	var mean float64
	for _, v := range y {
		mean += v / float64(len(y))
	}
	if mean == 0 {
		return 0
	}
	return Slope(x, y) * (x[len(x)-1] - x[0]) / mean
}

// Median of values; 0 without any.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
