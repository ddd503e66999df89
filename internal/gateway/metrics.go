package gateway

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Metric is what CloudWatch would count for a stage, or for one of its routes where
// DetailedMetricsEnabled asks for that (Developer Guide, "Monitor WebSocket API
// execution with CloudWatch metrics"). All values only grow.
type Metric struct {
	APIID, Stage string
	Route        string // "" for the whole stage

	ConnectCount     int64 // calls of the $connect integration
	MessageCount     int64 // messages from clients and to them, those of @connections not included
	IntegrationError int64 // integrations that answered with an error
	ClientError      int64 // requests refused before the integration
	ExecutionError   int64 // integrations that could not be called, or not in time
	// IntegrationLatency is the sum over IntegrationCount calls of integrations; what is
	// answered in place (MOCK, channels) has none.
	IntegrationLatency time.Duration
	IntegrationCount   int64
}

// Metrics returns the counters now, by API, stage and route. A stage that is gone
// keeps its counters.
func (g *Gateway) Metrics() []Metric {
	g.counting.Lock()
	defer g.counting.Unlock()
	out := make([]Metric, 0, len(g.tallies))
	for key, t := range g.tallies {
		m := Metric{APIID: key.api, Stage: key.stage, Route: key.route}
		for i := range t.lanes {
			l := &t.lanes[i]
			m.ConnectCount += l.connects.Load()
			m.MessageCount += l.messages.Load()
			m.IntegrationError += l.integrationErrors.Load()
			m.ClientError += l.clientErrors.Load()
			m.ExecutionError += l.executionErrors.Load()
			m.IntegrationLatency += time.Duration(l.latency.Load())
			m.IntegrationCount += l.calls.Load()
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Metric) int {
		return cmp.Or(cmp.Compare(a.APIID, b.APIID), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Route, b.Route))
	})
	return out
}

type tallyKey struct{ api, stage, route string }

// tally are the counters of a stage or a route, spread like those of the gateway.
type tally struct{ lanes [stripes]laneTally }

// laneTally is one cache line.
type laneTally struct {
	connects, messages, integrationErrors, clientErrors, executionErrors, latency, calls atomic.Int64
	_                                                                                    [8]byte
}

// tallyOf returns the counters under a key, made on first use.
func (g *Gateway) tallyOf(key tallyKey) *tally {
	g.counting.Lock()
	defer g.counting.Unlock()
	t := g.tallies[key]
	if t == nil {
		t = &tally{}
		g.tallies[key] = t
	}
	return t
}

// count adds to the counters of a stage and of a route that has its own.
func (st *stage) count(rt *route, lane int, add func(*laneTally)) {
	lane &= stripes - 1
	add(&st.tally.lanes[lane])
	if own := st.of(rt).tally; own != nil {
		add(&own.lanes[lane])
	}
}

// tally counts something about a message.
func (s *session) tally(j *job, add func(*laneTally)) { j.stage.count(j.route, s.link().Shard(), add) }

// failed sorts a failure of an integration under the name that CloudWatch has for it.
func failed(err error) func(*laneTally) {
	switch fault.KindOf(err) {
	case fault.Upstream, fault.TooLarge:
		return func(t *laneTally) { t.integrationErrors.Add(1) }
	case fault.BadRequest:
		return func(t *laneTally) { t.clientErrors.Add(1) }
	}
	return func(t *laneTally) { t.executionErrors.Add(1) }
}

// called counts a call of an integration. A route without target, and one answered in
// place, call nobody.
func (st *stage) called(rt *route, lane int, took time.Duration) {
	if rt.model.Integration == nil || rt.model.Integration.Type == model.Mock {
		return
	}
	st.count(rt, lane, func(t *laneTally) {
		t.latency.Add(int64(took))
		t.calls.Add(1)
	})
}
