package stack

import (
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

func (b *builder) route(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ApiKeyRequired", "AuthorizationScopes", "AuthorizationType", "AuthorizerId", "ModelSelectionExpression", "OperationName",
		"RequestModels", "RequestParameters", "RouteKey", "RouteResponseSelectionExpression", "Target")
	a := b.owner(p)
	if a == nil || p.missing("RouteKey", "Add `RouteKey: $default`.") {
		return
	}
	rt := &model.Route{LogicalID: r.ID, ID: in.expand("{id7}", r), Key: p.str("RouteKey"), AuthorizationType: p.str("AuthorizationType"),
		AuthorizerID: p.str("AuthorizerId"), APIKeyRequired: p.boolean("ApiKeyRequired"), ModelSelectionExpression: p.str("ModelSelectionExpression"),
		RequestModels: p.texts("RequestModels"), RequestParameters: in.requestParameters(p), Pos: position(r.Pos)}
	if rt.Key == "" {
		return
	}
	if other := a.api.Route(rt.Key); other != nil {
		in.report(Error, "duplicate-route", r, p.pos("RouteKey"), "Remove one of them.", "Route with key %s already exists for this API (%s, line %d).", rt.Key, other.LogicalID, other.Pos.Line)
		return
	}
	if near, ok := reserved(rt.Key); !ok {
		in.report(Error, "bad-route-key", r, p.pos("RouteKey"), near, "The route key %s is reserved.", quote(rt.Key))
	}
	if expr := p.str("RouteResponseSelectionExpression"); expr != "" && expr != "$default" {
		in.report(Error, "bad-property", r, p.pos("RouteResponseSelectionExpression"), "Write $default.", "RouteResponseSelectionExpression can only be $default.")
	}
	rt.Channel = in.channel(r, rt.Key)
	in.livegate(r, rt)
	b.target(p, a, rt)
	in.authorization(p, a, rt)
	in.requestModels(p, a, rt)
	a.api.Routes = append(a.api.Routes, rt)
	a.routes[rt.ID] = rt
}

// reserved reports whether a key may be used: those that start with $ belong to
// API Gateway.
func reserved(key string) (hint string, ok bool) {
	known := []string{model.RouteConnect, model.RouteDisconnect, model.RouteDefault}
	if !strings.HasPrefix(key, "$") || key == known[0] || key == known[1] || key == known[2] {
		return "", true
	}
	return cfn.DidYouMean(key, known), false
}

// target links a route with its integration.
func (b *builder) target(p props, a *builtAPI, rt *model.Route) {
	if !p.wrote("Target") {
		if rt.Channel != nil {
			return
		}
		p.in.report(Warning, "route-without-target", p.r, p.r.Pos, "Add `Target: !Sub integrations/${MyIntegration}`.", "The route %s has no Target: nothing runs for it.", rt.Key)
		return
	}
	target := p.str("Target")
	if target == "" {
		return
	}
	id, ok := strings.CutPrefix(target, "integrations/")
	if !ok {
		p.in.report(Error, "bad-target", p.r, p.pos("Target"), "Write `!Sub integrations/${MyIntegration}`.", "The Target of route %s must start with \"integrations/\", not be %s.", rt.Key, quote(target))
		return
	}
	rt.Integration = a.integrations[id]
	if rt.Integration != nil {
		return
	}
	for _, other := range b.apis {
		if i := other.integrations[id]; i != nil {
			p.in.report(Error, "bad-target", p.r, p.pos("Target"), "Give both the same ApiId.", "The integration %s of route %s belongs to another API.", i.LogicalID, rt.Key)
			return
		}
	}
	p.in.report(Error, "bad-target", p.r, p.pos("Target"), "Refer to an AWS::ApiGatewayV2::Integration of this API.", "The route %s leads to the integration %s, which does not exist.", rt.Key, quote(id))
}

// requestParameters reads {"route.request.querystring.x": {Required: true}}.
func (in *instance) requestParameters(p props) map[string]bool {
	v := p.get("RequestParameters")
	if v == nil {
		return nil
	}
	if v.Kind != cfn.Map {
		p.wrong("RequestParameters", v, "a map")
		return nil
	}
	if key := p.str("RouteKey"); key != model.RouteConnect {
		in.report(Error, "bad-property", p.r, p.pos("RequestParameters"), "Move them to $connect.", "Request parameters are only supported for the $connect route in WebSocket APIs.")
	}
	out := map[string]bool{}
	for _, e := range v.Map {
		required := e.Value
		if e.Value.Kind == cfn.Map {
			if required = e.Value.Get("Required"); required == nil {
				required = e.Value.Get("required")
			}
		}
		out[e.Key] = required != nil && required.Text == "true"
	}
	return out
}

// routeResponse makes a route two-way; nothing else does.
func (b *builder) routeResponse(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ModelSelectionExpression", "ResponseModels", "ResponseParameters", "RouteId", "RouteResponseKey")
	a := b.owner(p)
	if a == nil || p.missing("RouteId", "Add `RouteId: !Ref MyRoute`.") || p.missing("RouteResponseKey", "Add `RouteResponseKey: $default`.") {
		return
	}
	if key := p.str("RouteResponseKey"); key != "" && key != "$default" {
		in.report(Error, "bad-property", r, p.pos("RouteResponseKey"), "Write $default.", "RouteResponseKey can only be $default.")
		return
	}
	id := p.str("RouteId")
	rt := a.routes[id]
	if rt == nil {
		if id != "" {
			in.report(Error, "unknown-route", r, p.pos("RouteId"), "Write `!Ref` with the logical id of a route.", "%s belongs to the route %s, which does not exist in its API.", r.ID, quote(id))
		}
		return
	}
	rt.TwoWay = true
}

// oneWayReplies points out routes that name a response but have none.
func (b *builder) oneWayReplies() {
	for _, in := range b.instances {
		for _, r := range in.Resources {
			if r.Type != v2+"Route" || r.Properties.Get("RouteResponseSelectionExpression") == nil {
				continue
			}
			for _, a := range b.apis {
				rt := a.routes[in.expand("{id7}", r)]
				if rt == nil || rt.TwoWay || rt.LogicalID != r.ID || rt.Key == model.RouteConnect || rt.Key == model.RouteDisconnect {
					continue
				}
				in.report(Warning, "route-without-response", r, r.Properties.Get("RouteResponseSelectionExpression").Pos,
					"Add an AWS::ApiGatewayV2::RouteResponse with RouteResponseKey: $default.", "The route %s stays one-way: only a RouteResponse lets its reply through.", rt.Key)
			}
		}
	}
}
