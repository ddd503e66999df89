package gateway

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
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
	variables []byte // JSON, for events
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
	model *model.Route
	plan  *integration.Plan
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
	current atomic.Pointer[stage]

	// guarded by mu
	mu      sync.Mutex
	first   *session // open connections, linked through session.next
	removed bool     // no more connections
}

// Deploy makes an application the one that is served. It fails, and changes
// nothing, when an API's route selection expression does not compile.
func (g *Gateway) Deploy(app *model.App) error {
	g.deploying.Lock()
	defer g.deploying.Unlock()
	stages := make(map[slotKey]*stage)
	for _, m := range app.APIs {
		a, err := compileAPI(m)
		if err != nil {
			return err
		}
		g.announce(a)
		for _, s := range m.Stages {
			stages[slotKey{m.ID, s.Name}] = &stage{model: s, api: a, variables: event.StageVariables(s.Variables)}
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
			s = &slot{}
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

func compileAPI(m *model.API) (a *api, err error) {
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

// scratch is what selecting a route needs; pooled so that it costs no allocation.
type scratch struct {
	vars selection.Vars
	key  []byte
}

// choose selects the route of a message: the exact key, else $default, else nil.
// A message cannot name $connect or $disconnect: those keys are not in routes.
func (g *Gateway) choose(a *api, body []byte) *route {
	s, _ := g.scratches.Get().(*scratch)
	if s == nil {
		s = &scratch{key: make([]byte, 0, 128)}
	}
	s.vars.Body = body
	key, ok := a.selection.Append(s.key[:0], &s.vars)
	r := a.fallback
	if ok {
		if exact := a.routes[string(key)]; exact != nil {
			r = exact
		}
	}
	s.key, s.vars.Body = key[:0], nil
	if cap(s.key) <= 1024 {
		g.scratches.Put(s)
	}
	return r
}

// add hangs a connection into the slot; false when its stage is gone, or when it
// closed before it could be added.
func (s *slot) add(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed || c.ended {
		return false
	}
	c.listed = true
	if c.next = s.first; c.next != nil {
		c.next.prev = c
	}
	s.first = c
	return true
}

func (s *slot) drop(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ended = true
	if !c.listed {
		return
	}
	c.listed = false
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	c.prev, c.next = nil, nil
}

// shut closes every connection of a slot and lets no more in.
func (s *slot) shut() int {
	s.mu.Lock()
	s.removed = true
	var all []*session
	for c := s.first; c != nil; c = c.next {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.link.Close(goingAway, goingAwayReason)
	}
	return len(all)
}
