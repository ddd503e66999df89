// Package clock is the one source of deadlines: idle, lifetime, time-outs,
// retries. A scaled clock compresses every duration by the same factor, so that
// `--time-scale 3600` shows a two-hour limit in two seconds while time stamps
// in events and signatures stay true.
//
// Only durations are scaled. Scaling Now as well would break SigV4 (±5 min skew)
// and TTL attributes that functions compute from their own clock.
//
// The zero Clock runs at true speed. Tests use testing/synctest, inside which
// the time package itself is virtual; nothing here needs a fake.
package clock

import (
	"context"
	"time"
)

// Clock scales durations. The zero value does not scale.
type Clock struct {
	scale float64 // 0 means 1
}

// Scaled returns a clock on which d takes d/factor. Factor must be at least 1;
// smaller values count as 1.
func Scaled(factor float64) Clock { return Clock{scale: max(factor, 1)} }

// Now is the true wall-clock time.
func (c Clock) Now() time.Time { return time.Now() }

// Real is how long d really takes on this clock. A positive d never becomes 0.
func (c Clock) Real(d time.Duration) time.Duration {
	if c.scale <= 1 || d <= 0 {
		return d
	}
	return max(time.Duration(float64(d)/c.scale), 1)
}

// AfterFunc runs f in its own goroutine after d on this clock.
func (c Clock) AfterFunc(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(c.Real(d), f)
}

// NewTimer fires once after d on this clock.
func (c Clock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(c.Real(d)) }

// WithTimeout is context.WithTimeout on this clock.
func (c Clock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.Real(d))
}
