package gateway

import (
	"context"
	"errors"
	"net/http"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/integration"
)

// Renewer takes a new token for an open connection; *authz.Guard does. A Guard that is
// none serves no Reauthorize routes.
type Renewer interface {
	// Renew may block. Its error is a *authz.Refusal.
	Renew(ctx context.Context, p *authz.Plan, gr *authz.Grant, token string) (*authz.Grant, error)
}

// renew takes the token in $request.body.token of a message on a route with Metadata:
// Livegate: Reauthorize: true, so that a connection can outlive the token that opened
// it. The new one must be of the same issuer and subject. A token that is refused
// changes nothing: the client gets an error frame, and the connection ends when its
// old token does. false: the message is done with.
func (s *session) renew(j *job) bool {
	g := s.slot.g
	e := s.extra.Load()
	renewer, ok := g.cfg.Guard.(Renewer)
	if !ok || e == nil || e.grant == nil {
		s.forbid(j, "the connection has no token that another could replace")
		return false
	}
	sc := g.scratch()
	sc.vars.Body = j.body
	key, read := g.token.Append(sc.key[:0], &sc.vars)
	token := string(key)
	clear(key) // the scratch is somebody else's next
	g.putScratch(sc, key)
	if !read || token == "" {
		s.notRenewed(j, http.StatusUnauthorized, "Unauthorized", "the message has no token")
		return false
	}
	gr, err := renewer.Renew(g.ctx, j.stage.plan, e.grant, token)
	if err != nil {
		if no, ok := errors.AsType[*authz.Refusal](err); ok {
			s.notRenewed(j, no.Status, no.Message, no.Cause)
		} else {
			s.notRenewed(j, http.StatusInternalServerError, textInternal, reason(err))
		}
		return false
	}
	s.amend(func(e *extra) { e.authorizer, e.identity, e.grant = gr.Authorizer, gr.Identity, gr })
	s.watchExpiry()
	if g.verbose {
		g.log("info", j.id(), "%s has a new token", s.entry.ID())
	}
	if j.route.model.Integration != nil {
		return true
	}
	resp := integration.Response{Body: []byte(`{"action":"reauthorize"}`)}
	s.reply(j, &resp)
	s.follow(j, &resp)
	return false
}

func (s *session) notRenewed(j *job, status int, text, why string) {
	g := s.slot.g
	s.tally(j, func(t *laneTally) { t.clientErrors.Add(1) })
	if g.verbose {
		g.log("warn", j.id(), "%s got no new token: %s", s.entry.ID(), why)
	}
	s.send(errorFrame(text, s.entry.ID().String(), j.id()))
	if j.stage.access != nil {
		s.access(j, event.Outcome{Status: status, Error: event.Failure{Message: text, ResponseType: responseTypes[status]}})
	}
}

var _ Renewer = (*authz.Guard)(nil)
