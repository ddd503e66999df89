package stack

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// Settings of Metadata: Livegate: on a route and on an API.
var (
	accessSettings    = []string{"Origins", "Token", "JWT"}
	routeSettingNames = []string{"Channel", "Ordered", "Reauthorize", "Scopes", "Origins", "Token", "JWT"}
	jwtSettings       = []string{"Issuer", "JWKS", "Audiences", "Scopes"}
)

const accessExample = "Write `Livegate: {Origins: [\"https://app.example.com\"], JWT: {Issuer: https://issuer.example.com, Audiences: [my-api]}}`."

// livegate reads what a route has beyond AWS:
//
//	Metadata:
//	  Livegate:
//	    Channel: …                         # see channel
//	    Ordered: true                      # messages of a connection run one by one
//	    Scopes: [orders.write]             # what the client's token must hold
//	    Origins: [https://app.example.com] # of $connect, like the rest
//	    Token: [header.Authorization, querystring.token, subprotocol.bearer, cookie.session]
//	    JWT: {Issuer: https://…, JWKS: https://…, Audiences: [a], Scopes: [b]}
//
// AWS keeps Metadata and does not look at it.
func (in *instance) livegate(r *cfn.Resource, rt *model.Route) {
	p, ok := in.settings(r, routeSettingNames, "a route")
	if !ok {
		return
	}
	rt.Ordered = p.boolean("Ordered")
	rt.Reauthorize = p.boolean("Reauthorize")
	rt.Scopes = p.strings("Scopes")
	if rt.Key == model.RouteConnect {
		rt.Access = in.accessOf(p)
		if p.wrote("Scopes") {
			in.report(Error, "bad-access", r, p.pos("Scopes"), "Write them as JWT: {Scopes: […]}.", "The scopes that $connect needs belong to its JWT.")
		}
		return
	}
	for _, key := range accessSettings {
		if p.wrote(key) {
			in.report(Error, "bad-access", r, p.pos(key), "Move it to the $connect route or to the API.", "%s is checked when a client connects: the route %s cannot have it.", key, rt.Key)
		}
	}
	if rt.Key == model.RouteDisconnect && p.wrote("Scopes") {
		in.report(Error, "bad-access", r, p.pos("Scopes"), "Remove them.", "The route $disconnect cannot have Scopes: its client is gone.")
	}
}

// apiAccess reads what an API checks of every connection.
func (in *instance) apiAccess(r *cfn.Resource) *model.Access {
	p, ok := in.settings(r, accessSettings, "an API")
	if !ok {
		return nil
	}
	return in.accessOf(p)
}

// settings are the Livegate entries of a resource's metadata.
func (in *instance) settings(r *cfn.Resource, keys []string, what string) (props, bool) {
	own := r.Metadata.Entry("Livegate")
	if own == nil {
		return props{}, false
	}
	n, ok := in.metadataMap(r, own, "Livegate")
	if !ok {
		return props{}, false
	}
	p := props{in: in, r: r, n: n, path: "Livegate."}
	in.knownSettings(p, keys, what)
	return p, true
}

// knownSettings refuses others: a misspelt one would guard nothing.
func (in *instance) knownSettings(p props, keys []string, what string) {
	if p.n == nil {
		return
	}
	for _, e := range p.n.Map {
		if !slices.Contains(keys, e.Key) {
			in.report(Error, "unknown-livegate-key", p.r, e.Pos, cfn.DidYouMean(e.Key, keys), "Metadata %s of %s has no setting %s; it has %s.", strings.TrimSuffix(p.path, "."), what, quote(e.Key), strings.Join(keys, ", "))
		}
	}
}

func (in *instance) accessOf(p props) *model.Access {
	a := &model.Access{Origins: p.strings("Origins"), Token: p.strings("Token"), Pos: position(p.n.Pos)}
	for _, key := range []string{"Origins", "Token"} {
		// An empty list reads like a setting and would be none.
		if p.wrote(key) && len(p.strings(key)) == 0 {
			in.report(Error, "bad-access", p.r, p.pos(key), accessExample, "%s of %s is empty.", key, p.r.ID)
		}
	}
	for _, at := range a.Token {
		kind, name, _ := strings.Cut(at, ".")
		if name == "" || !slices.Contains([]string{"header", "querystring", "subprotocol", "cookie"}, kind) {
			in.report(Error, "bad-access", p.r, p.pos("Token"), "Write header.NAME, querystring.NAME, subprotocol.NAME or cookie.NAME.", "A token cannot be at %s.", quote(at))
		}
	}
	for _, o := range a.Origins {
		if o != "same-host" && !strings.Contains(o, "://") {
			in.report(Error, "bad-access", p.r, p.pos("Origins"), `Write "https://app.example.com", "https://*.example.com" or "same-host"; leave Origins out for every page.`, "%s is not an origin.", quote(o))
		}
	}
	if !p.wrote("JWT") {
		if p.wrote("Token") && len(a.Origins) == 0 {
			in.report(Error, "bad-access", p.r, p.pos("Token"), accessExample, "Token of %s says where a token is; without JWT nobody looks for one.", p.r.ID)
		}
		if a.Origins == nil && a.Token == nil {
			return nil
		}
		return a
	}
	j := p.sub("JWT")
	in.knownSettings(j, jwtSettings, "an API or route")
	a.JWT = &model.JWT{Issuer: j.str("Issuer"), JWKS: j.str("JWKS"), Audiences: j.strings("Audiences"), Scopes: j.strings("Scopes"), Pos: position(p.pos("JWT"))}
	j.missing("Issuer", accessExample)
	if j.wrote("Audiences") && len(a.JWT.Audiences) == 0 || j.missing("Audiences", accessExample) {
		in.report(Error, "bad-access", p.r, p.pos("JWT"), "Name who the tokens are made for.", "JWT of %s has no Audiences: tokens made for anybody else would do.", p.r.ID)
	}
	return a
}

