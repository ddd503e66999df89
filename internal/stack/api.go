package stack

import (
	"regexp"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// builtAPI is an API with the pieces that find each other by id.
type builtAPI struct {
	api          *model.API // nil for HTTP APIs, which are not served
	in           *instance
	r            *cfn.Resource
	integrations map[string]*model.Integration
	routes       map[string]*model.Route
	deployment   *cfn.Resource // the first Deployment
	// deployed are the stages that a Deployment names, with where.
	deployed []stageName
	models   []builtModel
	auto     map[string]bool // stages with AutoDeploy
}

type stageName struct {
	name string
	r    *cfn.Resource
}

func (b *builder) api(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiKeySelectionExpression", "BasePath", "Body", "BodyS3Location", "CorsConfiguration", "CredentialsArn", "Description",
		"DisableExecuteApiEndpoint", "DisableSchemaValidation", "FailOnWarnings", "IpAddressType", "Name", "ProtocolType", "RouteKey",
		"RouteSelectionExpression", "Tags", "Target", "Version")
	id := in.expand("{id10}", r)
	built := &builtAPI{in: in, r: r, integrations: map[string]*model.Integration{}, routes: map[string]*model.Route{}}
	b.apis[id] = built
	protocol := p.oneOf("ProtocolType", "WEBSOCKET", "HTTP")
	if protocol == "" && p.wrote("Body") {
		protocol = "HTTP"
	}
	if protocol == "HTTP" {
		if r.From == "" {
			in.report(Warning, "http-api-not-supported", r, r.Pos, "Its WebSocket neighbours run.", "%s is an HTTP API, which is not supported yet.", r.ID)
		}
		return
	}
	p.missing("ProtocolType", "Add `ProtocolType: WEBSOCKET`.")
	p.missing("Name", "Add `Name: "+r.ID+"`.")
	p.missing("RouteSelectionExpression", `Add "RouteSelectionExpression: $request.body.action".`)
	a := &model.API{LogicalID: r.ID, ID: id, Name: p.str("Name"), RouteSelectionExpression: p.str("RouteSelectionExpression"),
		APIKeySelectionExpression: p.str("ApiKeySelectionExpression"), DisableExecuteAPIEndpoint: p.boolean("DisableExecuteApiEndpoint"), Pos: position(r.Pos)}
	if _, err := selection.Compile(a.RouteSelectionExpression); err != nil && a.RouteSelectionExpression != "" {
		in.report(Error, "bad-selection-expression", r, p.pos("RouteSelectionExpression"), "Write a path into the message, for example $request.body.action.", "The route selection expression %s is not valid: %s.", quote(a.RouteSelectionExpression), fault.Message(err))
	}
	if a.APIKeySelectionExpression == "" {
		a.APIKeySelectionExpression = "$request.header.x-api-key"
	}
	a.Access = in.apiAccess(r)
	built.api = a
	b.app.APIs = append(b.app.APIs, a)
}

// owner finds the API that a resource belongs to. nil means there is nothing to
// do: the API is an HTTP API, or unknown and reported.
func (b *builder) owner(p props) *builtAPI {
	if p.missing("ApiId", "Add `ApiId: !Ref MyApi`.") {
		return nil
	}
	id := p.str("ApiId")
	if id == "" {
		return nil
	}
	a := b.apis[id]
	if a == nil {
		p.in.report(Error, "unknown-api", p.r, p.pos("ApiId"), "Write `!Ref` with the logical id of an AWS::ApiGatewayV2::Api.", "%s belongs to the API %s, which is not in this template.", p.r.ID, quote(id))
		return nil
	}
	if a.api == nil {
		return nil
	}
	return a
}

