package gateway

import (
	"fmt"
	"sync/atomic"
	"unique"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/selection"
)

// deployment is one compiled application. Immutable once current.
type deployment struct {
	app   *model.App
	slots map[slotKey]*slot
}

type slotKey struct{ api, stage string }

// stage is one stage of one deployment: what a message or handshake runs on.
type stage struct {
	model     *model.Stage
	api       *api
	variables []byte                // JSON, for events
	domain    unique.Handle[string] // of connections that did not use a custom domain
}

// waits reports whether a handshake takes time: $connect calls somebody, or the
// journal must be on disk first.
func (st *stage) waits(journal bool) bool {
	connect, end := st.api.connect, st.api.disconnect
	return connect != nil && connect.model.Integration != nil && !connect.plan.Instant() ||
		journal && end != nil && end.model.Integration != nil
}

// api is a compiled API.
type api struct {
	model      *model.API
	selection  *selection.Expr
	routes     map[string]*route // message routes by key, $default excluded
	connect    *route            // nil: none
	disconnect *route
	fallback   *route // $default
}

type route struct {
	model   *model.Route
	plan    *integration.Plan
	channel *channel // nil: none
	// unbuilt is why a message route may not run although its integration could:
	// something that guards it is not built yet. "" when it may.
	unbuilt string
}

// instant reports whether a message on this route is answered without waiting.
func (r *route) instant() bool { return r == nil || r.unbuilt != "" || r.plan.Instant() }

// slot is where connections of a stage hang. It outlives deployments: a reload
// replaces what is in it, so that open connections find the new one, and a
// removed stage leaves its last deployment behind for their $disconnect.
type slot struct {
	g        *Gateway
	scope    registry.Scope
	channels Channels // nil without Config.Channels

	current atomic.Pointer[stage]
	removed atomic.Bool // no more connections
}

func (g *Gateway) newSlot(key slotKey) *slot {
	s := &slot{g: g, scope: registry.Scope{APIID: key.api, Stage: key.stage}}
	if g.cfg.Channels != nil {
		s.channels = g.cfg.Channels(key.api, key.stage)
	}
	return s
}

// shut closes every connection of a slot and lets no more in: one that is not in
// the registry with its link yet will find the slot removed.
func (s *slot) shut() int {
	s.removed.Store(true)
	return s.g.cfg.Registry.Close(s.scope.APIID, s.scope.Stage, goingAway, goingAwayReason)
}

// Deploy makes an application the one that is served. It fails, and changes
// nothing, when an API's route selection expression does not compile.
func (g *Gateway) Deploy(app *model.App) error {
	g.deploying.Lock()
	defer g.deploying.Unlock()
	stages := make(map[slotKey]*stage)
	for _, m := range app.APIs {
		a, err := g.compileAPI(m)
		if err != nil {
			return err
		}
		g.announce(a)
		for _, s := range m.Stages {
			stages[slotKey{m.ID, s.Name}] = &stage{
				model: s, api: a, variables: event.StageVariables(s.Variables), domain: unique.Make(app.ExecuteAPIHost(m)),
			}
		}
	}
	next := &deployment{app: app, slots: make(map[slotKey]*slot, len(stages))}
	old := g.current.Load()
	for key, st := range stages {
		var s *slot
		if old != nil {
			s = old.slots[key]
		}
		if s == nil {
			s = g.newSlot(key)
		}
		s.current.Store(st)
		next.slots[key] = s
	}
	g.current.Store(next)
	g.mu.Lock()
	draining := g.draining
	g.mu.Unlock()
	if draining { // Drain saw the old slots only
		for _, s := range next.slots {
			s.shut()
		}
	}
	if old != nil {
		for key, s := range old.slots {
			if next.slots[key] == nil {
				if n := s.shut(); n > 0 {
					g.log("info", "", "stage %s of API %s is gone: %d connections closed with 1001", key.stage, key.api, n)
				}
			}
		}
	}
	return nil
}

