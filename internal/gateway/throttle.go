package gateway

import (
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

// Throttling (Developer Guide, "Protect your WebSocket APIs"). The narrowest bucket is
// asked first, so that a route over its own limit does not use up the others' share:
// route, stage, account. On AWS it is best effort, and so it is here: see bound.Rate.

// bucket makes the bucket of a stage or a route. Half a setting is completed by the
// account's, as on AWS.
func bucket(m model.RouteSettings) *bound.Rate {
	if m.Rate <= 0 && m.Burst <= 0 {
		return nil
	}
	account := AWSLimits().Requests
	rate, burst := m.Rate, m.Burst
	if rate <= 0 {
		rate = account.Rate
	}
	if burst <= 0 {
		burst = account.Burst
	}
	return bound.NewRate(rate, burst)
}

// take asks for room for one request.
func (g *Gateway) take(st *stage, rt *route, lane int) bool {
	return st.of(rt).rate.Take(lane) && st.rate.Take(lane) && g.requests.Take(lane)
}

// Take takes one request from the account's throttle, for calls of @connections, which
// are a part of it. Lanes are those of package bound. It does not block.
func (g *Gateway) Take(lane int) bool { return g.requests.Take(lane) }

// strikes counts a connection's throttled messages within a second. It is guarded by
// the session's mu.
type strikes struct {
	second int64
	n      int
}

// throttled answers a message that is over a limit, and ends a connection that does
// not listen: a client that ignores a hundred such answers in a second would be
// answered for ever. Which messages AWS answers before it closes is not known
// (reference, Appendix B, B5).
func (s *session) throttled(j *job) {
	g := s.slot.g
	n := s.stats()
	n.throttled.Add(1)
	s.tally(j, func(t *laneTally) { t.clientErrors.Add(1) })
	if g.verbose {
		g.log("warn", j.id(), "a message of %s for route %s is over a limit: Too Many Requests", s.entry.ID(), j.key())
	}
	s.send(errorFrame(textThrottled, s.entry.ID().String(), j.id()))
	if j.stage.access != nil {
		s.access(j, event.Outcome{Status: 429, Error: event.Failure{Message: textThrottled, ResponseType: "THROTTLED"}})
	}
	s.strike()
}

// strike counts a throttled message against its connection, whoever throttled it.
func (s *session) strike() {
	most := s.slot.g.limits.Strikes
	if most <= 0 {
		return
	}
	e := s.extra.Load()
	if e == nil || e.strikes == nil {
		e = s.amend(func(e *extra) {
			if e.strikes == nil {
				e.strikes = &strikes{}
			}
		})
	}
	now := time.Now().Unix()
	s.mu.Lock()
	if e.strikes.second != now {
		e.strikes.second, e.strikes.n = now, 0
	}
	e.strikes.n++
	out := e.strikes.n == most
	s.mu.Unlock()
	if out {
		s.link().Close(policyViolation, textThrottled)
	}
}
