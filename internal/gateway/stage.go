package gateway

import (
	"fmt"
	"unique"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

// stage is one stage of one deployment: what a message or handshake runs on.
type stage struct {
	guard
	model     *model.Stage
	api       *api
	variables []byte                // JSON, for events
	domain    unique.Handle[string] // of connections that did not use a custom domain
	rate      *bound.Rate           // nil: no limit
	access    *accessLog            // nil: none
	tally     *tally
	all       settings   // of every route that routes does not name
	routes    []settings // by route.index; nil: all are alike
}

// settings are what a stage says about one route.
type settings struct {
	model model.RouteSettings
	rate  *bound.Rate // nil: no limit of its own
	trace bool        // bodies are logged
	tally *tally      // nil: none of its own
}

// of returns the settings of a route; nil is the route of messages that no route takes.
func (st *stage) of(rt *route) *settings {
	if rt == nil || st.routes == nil {
		return &st.all
	}
	return &st.routes[rt.index]
}

// compileStage reads a stage. before is the same stage of the last deployment: its
// buckets stay as full as they are, or a reload would forgive everything.
func (g *Gateway) compileStage(app *model.App, a *api, m *model.Stage, before *stage) *stage {
	st := &stage{
		model: m, api: a, variables: event.StageVariables(m.Variables), domain: unique.Make(app.ExecuteAPIHost(a.model)),
		tally: g.tallyOf(tallyKey{a.model.ID, m.Name, ""}),
		rate:  bucket(m.Default),
		all:   settings{model: m.Default, trace: traces(m.Default)},
	}
	if before != nil && before.model.Default.Rate == m.Default.Rate && before.model.Default.Burst == m.Default.Burst {
		st.rate = before.rate
	}
	if g.cfg.AccessLog != nil && m.AccessLogFormat != "" {
		st.access = compileAccessLog(m.AccessLogFormat)
	}
	st.guard = g.compileGuard(app, a, m)
	if len(m.Routes) == 0 && !m.Default.Metrics {
		return st
	}
	st.routes = make([]settings, len(a.all))
	for _, rt := range a.all {
		own, named := m.Routes[rt.model.Key]
		if !named {
			own = m.Default
		}
		s := settings{model: own, trace: traces(own)}
		if named {
			s.rate = keptBucket(own, rt.model.Key, before)
		}
		if own.Metrics {
			s.tally = g.tallyOf(tallyKey{a.model.ID, m.Name, rt.model.Key})
		}
		st.routes[rt.index] = s
	}
	return st
}

// keptBucket is the bucket that a route had before, if its limits are the same.
func keptBucket(own model.RouteSettings, key string, before *stage) *bound.Rate {
	if before != nil && before.routes != nil {
		if rt := before.api.find(key); rt != nil {
			if old := before.of(rt); old.rate != nil && old.model.Rate == own.Rate && old.model.Burst == own.Burst {
				return old.rate
			}
		}
	}
	return bucket(own)
}

// traces: bodies are logged only where the level says that there are logs at all.
func traces(m model.RouteSettings) bool {
	return m.DataTrace && (m.LoggingLevel == "INFO" || m.LoggingLevel == "ERROR")
}

// waits reports whether a handshake takes time: somebody must be asked, $connect
// calls somebody, or the journal must be on disk first.
func (st *stage) waits(journal bool) bool {
	connect, end := st.api.connect, st.api.disconnect
	return st.guard.waits() ||
		connect != nil && connect.model.Integration != nil && !connect.plan.Instant() ||
		journal && end != nil && end.model.Integration != nil
}

func (st *stage) String() string {
	return fmt.Sprintf("stage %s of API %s", st.model.Name, st.api.model.LogicalID)
}
