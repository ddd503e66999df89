package authz

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// meterKey names a counter. It outlives deployments, so that a reload gives nobody a
// new allowance.
type meterKey struct{ plan, key, route string }

// meter is what a key has used. Both counters are single words, changed by compare and
// swap: messages of one key on many connections never wait for each other.
type meter struct {
	created time.Time // static
	// arrival is when the bucket will be full again, in Unix nanoseconds (the generic
	// cell rate algorithm: a token bucket in one word).
	arrival atomic.Int64
	// used is a period in the upper 24 bits and its count in the lower 40.
	used atomic.Uint64
}

func (g *Guard) meter(key meterKey) *meter {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meters[key]
	if m == nil {
		m = &meter{created: g.cfg.Now()}
		g.meters[key] = m
	}
	return m
}

// limit is a token bucket: one token every interval, at most depth of them at once.
type limit struct {
	interval int64 // nanoseconds; 0: no limit
	depth    int64 // nanoseconds
}

// newLimit: a rate without a burst has one of a second's worth, and a burst without a
// rate is never refilled.
func newLimit(t model.Throttle) limit {
	if t.Rate <= 0 && t.Burst <= 0 {
		return limit{}
	}
	burst := int64(t.Burst)
	if burst <= 0 {
		burst = int64(math.Max(1, math.Ceil(math.Min(t.Rate, math.MaxInt32))))
	}
	// With this bound no sum below overflows; it is 36 years for the whole bucket.
	longest := int64(1<<60) / burst
	interval := longest
	if t.Rate > 0 {
		interval = int64(math.Max(1, math.Min(float64(time.Second)/t.Rate, float64(longest))))
	}
	return limit{interval: interval, depth: interval * burst}
}

func (m *meter) take(l limit, now int64) bool {
	if l.interval == 0 {
		return true
	}
	for {
		old := m.arrival.Load()
		// A deployment with a smaller bucket must not wait for what the larger one owed.
		next := max(min(old, now+l.depth), now) + l.interval
		if next-now > l.depth {
			return false
		}
		if m.arrival.CompareAndSwap(old, next) {
			return true
		}
	}
}

// quota is a number of requests in a calendar period, UTC.
type quota struct {
	limit, offset int64
	period        string
	first         uint64 // the period that offset is taken off
}

const (
	countBits = 40
	countMask = 1<<countBits - 1
)

func newQuota(q model.Quota, created time.Time) quota {
	out := quota{limit: min(q.Limit, countMask), offset: q.Offset, period: q.Period}
	out.first = out.number(created)
	return out
}

// number numbers the periods: days, weeks that begin on Sunday, months.
func (q *quota) number(t time.Time) uint64 {
	t = t.UTC()
	days := t.Unix() / (24 * 60 * 60)
	switch q.period {
	case "MONTH":
		return uint64(t.Year()*12 + int(t.Month()))
	case "WEEK":
		return uint64(days+4) / 7 // 1970-01-01 was a Thursday
	}
	return uint64(days)
}

func (m *meter) count(q *quota, now time.Time) bool {
	if q.limit <= 0 {
		return true
	}
	period := q.number(now)
	most := q.limit
	if period == q.first {
		most -= q.offset
	}
	for {
		old := m.used.Load()
		n := int64(old & countMask)
		if old>>countBits != period {
			n = 0
		}
		if n >= most {
			return false
		}
		if m.used.CompareAndSwap(old, period<<countBits|uint64(n+1)) {
			return true
		}
	}
}
