package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Guard decides who may connect; *authz.Guard does.
type Guard interface {
	Compile(app *model.App, api *model.API, stage *model.Stage) *authz.Plan
	// Authorize may block where the plan says so. Its error is a *authz.Refusal.
	Authorize(ctx context.Context, p *authz.Plan, r *authz.Request) (*authz.Grant, error)
	// Admit is asked for every message. It does not block.
	Admit(p *authz.Plan, gr *authz.Grant, routeKey string) error
}

// guard is the access control of a stage.
type guard struct {
	plan    *authz.Plan // nil: none was compiled
	guarded bool        // there is access control
	// unbuilt is why it cannot be honoured: nobody is there to do so. Every handshake is
	// refused then.
	unbuilt string
}

func (g *Gateway) compileGuard(app *model.App, a *api, m *model.Stage) guard {
	if g.cfg.Guard == nil {
		why := denied(a.model)
		return guard{guarded: why != "", unbuilt: why}
	}
	plan := g.cfg.Guard.Compile(app, a.model, m)
	return guard{plan: plan, guarded: plan.Guarded()}
}

// waits reports whether authorization takes time.
func (gd *guard) waits() bool { return gd.guarded && gd.plan != nil && gd.plan.Waits() }

// trouble says what of a stage's access control does not work; "" when it does.
func (gd *guard) trouble() string {
	if gd.unbuilt == "" && gd.plan != nil && gd.plan.Err() != nil {
		return fault.Message(gd.plan.Err()) + ": every handshake is refused"
	}
	return gd.unbuilt
}

// denied says why an API's access control cannot be honoured without a Guard; "" when
// it has none.
func denied(a *model.API) string {
	const instead = ", and nobody is configured to check it: handshakes are refused rather than let through"
	if a.Access != nil {
		return "the API restricts who may connect" + instead
	}
	for _, rt := range a.Routes {
		switch {
		case rt.Key == model.RouteConnect && rt.AuthorizationType != "" && rt.AuthorizationType != "NONE":
			return "$connect has AuthorizationType " + rt.AuthorizationType + instead
		case rt.Key == model.RouteConnect && rt.Access != nil:
			return "$connect restricts who may connect" + instead
		case rt.APIKeyRequired:
			return "the route " + rt.Key + " has ApiKeyRequired" + instead
		case len(rt.Scopes) > 0:
			return "the route " + rt.Key + " has Scopes" + instead
		}
	}
	return ""
}

// authorize asks whether a client may come in; the refusal is nil when it may. What
// the answer brings stays with the session: its context is in every later event.
func (g *Gateway) authorize(v *visit) *refusal {
	gd := &v.stage.guard
	if !gd.guarded {
		return nil
	}
	if gd.plan == nil {
		return v.no(http.StatusInternalServerError, textInternal, gd.unbuilt)
	}
	req := &authz.Request{
		Conn: v.session.connection(v.stage), Call: v.call(), Handshake: v.handshakeEvent(), StageVariables: v.stage.model.Variables,
		Host: v.h.host, Target: v.h.target, Secure: v.h.secure, Tag: v.session.entry.ID().String(),
	}
	req.Call.Outcome = &v.outcome
	gr, err := g.cfg.Guard.Authorize(g.ctx, gd.plan, req)
	if err == nil && gr == nil {
		return v.no(http.StatusInternalServerError, textInternal, "the guard gave neither a grant nor a refusal")
	}
	if err != nil {
		no, ok := errors.AsType[*authz.Refusal](err)
		if !ok { // not one of the ways to say yes either
			return v.no(http.StatusInternalServerError, textInternal, reason(err))
		}
		r := v.no(no.Status, no.Message, no.Cause)
		if no.Type != "" {
			r.errorType = no.Type
		}
		if no.Body != nil {
			r.body = no.Body
		}
		return r
	}
	v.session.amend(func(e *extra) { e.authorizer, e.identity, e.grant = gr.Authorizer, gr.Identity, gr })
	v.granted = gr.Protocol
	return nil
}

// mayUse decides on a message, and answers one that may not be sent.
func (s *session) mayUse(j *job) bool {
	gd := &j.stage.guard
	if gd.plan == nil {
		s.forbid(j, gd.unbuilt)
		return false
	}
	var gr *authz.Grant
	if e := s.extra.Load(); e != nil {
		gr = e.grant
	}
	err := s.slot.g.cfg.Guard.Admit(gd.plan, gr, j.route.model.Key)
	if err == nil {
		return true
	}
	no, ok := errors.AsType[*authz.Refusal](err)
	if !ok || no.Status != http.StatusTooManyRequests {
		s.forbid(j, reason(err))
		return false
	}
	s.stats().throttled.Add(1)
	s.tally(j, func(t *laneTally) { t.clientErrors.Add(1) })
	if g := s.slot.g; g.verbose {
		g.log("warn", j.id(), "%s: %s", s.entry.ID(), reason(err))
	}
	s.send(errorFrame(no.Message, s.entry.ID().String(), j.id()))
	if j.stage.access != nil {
		s.access(j, event.Outcome{Status: no.Status, Error: event.Failure{Message: no.Message, ResponseType: "THROTTLED"}})
	}
	s.strike()
	return false
}

// Close code and reason of a connection whose token ended. The code is of those that
// applications may use as they like (RFC 6455 §7.4.2), 4000 and HTTP's 401, because no
// registered one says it; AWS has no such thing.
const (
	expired       = 4401
	expiredReason = "Token expired"
)

// watchExpiry ends the connection with its grant. A timer is only there for those
// that end.
func (s *session) watchExpiry() {
	e := s.extra.Load()
	if e == nil || e.grant == nil || e.grant.Expires.IsZero() {
		return
	}
	timer := time.AfterFunc(time.Until(e.grant.Expires), s.expire)
	var before *time.Timer
	s.amend(func(e *extra) { before, e.expiry = e.expiry, timer })
	if before != nil {
		before.Stop()
	}
	if s.over.Load() {
		timer.Stop()
	}
}

// expire ends the connection, unless its grant was renewed while the timer ran out.
func (s *session) expire() {
	switch ends := s.extra.Load().grant.Expires; {
	case ends.IsZero():
	case time.Now().Before(ends):
		s.watchExpiry()
	default:
		s.link().Close(expired, expiredReason)
	}
}
