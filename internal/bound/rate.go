package bound

import (
	"math"
	"sync/atomic"
	"time"
)

// Lanes is how many callers may take from a [Rate] without touching each other's
// memory.
const Lanes = 8

// Rate is a token bucket: burst tokens when full, and so many more each second. It is
// safe for concurrent use, never blocks and never allocates. A nil Rate has tokens for
// everybody.
//
// Each lane takes tokens from the bucket in handfuls and hands them out one by one, so
// that most takes are one addition to a word that nobody else writes, without a look
// at the clock. What lies in the lanes comes on top of the burst: an eighth of it at
// most. Buckets too small for that have no handfuls, and are exact.
type Rate struct {
	start    time.Time
	interval int64 // nanoseconds for one token
	room     int64 // of all tokens
	handful  int64

	full  atomic.Int64 // nanoseconds since start at which the bucket is full again
	lanes [Lanes]lane
}

type lane struct {
	left atomic.Int64
	_    [56]byte // a cache line of its own
}

// NewRate returns a full bucket; nil, which does not limit, when perSecond is not
// positive. A burst below 1 is 1.
func NewRate(perSecond float64, burst int) *Rate {
	if !(perSecond > 0) {
		return nil
	}
	const slowest = 24 * time.Hour // a token; and room must not overflow
	interval := int64(max(1, min(float64(slowest), float64(time.Second)/perSecond)))
	burst = min(max(burst, 1), int(math.MaxInt64/4/interval))
	r := &Rate{start: time.Now(), interval: interval, handful: min(64, max(1, int64(burst)/(8*Lanes)))}
	r.room = r.interval * int64(burst)
	return r
}

// Take takes one token, if there is one. Any lane will do; callers that run on
// different cores should come with different ones.
func (r *Rate) Take(lane int) bool {
	if r == nil {
		return true
	}
	if r.handful == 1 {
		return r.scoop(1) == 1
	}
	l := &r.lanes[lane&(Lanes-1)].left
	for {
		n := l.Load()
		if n == 0 {
			break
		}
		if l.CompareAndSwap(n, n-1) {
			return true
		}
	}
	n := r.scoop(r.handful)
	if n > 1 {
		l.Add(n - 1)
	}
	return n > 0
}

// scoop takes up to n tokens.
func (r *Rate) scoop(n int64) int64 {
	now := int64(time.Since(r.start))
	for {
		old := r.full.Load()
		from := max(old, now)
		got := min(n, (r.room-(from-now))/r.interval)
		if got <= 0 {
			return 0
		}
		if r.full.CompareAndSwap(old, from+got*r.interval) {
			return got
		}
	}
}