var validStage = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (b *builder) stage(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("AccessLogSettings", "AccessPolicyId", "ApiId", "AutoDeploy", "ClientCertificateId", "DefaultRouteSettings", "DeploymentId",
		"Description", "RouteSettings", "StageName", "StageVariables", "Tags")
	a := b.owner(p)
	if a == nil || p.missing("StageName", "Add `StageName: dev`.") {
		return
	}
	name := p.str("StageName")
	switch {
	case name == "":
		return
	case name == "$default":
		in.report(Error, "bad-stage", r, p.pos("StageName"), "Choose another name.", "Stages cannot be named $default for WebSocket APIs.")
		return
	case !validStage.MatchString(name):
		in.report(Error, "bad-stage", r, p.pos("StageName"), "Use letters, digits, - and _.", "The stage name %s is not valid.", quote(name))
		return
	case a.api.Stage(name) != nil:
		in.report(Error, "duplicate-name", r, p.pos("StageName"), "", "The API %s already has a stage %s (line %d).", a.api.LogicalID, quote(name), a.api.Stage(name).Pos.Line)
		return
	}
	auto := p.boolean("AutoDeploy")
	if auto && p.wrote("DeploymentId") {
		in.report(Error, "bad-stage", r, p.pos("DeploymentId"), "Remove DeploymentId or AutoDeploy.", "A stage with AutoDeploy takes no DeploymentId.")
	}
	s := &model.Stage{LogicalID: r.ID, Name: name, Variables: p.texts("StageVariables"), Default: routeSettings(p.sub("DefaultRouteSettings")),
		AccessLogFormat: p.sub("AccessLogSettings").str("Format"), Deployed: auto || p.wrote("DeploymentId"), Pos: position(r.Pos)}
	if auto {
		if a.auto == nil {
			a.auto = map[string]bool{}
		}
		a.auto[name] = true
	}
	if p.wrote("ClientCertificateId") {
		in.report(Warning, "client-certificate-not-supported", r, p.pos("ClientCertificateId"), "A back end that asks for one refuses the call.", "HTTP back ends of the stage %s are called without a client certificate.", quote(name))
	}
	in.stageVariables(p, s)
	if s.AccessLogFormat != "" {
		in.accessLogFormat(p.sub("AccessLogSettings"), s.AccessLogFormat)
	}
	for key, v := range s.Variables {
		if v == "" { // an empty value removes the variable
			delete(s.Variables, key)
		}
	}
	if settings := p.get("RouteSettings"); settings != nil && settings.Kind == cfn.Map {
		s.Routes = map[string]model.RouteSettings{}
		for _, e := range settings.Map {
			s.Routes[e.Key] = routeSettings(props{in: in, r: r, n: e.Value, path: "RouteSettings." + e.Key + "."})
		}
	}
	a.api.Stages = append(a.api.Stages, s)
}

func routeSettings(p props) model.RouteSettings {
	return model.RouteSettings{Burst: p.integer("ThrottlingBurstLimit", 0, 0, 1<<30), Rate: p.float("ThrottlingRateLimit"),
		DataTrace: p.boolean("DataTraceEnabled"), LoggingLevel: p.oneOf("LoggingLevel", "ERROR", "INFO", "OFF"), Metrics: p.boolean("DetailedMetricsEnabled")}
}

func (b *builder) deployment(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "Description", "StageName")
	a := b.owner(p)
	if a == nil {
		return
	}
	if a.deployment == nil {
		a.deployment = r
	}
	if name := p.str("StageName"); name != "" {
		a.deployed = append(a.deployed, stageName{name, r})
	}
}

