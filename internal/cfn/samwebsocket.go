package cfn

import (
	"slices"
	"strings"
)

const (
	lambdaURI  = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function}/invocations"
	executeARN = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/"
)

// webSocketAPI rewrites AWS::Serverless::WebSocketApi (in the SAM transform since
// April 2026) to the API Gateway resources it stands for: one route, integration
// and permission per entry of Routes, an authorizer, a custom domain, and a stage
// that deploys itself. Ids, properties and refusals are those of the translator's
// public test inputs.
func (s *samResource) webSocketAPI() {
	s.known("Routes", "RouteSelectionExpression", "Auth", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "StageName",
		"StageVariables", "Tags", "PropagateTags", "Description", "Name", "ApiKeySelectionExpression", "DisableExecuteApiEndpoint",
		"DisableSchemaValidation", "IpAddressType", "Domain")
	s.maps("Auth", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "StageVariables", "Tags", "Domain")
	routes := s.routes()
	if s.props.Get("RouteSelectionExpression") == nil {
		s.websocketErrorf(s.r.Pos, "Add `RouteSelectionExpression: $request.body.action`.", "The WebSocket API %s needs RouteSelectionExpression.", s.r.ID)
	}
	if ip := s.props.Get("IpAddressType"); ip != nil && ip.Kind != Map && ip.Text != "ipv4" && ip.Text != "dualstack" {
		s.websocketErrorf(ip.Pos, "Write ipv4 or dualstack, or leave it out.", "IpAddressType must be 'ipv4' or 'dualstack'.")
	}
	props := s.move("Name", "Description", "RouteSelectionExpression", "ApiKeySelectionExpression", "DisableExecuteApiEndpoint",
		"DisableSchemaValidation", "IpAddressType").with("Tags", s.tags(true))
	if props.Get("Name") == nil {
		props = props.with("Name", Text(s.r.ID, s.r.Pos))
	}
	stage := s.webSocketStage()
	authType, authorizer := s.webSocketAuth(routes)
	for _, e := range routes.Map {
		s.webSocketRoute(e, stage, authType, authorizer)
	}
	s.webSocketDomain(stage)
	s.r.Type = "AWS::ApiGatewayV2::Api"
	s.r.Properties = props.with("ProtocolType", Text("WEBSOCKET", s.r.Pos))
}

// routes is the Routes property: a map with at least one entry.
func (s *samResource) routes() *Node {
	const hint = "Add `Routes:` with a route key and its FunctionArn."
	routes := s.props.Get("Routes")
	switch _, _, call := routes.Call(); {
	case routes == nil:
		s.websocketErrorf(s.r.Pos, hint, "The WebSocket API %s needs Routes.", s.r.ID)
	case routes.Kind == Bad:
	case routes.Kind != Map && routes.Kind != Null, call:
		s.websocketErrorf(routes.Pos, hint, "Routes of %s must be a map of route keys.", s.r.ID)
	case len(routes.Map) == 0:
		s.websocketErrorf(routes.Pos, hint, "WebSocket API must have at least one route.")
	default:
		return routes
	}
	return MapOf(s.r.Pos)
}

// maps takes properties out that are written as something else than a map, and
// says so.
func (s *samResource) maps(names ...string) {
	for _, name := range names {
		e := s.props.Entry(name)
		if e == nil || e.Value.Kind == Map {
			continue
		}
		if e.Value.Kind != Bad && e.Value.Kind != Null {
			s.websocketErrorf(e.Value.Pos, "Write one `Name: value` per line under "+name+":.", "%s of %s must be a map, not %s.", name, s.r.ID, e.Value.Kind)
		}
		s.props = s.props.with(name, nil)
	}
}

// tags are those of a generated resource: the transform's own and, on the API or
// with PropagateTags, the user's.
func (s *samResource) tags(own bool) *Node {
	out := MapOf(s.r.Pos)
	if p := s.props.Get("PropagateTags"); own || p != nil && p.Text == "true" {
		if given := s.props.Get("Tags"); given != nil {
			if _, _, call := given.Call(); call {
				return given
			}
			out = given
		}
	}
	return out.with("websocketapi:createdBy", Text("SAM", s.r.Pos))
}

