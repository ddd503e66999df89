package cfn

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

const lambdaURI = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function}/invocations"

// webSocketAPI rewrites AWS::Serverless::WebSocketApi (in the SAM transform since
// April 2026) to the API Gateway resources it stands for: one route and one
// integration per entry of Routes, an authorizer, and a stage that deploys
// itself.
func (s *samResource) webSocketAPI() {
	s.known("Routes", "RouteSelectionExpression", "Auth", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "StageName",
		"StageVariables", "Tags", "PropagateTags", "Description", "Name", "ApiKeySelectionExpression", "DisableExecuteApiEndpoint",
		"DisableSchemaValidation", "IpAddressType", "Domain")
	routes := s.props.Get("Routes")
	if routes == nil || routes.Kind != Map || len(routes.Map) == 0 {
		at := s.r.Pos
		if routes != nil {
			at = routes.Pos
		}
		s.websocketErrorf(at, "Add Routes: with a route key and its FunctionArn.", "WebSocket API must have at least one route.")
		routes = MapOf(s.r.Pos)
	}
	if ip := s.props.Get("IpAddressType"); ip != nil && ip.Kind == String && ip.Text != "ipv4" && ip.Text != "dualstack" {
		s.websocketErrorf(ip.Pos, "", "IpAddressType must be 'ipv4' or 'dualstack'.")
	}
	props := s.move("Name", "Description", "RouteSelectionExpression", "ApiKeySelectionExpression", "DisableExecuteApiEndpoint",
		"DisableSchemaValidation", "IpAddressType", "Tags")
	if props.Get("Name") == nil {
		props = props.with("Name", Text(s.r.ID, s.r.Pos))
	}
	stage := s.webSocketStage()
	authType, authorizer := s.webSocketAuth(routes)
	for _, e := range routes.Map {
		s.webSocketRoute(e, authType, authorizer)
	}
	s.webSocketDomain(stage)
	s.r.Type = "AWS::ApiGatewayV2::Api"
	s.r.Properties = props.with("ProtocolType", Text("WEBSOCKET", s.r.Pos))
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
	props := s.move("StageVariables", "AccessLogSettings", "DefaultRouteSettings", "RouteSettings", "Tags")
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
		s.websocketErrorf(auth.Pos, "Add `AuthType: CUSTOM`.", "Auth needs an AuthType.")
		return "", nil
	}
	authType = strings.ToUpper(typ.Text)
	arn := auth.Value.Get("AuthArn")
	switch {
	case !slices.Contains([]string{"NONE", "AWS_IAM", "CUSTOM"}, authType):
		s.websocketErrorf(typ.Pos, "", "AuthType must be AWS_IAM, CUSTOM or NONE, not %s.", quote(typ.Text))
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
			s.make("AuthorizerPermission", permission, MapOf(at, Entry{Key: "FunctionName", Value: arn}))
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

func (s *samResource) webSocketRoute(e Entry, authType string, authorizer *Node) {
	at := e.Pos
	part, ok := routePart(e.Key)
	if !ok {
		s.websocketErrorf(at, "", "Route key '%s' must be alphanumeric. Only $connect, $disconnect, and $default special routes are supported.", clip(e.Key))
		return
	}
	for _, p := range e.Value.Map {
		if !slices.Contains(routeProperties, p.Key) {
			s.warnf(p.Pos, "unknown-property", DidYouMean(p.Key, routeProperties), "A route has no property %s.", quote(p.Key))
		}
	}
	arn := e.Value.Get("FunctionArn")
	if arn == nil {
		s.websocketErrorf(at, "Add `FunctionArn: !GetAtt MyFunction.Arn`.", "The route %s has no FunctionArn.", e.Key)
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
	s.make(part+"Permission", permission, MapOf(at, Entry{Key: "FunctionName", Value: arn}))
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

func (s *samResource) webSocketDomain(stage *Resource) {
	d := s.props.Entry("Domain")
	if d == nil || d.Value.Kind != Map {
		return
	}
	if m := d.Value.Entry("MutualTlsAuthentication"); m != nil {
		s.websocketErrorf(m.Pos, "Remove it.", "A WebSocket API's domain cannot use mutual TLS.")
	}
	name := d.Value.Get("DomainName")
	if name == nil {
		s.websocketErrorf(d.Pos, "Add `DomainName: ws.example.com`.", "Domain needs a DomainName.")
		return
	}
	sum := sha256.Sum256([]byte(name.JSON()))
	domain := s.make("", "AWS::ApiGatewayV2::DomainName", MapOf(d.Pos, Entry{Key: "DomainName", Value: name}))
	domain.ID, domain.Pos = "ApiGatewayDomainNameV2"+hex.EncodeToString(sum[:5]), d.Pos
	s.refer("DomainName", domain)
	paths := []*Node{Text("", d.Pos)}
	if base := d.Value.Get("BasePath"); base != nil && base.Kind == List && len(base.List) > 0 {
		paths = base.List
	} else if base.Scalar() {
		paths = []*Node{base}
	}
	for _, p := range paths {
		key := strings.Trim(p.Text, "/")
		part := strings.Map(func(r rune) rune {
			if alphanumeric(string(r)) {
				return r
			}
			return -1
		}, key)
		m := s.make(part+"ApiMapping", "AWS::ApiGatewayV2::ApiMapping", MapOf(p.Pos, Entry{Key: "ApiId", Value: s.api()},
			Entry{Key: "DomainName", Value: call("Ref", Text(domain.ID, d.Pos))}, Entry{Key: "Stage", Value: call("Ref", Text(stage.ID, d.Pos))},
			Entry{Key: "ApiMappingKey", Value: Text(key, p.Pos)}))
		m.Pos = p.Pos
	}
}
