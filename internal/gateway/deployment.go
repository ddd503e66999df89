package gateway

import (
	"fmt"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/selection"
)

// deployment is one compiled application. Immutable once current.
type deployment struct {
	app    *model.App
	slots  map[slotKey]*slot
	trusts trusts // of custom domains that want client certificates
}

type slotKey struct{ api, stage string }

// api is a compiled API.
type api struct {
	model      *model.API
	selection  *selection.Expr
	routes     map[string]*route // message routes by key, $default excluded
	connect    *route            // nil: none
	disconnect *route
	fallback   *route // $default
	all        []*route
}

type route struct {
	model   *model.Route
	plan    *integration.Plan
	channel *channel // nil: none
	models  *models  // nil: messages are not checked
	index   int      // in api.all
	// unbuilt is why a message route may not run although its integration could:
	// something that guards it is not built yet. "" when it may.
	unbuilt string
}

// instant reports whether a message on this route is answered without waiting.
func (r *route) instant() bool {
	return r == nil || r.unbuilt != "" || r.models == nil && !r.model.Reauthorize && r.plan.Instant()
}

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
// nothing, when an API's route selection expression or one of its models does not
// compile, or a trust store cannot be read.
func (g *Gateway) Deploy(app *model.App) error {
	g.deploying.Lock()
	defer g.deploying.Unlock()
	old := g.current.Load()
	stages := make(map[slotKey]*stage)
	trusts, err := readTrusts(app)
	if err != nil {
		return err
	}
	for _, m := range app.APIs {
		a, err := g.compileAPI(m)
		if err != nil {
			return err
		}
		g.announce(a)
		for _, s := range m.Stages {
			key := slotKey{m.ID, s.Name}
			var before *stage
			if old != nil && old.slots[key] != nil {
				before = old.slots[key].current.Load()
			}
			st := g.compileStage(app, a, s, before)
			if why := st.trouble(); why != "" {
				g.log("warn", "", "%s: %s", st, why)
			}
			stages[key] = st
		}
	}
	next := &deployment{app: app, slots: make(map[slotKey]*slot, len(stages)), trusts: trusts}
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
	set := modelSet(m)
	for i, rm := range m.Routes {
		r := &route{model: rm, plan: g.cfg.Integrations.Compile(rm.Integration), index: i}
		a.all = append(a.all, r)
		if r.models, err = compileModels(m, set, rm); err != nil {
			return nil, fmt.Errorf("route %s: %w", rm.Key, err)
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
