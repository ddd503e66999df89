package authz

import (
	"maps"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Plan is what guards one stage of one deployment. It is immutable.
type Plan struct {
	err error

	app       *model.App
	methodARN string // of $connect
	stage     *model.Stage
	vars      map[string]string

	origins    *origins    // nil: every one
	jwt        *jwtRule    // nil: no token
	signed     bool        // AWS_IAM
	authorizer *authorizer // nil: none
	keyring    *keyring    // nil: no route needs an API key

	keyRequired       bool // by $connect
	keyFromAuthorizer bool

	routes map[string]rule // by route key
	free   bool            // messages need no look
	nobody Grant           // what a connection without a grant has
}

// rule is what a message on a route needs.
type rule struct {
	arn    string
	scopes []string
	keyed  bool // an API key
}

// Err says what of the stage's access control cannot work, for the log at load time.
// Every handshake is then refused with 500.
func (p *Plan) Err() error { return p.err }

// Guarded reports whether handshakes need Authorize.
func (p *Plan) Guarded() bool {
	return p.err != nil || p.origins != nil || p.jwt != nil || p.signed || p.authorizer != nil || p.keyring != nil
}

// Waits reports whether Authorize may block: on a function, or on keys to be fetched.
func (p *Plan) Waits() bool { return p.err == nil && (p.authorizer != nil || p.jwt != nil) }

// StageARN is "arn:aws:execute-api:{region}:{account}:{api}/{stage}".
func StageARN(app *model.App, api *model.API, stage *model.Stage) string {
	return "arn:" + app.Partition + ":execute-api:" + app.Region + ":" + app.AccountID + ":" + api.ID + "/" + stage.Name
}

// Compile makes the plan of a stage, once per deployment. It never returns nil: what
// cannot work is in Err, and closed.
func (g *Guard) Compile(app *model.App, api *model.API, stage *model.Stage) *Plan {
	base := StageARN(app, api, stage)
	p := &Plan{app: app, methodARN: base + "/" + model.RouteConnect, stage: stage, vars: stage.Variables, routes: map[string]rule{}}
	p.err = g.compile(p, app, api, stage, base)
	fault.Wrap(&p.err, "API %s", api.LogicalID)
	if p.err == nil {
		p.free = !p.signed && p.jwt == nil && p.keyring == nil
	}
	return p
}

func (g *Guard) compile(p *Plan, app *model.App, api *model.API, stage *model.Stage, base string) error {
	var connect model.Route // of an API without $connect: open, but for what the API says
	keyed, scoped := false, ""
	var guarded *model.Route // a message route with an authorization of its own
	// All of them first: a plan that does not work still has the rules of its routes, for
	// connections that are open.
	for _, rt := range api.Routes {
		p.routes[rt.Key] = rule{arn: base + "/" + rt.Key, scopes: rt.Scopes, keyed: rt.APIKeyRequired}
		keyed = keyed || rt.APIKeyRequired
		if rt.Key == model.RouteConnect {
			connect = *rt
		} else if rt.AuthorizationType != "" && rt.AuthorizationType != "NONE" && guarded == nil {
			guarded = rt
		}
		if len(rt.Scopes) > 0 && scoped == "" {
			scoped = rt.Key
		}
	}
	if keyed { // empty: keys of open connections are no good while the rest does not compile
		p.keyring = newKeyring()
	}
	if err := g.compileAuthorization(p, api, &connect); err != nil {
		return err
	}
	if guarded != nil {
		return fault.New(fault.BadRequest, "the route %s has AuthorizationType %s: authorization is restricted to the $connect route", guarded.Key, guarded.AuthorizationType)
	}
	if err := g.compileAccess(p, mergeAccess(api.Access, connect.Access)); err != nil {
		return err
	}
	if scoped != "" && p.jwt == nil {
		return fault.New(fault.BadRequest, "the route %s has Scopes, and no token can hold them: give the API or $connect Metadata Livegate JWT", scoped)
	}
	if keyed {
		return g.compileKeys(p, app, api, stage, &connect)
	}
	return nil
}

// mergeAccess is what the API asks for, with what $connect says instead.
func mergeAccess(api, connect *model.Access) *model.Access {
	switch {
	case api == nil:
		return connect
	case connect == nil:
		return api
	}
	m := *api
	if connect.Origins != nil {
		m.Origins = connect.Origins
	}
	if connect.Token != nil {
		m.Token = connect.Token
	}
	if connect.JWT != nil {
		m.JWT = connect.JWT
	}
	return &m
}

func (g *Guard) compileAuthorization(p *Plan, api *model.API, connect *model.Route) (err error) {
	switch connect.AuthorizationType {
	case "", "NONE":
	case "AWS_IAM":
		p.signed = true
	case "CUSTOM":
		i := slices.IndexFunc(api.Authorizers, func(a *model.Authorizer) bool { return a.ID == connect.AuthorizerID })
		if i < 0 {
			return fault.New(fault.BadRequest, "the authorizer %q of $connect does not exist", connect.AuthorizerID)
		}
		p.authorizer, err = g.compileAuthorizer(api.Authorizers[i], p.vars)
		fault.Wrap(&err, "authorizer %s", api.Authorizers[i].LogicalID)
	default:
		return fault.New(fault.BadRequest, "AuthorizationType %q of $connect is not NONE, AWS_IAM or CUSTOM", connect.AuthorizationType)
	}
	return err
}

func (g *Guard) compileAccess(p *Plan, a *model.Access) (err error) {
	if a == nil {
		return nil
	}
	allowed := a.Origins
	if a.JWT != nil {
		if p.jwt, err = g.compileJWT(a.JWT, a.Token); err != nil {
			return err
		}
		// A cookie comes along whichever page opens the connection.
		if len(allowed) == 0 && p.jwt.fromCookie() {
			allowed = []string{sameHost}
		}
	}
	if len(allowed) > 0 {
		p.origins, err = compileOrigins(allowed)
	}
	return err
}

// authorizer is a compiled REQUEST authorizer.
type authorizer struct {
	name     string // logical id
	function string // ARN
	sources  []source
}

func (g *Guard) compileAuthorizer(m *model.Authorizer, vars map[string]string) (*authorizer, error) {
	if m.Type != "REQUEST" {
		return nil, fault.New(fault.BadRequest, "its type must be REQUEST, not %q", m.Type)
	}
	if g.cfg.Functions == nil {
		return nil, fault.New(fault.Unsupported, "no function runtime is configured")
	}
	a := &authorizer{name: m.LogicalID}
	uri, err := withStageVariables(m.URI, vars)
	if err != nil {
		return nil, err
	}
	if a.function, err = functionOf(uri); err != nil {
		return nil, err
	}
	for _, text := range m.IdentitySource {
		s, err := compileSource(text)
		if err != nil {
			return nil, err
		}
		a.sources = append(a.sources, s)
	}
	return a, nil
}

// withStageVariables fills in ${stageVariables.name}.
func withStageVariables(uri string, vars map[string]string) (string, error) {
	const open = "${stageVariables."
	var b strings.Builder
	for {
		before, after, found := strings.Cut(uri, open)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		value, set := vars[name]
		switch {
		case !closed:
			return "", fault.New(fault.BadRequest, "AuthorizerUri: a stage variable is written ${stageVariables.name}")
		case !set:
			return "", fault.New(fault.BadRequest, "AuthorizerUri: the stage has no variable %q; it has %q", name, slices.Sorted(maps.Keys(vars)))
		}
		b.WriteString(value)
		uri = rest
	}
}

// functionOf cuts the function's ARN out of
// "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations".
func functionOf(uri string) (string, error) {
	if _, rest, ok := strings.Cut(uri, ":lambda:path/2015-03-31/functions/"); ok {
		if arn, whole := strings.CutSuffix(rest, "/invocations"); whole && strings.Contains(arn, ":function:") {
			return arn, nil
		}
	} else if strings.Contains(uri, ":lambda:") && strings.Contains(uri, ":function:") {
		return uri, nil
	}
	return "", fault.New(fault.BadRequest, "AuthorizerUri %q names no function: want arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION_ARN/invocations", uri)
}

// source is where a handshake has a value that an authorizer must have.
type source struct {
	place sourcePlace
	name  string
}

type sourcePlace uint8

const (
	fromHeader sourcePlace = iota
	fromQuery
	fromStageVariables
	fromContext
)

func compileSource(text string) (source, error) {
	for place, prefix := range [...]string{"route.request.header.", "route.request.querystring.", "stageVariables.", "context."} {
		name, ok := strings.CutPrefix(text, prefix)
		if !ok || name == "" {
			continue
		}
		if sourcePlace(place) == fromContext && !event.IsContext(name) {
			return source{}, fault.New(fault.BadRequest, "the identity source %q: there is no such $context variable", text)
		}
		return source{sourcePlace(place), name}, nil
	}
	return source{}, fault.New(fault.BadRequest,
		"the identity source %q is none of route.request.header.NAME, route.request.querystring.NAME, stageVariables.NAME and context.NAME", text)
}

// present reports whether the handshake has a value there that is not empty.
func (s source) present(p *Plan, r *Request) bool {
	switch s.place {
	case fromHeader:
		_, ok := headerValue(r.Handshake.Headers, s.name)
		return ok
	case fromQuery:
		_, ok := queryValue(r.Handshake.Query, s.name)
		return ok
	case fromStageVariables:
		vars := r.StageVariables
		if vars == nil {
			vars = p.vars
		}
		return vars[s.name] != ""
	}
	v, ok := event.Context(r.Conn, &r.Call, event.TypeConnect, s.name)
	return ok && v != ""
}

// headerValue is the last value of a header that is not empty.
func headerValue(fields []event.Field, name string) (value string, ok bool) {
	for _, f := range fields {
		if v := strings.TrimSpace(f.Value); v != "" && strings.EqualFold(f.Name, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

// queryValue is the last value of a parameter that is not empty.
func queryValue(raw, name string) (value string, ok bool) {
	for _, p := range event.Query(raw) {
		if p.Name != name {
			continue
		}
		for _, v := range p.Values {
			if v != "" {
				value, ok = v, true
			}
		}
	}
	return value, ok
}
