package authz

import (
	"context"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/model"
)

// authorizerTimeout is how long an authorizer may take; the time an integration has at
// most.
const authorizerTimeout = model.DefaultIntegrationTimeout

// ask runs the Lambda authorizer (§7.1–7.3 of the reference). Anything but an answer
// whose policy allows this method is a refusal.
func (g *Guard) ask(ctx context.Context, p *Plan, r *Request, gr *Grant) (usageKey string, no *Refusal) {
	a := p.authorizer
	for _, s := range a.sources {
		if !s.present(p, r) {
			return "", unauthorized("authorizer " + a.name + " was not asked: the identity source " + s.String() + " is missing or empty")
		}
	}
	call := r.Call
	call.RouteKey = model.RouteConnect
	in := model.Invocation{Function: a.function, Tag: r.Tag,
		Payload: event.AppendAuthorize(nil, r.Conn, &call, r.Handshake, p.methodARN)}
	ctx, cancel := context.WithTimeout(ctx, authorizerTimeout)
	defer cancel()
	started := g.cfg.Now()
	res, err := g.cfg.Functions.Invoke(ctx, in)
	latency := g.cfg.Now().Sub(started)
	if o := r.Call.Outcome; o != nil {
		defer func() { o.Authorizer = phase(&res, latency, no) }()
	}
	switch {
	case err != nil:
		return "", internal("authorizer " + a.name + " could not be asked: " + fault.KindOf(err).String())
	case res.FunctionError != "" && gjson.GetBytes(res.Payload, "errorMessage").String() == "Unauthorized":
		return "", unauthorized("authorizer " + a.name + " says Unauthorized")
	case res.FunctionError != "":
		return "", internal("authorizer " + a.name + " failed: " + errorType(&res) + "; its own log says more")
	}
	ans, err := parseAnswer(res.Payload)
	if err != nil {
		return "", internal("authorizer " + a.name + " answered " + err.Error())
	}
	d := iam.Decide([]*iam.Policy{ans.policy}, &iam.Request{
		Action: invokeAction, Resource: p.methodARN, Values: handshakeFacts(r, nil, p.app.Region).values, Now: started,
	})
	switch d.Effect {
	case iam.Allow:
	case iam.ExplicitDeny:
		return "", accessDenied("User is not authorized to access this resource with an explicit deny",
			"authorizer "+a.name+" denies "+p.methodARN)
	default:
		return "", accessDenied("User is not authorized to access this resource",
			"authorizer "+a.name+": no statement of its policy allows "+invokeAction+" on "+p.methodARN+hints(ans.policy))
	}
	gr.Authorizer = event.AppendGrant(nil, ans.principalID, latency.Milliseconds(), ans.context)
	return ans.usageKey, nil
}

// hints says why a policy may have been meant to allow.
func hints(p *iam.Policy) string {
	text := ""
	for _, problem := range p.Problems() {
		text += "; " + problem
	}
	return text
}

func authenticated(no *Refusal) event.Phase {
	if no == nil {
		return event.Phase{Status: http.StatusOK}
	}
	return event.Phase{Status: no.Status, Error: no.text()}
}

func phase(res *model.InvokeResult, latency time.Duration, no *Refusal) event.Phase {
	p := event.Phase{Status: http.StatusOK, Latency: latency.Milliseconds(), RequestID: res.RequestID}
	if res.Payload != nil || res.FunctionError != "" {
		p.BackendStatus = http.StatusOK
	}
	if no != nil {
		p.Status, p.Error = no.Status, no.text()
	}
	return p
}

// errorType is the error's type if it looks like the name of one. Messages stay out of
// the log: "no such user for token eyJ…" would put the token there.
func errorType(res *model.InvokeResult) string {
	name := res.ErrorType
	if name == "" {
		name = gjson.GetBytes(res.Payload, "errorType").String()
	}
	if name == "" || len(name) > 64 {
		return "an error"
	}
	for i := range len(name) {
		c := name[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != ':' {
			return "an error"
		}
	}
	return name
}

func (s source) String() string {
	return [...]string{"route.request.header.", "route.request.querystring.", "stageVariables.", "context."}[s.place] + s.name
}
