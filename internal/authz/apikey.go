package authz

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// keyring is the API keys that are good for a stage: enabled, with a value, and in a
// usage plan that has the stage.
type keyring struct {
	digests map[[sha256.Size]byte]*keyUse
	byID    map[string]*keyUse
}

func newKeyring() *keyring {
	return &keyring{digests: map[[sha256.Size]byte]*keyUse{}, byID: map[string]*keyUse{}}
}

// keyUse is a key in the usage plan that gives it the stage.
type keyUse struct {
	id, value string
	meter     *meter // of the key in the plan, over all the plan's stages
	throttle  limit
	quota     quota
	routes    map[string]routeUse // by route key
}

type routeUse struct {
	meter    *meter
	throttle limit
}

// Where a key may come from (API.ApiKeySelectionExpression).
const (
	keyHeader     = "$request.header.x-api-key"
	keyAuthorizer = "$context.authorizer.usageIdentifierKey"
)

func (g *Guard) compileKeys(p *Plan, app *model.App, api *model.API, stage *model.Stage, connect *model.Route) error {
	switch expr := strings.NewReplacer("{", "", "}", "").Replace(api.APIKeySelectionExpression); expr {
	case "", keyHeader:
	case keyAuthorizer:
		p.keyFromAuthorizer = true
		if p.authorizer == nil {
			return fault.New(fault.BadRequest, "ApiKeySelectionExpression takes the API key from an authorizer, and $connect has none")
		}
	default:
		return fault.New(fault.BadRequest, "ApiKeySelectionExpression %q is neither %s nor %s", expr, keyHeader, keyAuthorizer)
	}
	p.keyRequired = connect.APIKeyRequired
	for _, plan := range app.UsagePlans {
		for i := range plan.Stages {
			if s := &plan.Stages[i]; s.APIID == api.ID && s.Stage == stage.Name {
				g.addPlan(p.keyring, app, plan, s)
			}
		}
	}
	return nil
}

// addPlan adds a plan's keys. A key may have one plan per stage; the first counts.
func (g *Guard) addPlan(ring *keyring, app *model.App, plan *model.UsagePlan, stage *model.PlanStage) {
	for _, k := range app.APIKeys {
		if !k.Enabled || k.Value == "" || ring.byID[k.ID] != nil || !slices.Contains(plan.Keys, k.ID) {
			continue
		}
		digest := g.digest(k.Value)
		if ring.digests[digest] != nil {
			continue
		}
		u := &keyUse{id: k.ID, value: k.Value, meter: g.meter(meterKey{plan.ID, k.ID, ""}), throttle: newLimit(plan.Throttle)}
		u.quota = newQuota(plan.Quota, u.meter.created)
		for route, t := range stage.Routes {
			if u.routes == nil {
				u.routes = map[string]routeUse{}
			}
			u.routes[route] = routeUse{g.meter(meterKey{plan.ID, k.ID, stage.APIID + "/" + stage.Stage + "/" + route}), newLimit(t)}
		}
		ring.digests[digest], ring.byID[k.ID] = u, u
	}
}

// digest is what keys are looked up by: how long a lookup takes says nothing about a
// key to somebody who does not know the salt.
func (g *Guard) digest(value string) [sha256.Size]byte {
	h := sha256.New()
	h.Write(g.salt[:])
	h.Write([]byte(value))
	return [sha256.Size]byte(h.Sum(nil))
}

// headerKey takes the key from the header x-api-key, which must be there once.
func (g *Guard) headerKey(p *Plan, r *Request, gr *Grant) *Refusal {
	if p.keyring == nil {
		return nil
	}
	value, n := "", 0
	for _, f := range r.Handshake.Headers {
		if strings.EqualFold(f.Name, "x-api-key") {
			value = strings.TrimSpace(f.Value)
			n++
		}
	}
	if n == 1 {
		g.takeKey(p, gr, value)
	}
	if p.keyRequired && gr.keyID == "" {
		return forbidden("no usable x-api-key: missing, unknown, disabled, or in no usage plan of this stage")
	}
	return nil
}

// takeKey gives the connection an API key, if it is one.
func (g *Guard) takeKey(p *Plan, gr *Grant, value string) {
	if len(value) > maxKeyValue {
		return
	}
	u := p.keyring.digests[g.digest(value)]
	if u == nil || subtle.ConstantTimeCompare([]byte(u.value), []byte(value)) != 1 {
		return
	}
	id := event.Identity{}
	if gr.Identity != nil {
		id = *gr.Identity
	}
	id.APIKey, id.APIKeyID = u.value, u.id
	gr.Identity, gr.keyID = &id, u.id
}

const maxKeyValue = 128 // characters of an API key's value

// spend counts one request of a key. A key that is no longer good is refused.
func (g *Guard) spend(p *Plan, keyID, route string) *Refusal {
	if p.keyring == nil {
		return nil
	}
	u := p.keyring.byID[keyID]
	if u == nil {
		return g.noKey
	}
	ru, limited := u.routes[route]
	if !limited && u.throttle.interval == 0 && u.quota.limit == 0 {
		return nil
	}
	now := g.cfg.Now()
	nanos := now.UnixNano()
	switch {
	case limited && !ru.meter.take(ru.throttle, nanos), !u.meter.take(u.throttle, nanos):
		return g.throttled
	case !u.meter.count(&u.quota, now):
		return g.exceeded
	}
	return nil
}
