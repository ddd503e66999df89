//go:build linux

// Package stat holds the counting parts of the load generator: a latency
// histogram with a bounded relative error, a sequence tracker that tells lost,
// duplicated and reordered messages apart, and the tiny record that travels
// inside every payload.
package stat

import "math/bits"

// subBits fixes the resolution: every power of two is cut in 1<<subBits equal
// slices, so a reported value is at most 1/128 (0.8 %) above the true one.
const (
	subBits = 7
	subN    = 1 << subBits
	rows    = 64 - subBits
)

// Hist is a log-linear histogram of non-negative int64 values (nanoseconds).
// It is not safe for concurrent use: keep one per thread and Merge.
type Hist struct {
	n    uint64
	sum  float64
	min  int64
	max  int64
	slot [(rows + 1) * subN]uint64
}

func slotOf(v int64) int {
	u := uint64(v)
	if u < subN {
		return int(u)
	}
	shift := bits.Len64(u) - subBits - 1
	return (shift+1)<<subBits + int(u>>uint(shift)) - subN
}

// upper returns the greatest value that falls in slot i.
func upper(i int) int64 {
	if i < subN {
		return int64(i)
	}
	shift := uint(i>>subBits) - 1
	base := uint64(i&(subN-1)) + subN
	return int64((base+1)<<shift - 1)
}

// Add records one value; negative values count as zero.
func (h *Hist) Add(v int64) {
	if v < 0 {
		v = 0
	}
	if h.n == 0 || v < h.min {
		h.min = v
	}
	if v > h.max {
		h.max = v
	}
	h.n++
	h.sum += float64(v)
	h.slot[slotOf(v)]++
}

// Merge adds all of o's values to h.
func (h *Hist) Merge(o *Hist) {
	if o.n == 0 {
		return
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	if o.max > h.max {
		h.max = o.max
	}
	h.n += o.n
	h.sum += o.sum
	for i, c := range o.slot {
		h.slot[i] += c
	}
}

// Reset forgets everything.
func (h *Hist) Reset() { *h = Hist{} }

// Count, Max and Mean describe what was recorded.
func (h *Hist) Count() uint64 { return h.n }
func (h *Hist) Max() int64    { return h.max }
func (h *Hist) Min() int64    { return h.min }
func (h *Hist) Mean() float64 {
	if h.n == 0 {
		return 0
	}
	return h.sum / float64(h.n)
}

// Quantile returns the smallest recorded-slot bound v such that at least
// ceil(q*n) values are <= v (nearest-rank), never above the maximum seen.
func (h *Hist) Quantile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	if q <= 0 {
		return h.min
	}
	want := uint64(q * float64(h.n))
	if float64(want) < q*float64(h.n) {
		want++
	}
	if want > h.n {
		want = h.n
	}
	var seen uint64
	for i, c := range h.slot {
		seen += c
		if seen >= want && c > 0 {
			if u := upper(i); u < h.max {
				return u
			}
			return h.max
		}
	}
	return h.max
}