// strayAccess refuses access settings where nothing reads them: whoever wrote them
// counts on them.
func (in *instance) strayAccess() {
	for _, r := range in.Resources {
		if r.Type == v2+"Api" || r.Type == v2+"Route" {
			continue
		}
		own := r.Metadata.Entry("Livegate")
		if own == nil {
			continue
		}
		for _, e := range in.Eval(own.Value).Map {
			if slices.Contains(accessSettings, e.Key) || e.Key == "Scopes" {
				in.report(Error, "bad-access", r, e.Pos, "Move it to the API or to its $connect route.", "%s guards nothing on %s.", e.Key, r.Type)
			}
		}
	}
}

// authorization checks who may use a route, as AWS does when it is made.
func (in *instance) authorization(p props, a *builtAPI, rt *model.Route) {
	switch rt.AuthorizationType {
	case "", "NONE":
	case "AWS_IAM", "CUSTOM":
		if rt.Key != model.RouteConnect {
			in.report(Error, "bad-property", p.r, p.pos("AuthorizationType"), "Move it to the $connect route.", "Currently, authorization is restricted to the $connect route only.")
			return
		}
	default:
		in.report(Error, "bad-property", p.r, p.pos("AuthorizationType"), "Use NONE, AWS_IAM or CUSTOM.", "AuthorizationType cannot be %s on a WebSocket API.", quote(rt.AuthorizationType))
		return
	}
	if rt.AuthorizationType != "CUSTOM" || p.missing("AuthorizerId", "Add `AuthorizerId: !Ref MyAuthorizer`.") || rt.AuthorizerID == "" {
		return
	}
	i := slices.IndexFunc(a.api.Authorizers, func(auth *model.Authorizer) bool { return auth.ID == rt.AuthorizerID })
	if i < 0 {
		in.report(Error, "unknown-authorizer", p.r, p.pos("AuthorizerId"), "Refer to an AWS::ApiGatewayV2::Authorizer of this API.", "The authorizer of route %s does not exist.", rt.Key)
		return
	}
	cookies := slices.ContainsFunc(a.api.Authorizers[i].IdentitySource, func(s string) bool { return strings.EqualFold(s, "route.request.header.Cookie") })
	guarded := rt.Access != nil && len(rt.Access.Origins) > 0 || a.api.Access != nil && len(a.api.Access.Origins) > 0
	if cookies && !guarded {
		in.report(Warning, "cookie-without-origins", p.r, p.pos("AuthorizerId"), "Check Origin in the authorizer, or add Metadata Livegate Origins.",
			"%s decides by a cookie, which a browser sends for every page that connects, also somebody else's.", a.api.Authorizers[i].LogicalID)
	}
}

var identityPlaces = []string{"route.request.header.", "route.request.querystring.", "stageVariables.", "context."}

// identitySource checks where an authorizer looks.
func (in *instance) identitySource(p props, list []string) {
	for _, s := range list {
		if !slices.ContainsFunc(identityPlaces, func(prefix string) bool { return strings.HasPrefix(s, prefix) && s != prefix }) {
			in.report(Error, "bad-identity-source", p.r, p.pos("IdentitySource"), "Write route.request.header.NAME, route.request.querystring.NAME, stageVariables.NAME or context.NAME.",
				"An authorizer of a WebSocket API cannot look at %s.", quote(s))
		}
	}
}

// authorizerFunction checks that the function of an authorizer is there. A URI with
// stage variables is known only per stage.
func (b *builder) authorizerFunction(p props, uri string) {
	if uri == "" || strings.Contains(uri, "${stageVariables.") {
		return
	}
	_, arn, found := strings.Cut(uri, ":lambda:path/2015-03-31/functions/")
	arn, whole := strings.CutSuffix(arn, "/invocations")
	if !found || !whole || !strings.Contains(arn, ":function:") {
		p.in.report(Error, "bad-authorizer-uri", p.r, p.pos("AuthorizerUri"),
			"Write `!Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${MyFunction.Arn}/invocations`.",
			"The AuthorizerUri of %s names no Lambda function: %s.", p.r.ID, quote(uri))
		return
	}
	name, qualifier := splitFunction(arn)
	f := b.functions[name]
	switch {
	case f == nil:
		p.in.report(Error, "unknown-function", p.r, p.pos("AuthorizerUri"), cfn.DidYouMean(name, b.functionNames()), "%s calls the function %s, which is not in this template.", p.r.ID, quote(name))
	case f.fn == nil:
		p.in.report(Error, "function-not-supported", p.r, p.pos("AuthorizerUri"), "", "%s needs the function %s, which cannot run here: %s.", p.r.ID, f.r.ID, f.reason)
	case qualifier != "" && qualifier != "$LATEST" && qualifier != "1" && !b.hasAlias(f, qualifier):
		p.in.report(Error, "unknown-alias", p.r, p.pos("AuthorizerUri"), "", "%s calls the alias %s of %s, which does not exist.", p.r.ID, quote(qualifier), f.r.ID)
	}
}
