//go:build linux

package stat

import (
	"math"
	"testing"
)

func TestSlopeIsThePerConnectionCost(t *testing.T) {
	x := []float64{1000, 5000, 10000, 15000, 19000}
	y := make([]float64, len(x))
	for i := range x { // 14 MB and 830 B each, with a page of noise either way
		y[i] = 14e6 + 830*x[i] + float64(1-2*(i%2))*4096
	}
	if got := Slope(x, y); math.Abs(got-830) > 2 {
		t.Errorf("slope %v, want about 830", got)
	}
	for _, short := range [][]float64{nil, {1}, {3, 3}} {
		if got := Slope(short, short); got != 0 {
			t.Errorf("Slope(%v) = %v, want 0", short, got)
		}
	}
}

func TestDriftLooksAtTheLastTwoThirds(t *testing.T) {
	var x, y []float64
	for i := range 180 { // thirty minutes, every ten seconds
		x = append(x, float64(i*10))
		y = append(y, 100)
		if i < 60 {
			y[i] = float64(i) // warming up is nobody's leak
		}
	}
	if got := Drift(x, y); got != 0 {
		t.Errorf("flat after warming up: %v, want 0", got)
	}
	for i := 60; i < 180; i++ {
		y[i] = 100 + float64(i-60)/119*2
	}
	if got := Drift(x, y); math.Abs(got-0.0198) > 0.0005 {
		t.Errorf("2 %% growth is %v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}, {nil, 0}} {
		if got := Median(tt.in); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