func (s *samResource) websocketErrorf(at Pos, hint, format string, args ...any) {
	s.errorf(at, "sam-websocket-api", hint, format, args...)
}

func (s *samResource) api() *Node { return call("Ref", Text(s.r.ID, s.r.Pos)) }

func (s *samResource) webSocketStage() *Resource {
	name := s.props.Get("StageName")
	prefix := "Default"
	switch {
	case name == nil:
		name = Text("default", s.r.Pos)
	case name.Kind == Map:
		prefix = ""
	case name.Text == "$default":
		s.websocketErrorf(name.Pos, "Choose another name.", "Stages cannot be named $default for WebSocket APIs.")
		name = Text("default", name.Pos)
	case name.Text != "default":
		prefix = name.Text
	}
	props := s.move("StageVariables", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings").with("Tags", s.tags(false))
	props = props.with("ApiId", s.api()).with("StageName", name).with("AutoDeploy", &Node{Kind: Bool, Text: "true", Pos: s.r.Pos})
	stage := s.make(prefix+"Stage", "AWS::ApiGatewayV2::Stage", props)
	stage.Pos = name.Pos
	s.refer("Stage", stage)
	return stage
}

// webSocketAuth returns the authorization of the $connect route and makes its
// authorizer.
func (s *samResource) webSocketAuth(routes *Node) (authType string, authorizer *Node) {
	auth := s.props.Entry("Auth")
	if auth == nil || auth.Value.Kind != Map || len(auth.Value.Map) == 0 {
		return "", nil
	}
	if routes.Get("$connect") == nil {
		s.websocketErrorf(auth.Pos, "Add a $connect route, or remove Auth.", "Authorization is only available if there is a $connect route.")
		return "", nil
	}
	typ := auth.Value.Get("AuthType")
	if typ == nil {
		s.websocketErrorf(auth.Pos, "Add `AuthType: CUSTOM`, or AWS_IAM, or NONE.", "AuthType must be specified for additional auth configurations.")
		return "", nil
	}
	authType = strings.ToUpper(typ.Text)
	arn := auth.Value.Get("AuthArn")
	switch {
	case !slices.Contains([]string{"NONE", "AWS_IAM", "CUSTOM"}, authType):
		s.websocketErrorf(typ.Pos, "Write CUSTOM, AWS_IAM or NONE.", "AuthType of %s cannot be %s.", s.r.ID, quote(typ.Text))
		return "", nil
	case authType != "CUSTOM" && len(auth.Value.Map) > 1:
		s.websocketErrorf(auth.Pos, "Remove the other settings of Auth.", "AuthType %s takes no further settings.", authType)
	case authType == "CUSTOM" && arn == nil:
		s.websocketErrorf(auth.Pos, "Add `AuthArn: !GetAtt MyAuthorizer.Arn`.", "AuthArn must be specified if AuthType is CUSTOM.")
		return "", nil
	case authType == "CUSTOM":
		at := auth.Pos
		name := auth.Value.Get("Name")
		if name == nil {
			name = Text(s.r.ID+"ConnectAuthorizer", at)
		}
		m := s.make("ConnectAuthorizer", "AWS::ApiGatewayV2::Authorizer", MapOf(at, Entry{Key: "ApiId", Value: s.api()}, Entry{Key: "Name", Value: name},
			Entry{Key: "AuthorizerType", Value: Text("REQUEST", at)}, Entry{Key: "AuthorizerUri", Value: uriOf(arn)},
			Entry{Key: "AuthorizerCredentialsArn", Value: auth.Value.Get("InvokeRole")}, Entry{Key: "IdentitySource", Value: auth.Value.Get("IdentitySource")}))
		m.Pos = at
		if auth.Value.Get("InvokeRole") == nil {
			m := s.make("AuthorizerPermission", permission, invokePermission(arn, s.executeARN("authorizers/*", at)))
			m.Pos = at
		}
		return authType, call("Ref", Text(m.ID, at))
	}
	return authType, nil
}

func uriOf(arn *Node) *Node {
	return call("Fn::Sub", ListOf(arn.Pos, Text(lambdaURI, arn.Pos), MapOf(arn.Pos, Entry{Key: "Function", Value: arn})))
}

var routeProperties = []string{"FunctionArn", "ApiKeyRequired", "IntegrationTimeout", "ModelSelectionExpression", "OperationName",
	"RequestModels", "RequestParameters", "RouteResponseSelectionExpression"}

func (s *samResource) webSocketRoute(e Entry, stage *Resource, authType string, authorizer *Node) {
	at := e.Pos
	part, ok := routePart(e.Key)
	if !ok {
		s.websocketErrorf(at, "Rename the route; a message selects it by RouteSelectionExpression.", "Route key '%s' must be alphanumeric. Only $connect, $disconnect, and $default special routes are supported.", clip(e.Key))
		return
	}
	for _, p := range e.Value.Map {
		if !slices.Contains(routeProperties, p.Key) && p.Key != "Ref" && !strings.HasPrefix(p.Key, "Fn::") {
			s.warnf(p.Pos, "unknown-property", DidYouMean(p.Key, routeProperties), "A route has no property %s.", quote(p.Key))
		}
	}
	arn := e.Value.Get("FunctionArn")
	if arn == nil || arn.Kind == Null {
		if e.Value.Kind != Bad {
			s.websocketErrorf(at, "Add `FunctionArn: !GetAtt MyFunction.Arn` under it.", "Route must have associated function: %s has no FunctionArn.", e.Key)
		}
		return
	}
	integration := s.make(part+"Integration", "AWS::ApiGatewayV2::Integration", MapOf(at, Entry{Key: "ApiId", Value: s.api()},
		Entry{Key: "IntegrationType", Value: Text("AWS_PROXY", at)}, Entry{Key: "IntegrationUri", Value: uriOf(arn)},
		Entry{Key: "TimeoutInMillis", Value: e.Value.Get("IntegrationTimeout")}))
	integration.Pos = at
	target := call("Fn::Join", ListOf(at, Text("/", at), ListOf(at, Text("integrations", at), call("Ref", Text(integration.ID, at)))))
	props := MapOf(at, Entry{Key: "ApiId", Value: s.api()}, Entry{Key: "RouteKey", Value: Text(e.Key, at)}, Entry{Key: "Target", Value: target})
	for _, name := range []string{"ApiKeyRequired", "ModelSelectionExpression", "OperationName", "RequestModels", "RouteResponseSelectionExpression", "RequestParameters"} {
		if p := e.Value.Entry(name); p != nil {
			props = props.with(name, p.Value)
		}
	}
	if p := e.Value.Entry("RequestParameters"); p != nil && e.Key != "$connect" {
		s.websocketErrorf(p.Pos, "Move them to $connect.", "Request parameters are only supported for the $connect route in WebSocket APIs.")
		props = props.with("RequestParameters", nil)
	}
	if e.Key == "$connect" && authType != "" {
		props = props.with("AuthorizationType", Text(authType, at))
		if authorizer != nil {
			props = props.with("AuthorizerId", authorizer)
		}
	}
	route := s.make(part+"Route", "AWS::ApiGatewayV2::Route", props)
	route.Pos = at
	m := s.make(part+"Permission", permission, invokePermission(arn, s.executeARN("${Stage}/"+e.Key, at, Entry{Key: "Stage", Value: stage.Properties.Get("StageName")})))
	m.Pos = at
}

// executeARN is an ARN of this API with a resource part, which may hold further
// variables.
func (s *samResource) executeARN(part string, at Pos, vars ...Entry) *Node {
	return call("Fn::Sub", ListOf(at, Text(executeARN+part, at), MapOf(at, append(vars, Entry{Key: "Api", Value: s.api()})...)))
}

func invokePermission(function, source *Node) *Node {
	at := function.Pos
	return MapOf(at, Entry{Key: "Action", Value: Text("lambda:InvokeFunction", at)}, Entry{Key: "FunctionName", Value: function},
		Entry{Key: "Principal", Value: Text("apigateway.amazonaws.com", at)}, Entry{Key: "SourceArn", Value: source})
}

// routePart is a route key's part of a logical id: "$connect" → "Connect",
// "sendMessage" → "Sendmessage".
func routePart(key string) (string, bool) {
	name := key
	if key == "$connect" || key == "$disconnect" || key == "$default" {
		name = key[1:]
	}
	if !alphanumeric(name) {
		return "", false
	}
	return strings.ToUpper(name[:1]) + strings.ToLower(name[1:]), true
}