func (b *builder) authorizer(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "AuthorizerCredentialsArn", "AuthorizerPayloadFormatVersion", "AuthorizerResultTtlInSeconds", "AuthorizerType",
		"AuthorizerUri", "EnableSimpleResponses", "IdentitySource", "IdentityValidationExpression", "JwtConfiguration", "Name")
	a := b.owner(p)
	if a == nil {
		return
	}
	p.missing("Name", "Add `Name: "+r.ID+"`.")
	p.missing("AuthorizerType", "Add `AuthorizerType: REQUEST`.")
	typ := p.str("AuthorizerType")
	if typ != "" && typ != "REQUEST" {
		in.report(Error, "bad-property", r, p.pos("AuthorizerType"), "Write REQUEST.", "An authorizer of a WebSocket API has the type REQUEST, not %s.", quote(typ))
	}
	p.missing("AuthorizerUri", "Name the function to call.")
	if p.boolean("EnableSimpleResponses") {
		in.report(Warning, "bad-property", r, p.pos("EnableSimpleResponses"), "Answer with principalId and policyDocument.", "Simple responses are for HTTP APIs: an authorizer of a WebSocket API that answers {\"isAuthorized\": true} lets nobody in.")
	}
	auth := &model.Authorizer{LogicalID: r.ID, ID: in.expand("{id7}", r), Name: p.str("Name"), Type: typ, URI: p.str("AuthorizerUri"),
		CredentialsARN: p.str("AuthorizerCredentialsArn"), IdentitySource: p.strings("IdentitySource"), Pos: position(r.Pos)}
	in.identitySource(p, auth.IdentitySource)
	b.authorizerFunction(p, auth.URI)
	a.api.Authorizers = append(a.api.Authorizers, auth)
}

func (b *builder) schema(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ContentType", "Description", "Name", "Schema")
	a := b.owner(p)
	if a == nil {
		return
	}
	p.missing("Name", "")
	p.missing("Schema", "Add a JSON schema (draft 4).")
	m := &model.Model{LogicalID: r.ID, ID: in.expand("{id7}", r), Name: p.str("Name"), ContentType: p.str("ContentType"), Pos: position(r.Pos)}
	if m.ContentType == "" {
		m.ContentType = "application/json"
	}
	switch v := p.get("Schema"); {
	case v == nil:
	case v.Scalar():
		m.Schema = v.Text
	default:
		m.Schema = v.JSON()
	}
	a.api.Models = append(a.api.Models, m)
	a.keepModel(in, p, m)
}

// checkAPIs looks at every API as a whole, once all its pieces are there.
func (b *builder) checkAPIs() {
	for _, m := range b.app.APIs {
		a := b.apis[m.ID]
		a.checkModels()
		for _, d := range a.deployed {
			if s := m.Stage(d.name); s != nil {
				s.Deployed = true
			} else {
				m.Stages = append(m.Stages, &model.Stage{LogicalID: d.r.ID, Name: d.name, Deployed: true, Pos: position(d.r.Pos)})
			}
		}
		a.quotas()
		a.deploymentOrder()
		if len(m.Routes) == 0 {
			severity := Warning
			if a.deployment != nil {
				severity = Error
			}
			a.in.report(severity, "no-routes", a.r, a.r.Pos, "Add an AWS::ApiGatewayV2::Route.", "At least one route is required before deploying the API %s.", m.LogicalID)
		}
		if len(m.Stages) == 0 {
			a.in.report(Warning, "no-stage", a.r, a.r.Pos, "Add an AWS::ApiGatewayV2::Stage with AutoDeploy: true.", "The API %s has no stage, so nobody can connect.", m.LogicalID)
		}
		for _, s := range m.Stages {
			if !s.Deployed {
				a.in.b.add(Finding{Severity: Warning, Code: "stage-not-deployed", Resource: s.LogicalID, Pos: s.Pos,
					Message: "The stage " + s.Name + " has no deployment: clients get 403.", Hint: "Add `AutoDeploy: true`, or `DeploymentId: !Ref` with a Deployment."})
			}
			for key := range s.Routes {
				if m.Route(key) == nil {
					a.in.b.add(Finding{Severity: Warning, Code: "unknown-route", Resource: s.LogicalID, Pos: s.Pos,
						Message: "RouteSettings of stage " + s.Name + " name the route " + quote(key) + ", which does not exist.", Hint: cfn.DidYouMean(key, routeKeys(m))})
				}
			}
		}
	}
}

func routeKeys(a *model.API) []string {
	var keys []string
	for _, r := range a.Routes {
		keys = append(keys, r.Key)
	}
	return keys
}