func (g *Gateway) compileAPI(m *model.API) (a *api, err error) {
	defer fault.Wrap(&err, "API %s", m.LogicalID)
	a = &api{model: m, routes: make(map[string]*route)}
	if a.selection, err = selection.Compile(m.RouteSelectionExpression); err != nil {
		return nil, err
	}
	for _, rm := range m.Routes {
		r := &route{model: rm, plan: integration.Compile(rm.Integration)}
		if rm.ModelSelectionExpression != "" {
			r.unbuilt = "message validation (ModelSelectionExpression) is not supported yet, so messages are refused rather than let through unchecked"
		}
		if r.channel, err = compileChannel(rm.Channel); err != nil {
			return nil, fmt.Errorf("route %s: %w", rm.Key, err)
		}
		if r.channel != nil && g.cfg.Channels == nil {
			r.unbuilt = "channels are not served here"
		}
		switch rm.Key {
		case model.RouteConnect:
			a.connect = r
		case model.RouteDisconnect:
			a.disconnect = r
		case model.RouteDefault:
			a.fallback = r
		default:
			a.routes[rm.Key] = r
		}
	}
	return a, nil
}

// announce logs what of an API cannot run, once per deployment.
func (g *Gateway) announce(a *api) {
	for _, m := range a.model.Routes {
		r := a.find(m.Key)
		if why := denied(m); why != "" && m.Key == model.RouteConnect {
			g.log("warn", "", "API %s, route %s: %s", a.model.LogicalID, m.Key, why)
		}
		if r.model.Integration != nil && r.plan.Err() != nil {
			g.log("warn", "", "API %s, route %s: %s", a.model.LogicalID, m.Key, fault.Message(r.plan.Err()))
		}
		if r.unbuilt != "" && m.Key != model.RouteConnect && m.Key != model.RouteDisconnect {
			g.log("warn", "", "API %s, route %s: %s", a.model.LogicalID, m.Key, r.unbuilt)
		}
	}
}

func (a *api) find(key string) *route {
	switch key {
	case model.RouteConnect:
		return a.connect
	case model.RouteDisconnect:
		return a.disconnect
	case model.RouteDefault:
		return a.fallback
	}
	return a.routes[key]
}

// denied says why a route's access control cannot be honoured; "" when it has none.
func denied(m *model.Route) string {
	switch {
	case m.AuthorizationType != "" && m.AuthorizationType != "NONE":
		return fmt.Sprintf("AuthorizationType %s is not supported yet, so handshakes are refused rather than let through", m.AuthorizationType)
	case m.APIKeyRequired:
		return "ApiKeyRequired is not supported yet, so handshakes are refused rather than let through"
	}
	return ""
}

// scratch is what selecting a route or naming a channel needs; pooled so that it
// costs no allocation.
type scratch struct {
	vars selection.Vars
	key  []byte

	// set while a channel is named
	session *session
	stage   *stage
	route   *route
}

func (g *Gateway) scratch() *scratch {
	if sc, ok := g.scratches.Get().(*scratch); ok {
		return sc
	}
	sc := &scratch{key: make([]byte, 0, 128)}
	sc.vars.Context = sc.variable
	return sc
}

func (g *Gateway) putScratch(sc *scratch, key []byte) {
	sc.key, sc.vars.Body = key[:0], nil
	sc.session, sc.stage, sc.route = nil, nil, nil
	if cap(sc.key) <= 1024 {
		g.scratches.Put(sc)
	}
}

// choose selects the route of a message: the exact key, else $default, else nil.
// A message cannot name $connect or $disconnect: those keys are not in routes.
func (g *Gateway) choose(a *api, body []byte) *route {
	sc := g.scratch()
	sc.vars.Body = body
	key, ok := a.selection.Append(sc.key[:0], &sc.vars)
	r := a.fallback
	if ok {
		if exact := a.routes[string(key)]; exact != nil {
			r = exact
		}
	}
	g.putScratch(sc, key)
	return r
}
