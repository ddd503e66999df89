package stack

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

const accessTemplate = `
-- template.yaml --
Transform: AWS::Serverless-2016-10-31
Resources:
  Gate:
    Type: AWS::ApiGatewayV2::Api
    Metadata: {Livegate: %s}
    Properties: {Name: Gate, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Live: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Gate, StageName: dev, AutoDeploy: true}}
  R:
    Type: AWS::ApiGatewayV2::Route
    Metadata: {Livegate: %s}
    Properties: {ApiId: !Ref Gate, RouteKey: %s, Target: !Sub "integrations/${I}"}
  I: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Gate, IntegrationType: MOCK, RequestTemplates: {$default: '{"statusCode": 200}'}}}
`

func TestAccess(t *testing.T) {
	const jwt = `JWT: {Issuer: https://issuer.example.com, JWKS: https://issuer.example.com/keys, Audiences: [a, b], Scopes: [chat]}`
	want := &model.JWT{Issuer: "https://issuer.example.com", JWKS: "https://issuer.example.com/keys", Audiences: []string{"a", "b"}, Scopes: []string{"chat"}}
	for _, c := range []struct {
		api, route, key string
		onAPI, onRoute  *model.Access
		scopes          []string
		ordered         bool
	}{
		{`{}`, `{` + jwt + `}`, "$connect", nil, &model.Access{JWT: want}, nil, false},
		{`{` + jwt + `}`, `{}`, "$connect", &model.Access{JWT: want}, nil, nil, false},
		{`{Origins: [same-host, "https://*.example.com"]}`, `{Origins: "https://app.example.com", Token: [querystring.token, subprotocol.bearer, cookie.c, header.Authorization]}`, "$connect",
			&model.Access{Origins: []string{"same-host", "https://*.example.com"}}, &model.Access{Origins: []string{"https://app.example.com"}, Token: []string{"querystring.token", "subprotocol.bearer", "cookie.c", "header.Authorization"}}, nil, false},
		{`{` + jwt + `}`, `{Scopes: [orders.write, orders.read], Ordered: true}`, "send", &model.Access{JWT: want}, nil, []string{"orders.write", "orders.read"}, true},
	} {
		r, _ := load(t, Options{Dir: project(t, fmt.Sprintf(accessTemplate, c.api, c.route, c.key))})
		for _, f := range r.Findings {
			if f.Severity != Note {
				t.Errorf("%s %s: %v", c.api, c.route, f)
			}
		}
		a := r.App.APIs[0]
		rt := a.Routes[0]
		for _, x := range []*model.Access{a.Access, rt.Access} {
			if x == nil {
				continue
			}
			if x.Pos.Line == 0 || x.JWT != nil && x.JWT.Pos.Line == 0 {
				t.Errorf("%s %s: no position", c.api, c.route)
			}
			x.Pos = model.Pos{}
			if x.JWT != nil {
				x.JWT.Pos = model.Pos{}
			}
		}
		if !reflect.DeepEqual(a.Access, c.onAPI) || !reflect.DeepEqual(rt.Access, c.onRoute) || !reflect.DeepEqual(rt.Scopes, c.scopes) || rt.Ordered != c.ordered {
			t.Errorf("%s %s: %+v, %+v, %q, %v", c.api, c.route, a.Access, rt.Access, rt.Scopes, rt.Ordered)
		}
	}
}

// A misspelt or misplaced setting would guard nothing, so each is an error.
func TestBadAccess(t *testing.T) {
	const jwt = `JWT: {Issuer: https://i.example.com, Audiences: [a]}`
	for _, c := range []struct{ api, route, key, want string }{
		{`{Orgins: [a]}`, `{}`, "$connect", `an API has no setting "Orgins"`},
		{`{Scopes: [a]}`, `{}`, "$connect", `an API has no setting "Scopes"`},
		{`{Channel: {Join: a}}`, `{}`, "$connect", `an API has no setting "Channel"`},
		{`{}`, `{Origin: [a]}`, "$connect", `a route has no setting "Origin"`},
		{`{}`, `{Origins: ["https://a.example.com"]}`, "send", "Origins is checked when a client connects: the route send"},
		{`{}`, `{` + jwt + `}`, "send", "JWT is checked when a client connects"},
		{`{}`, `{Token: [header.A]}`, "$disconnect", "Token is checked when a client connects"},
		{`{}`, `{Scopes: [a]}`, "$disconnect", "cannot have Scopes"},
		{`{}`, `{Scopes: [a], ` + jwt + `}`, "$connect", "belong to its JWT"},
		{`{Origins: []}`, `{}`, "$connect", "Origins of Gate is empty"},
		{`{Origins: ["*"]}`, `{}`, "$connect", `"*" is not an origin`},
		{`{Origins: [app.example.com]}`, `{}`, "$connect", `"app.example.com" is not an origin`},
		{`{Origins: {a: b}}`, `{}`, "$connect", "must be a list"},
		{`{Token: [body.token], ` + jwt + `}`, `{}`, "$connect", `A token cannot be at "body.token"`},
		{`{Token: [header.], ` + jwt + `}`, `{}`, "$connect", `A token cannot be at "header."`},
		{`{Token: [header.A]}`, `{}`, "$connect", "without JWT nobody looks for one"},
		{`{JWT: {Audiences: [a]}}`, `{}`, "$connect", "needs Livegate.JWT.Issuer"},
		{`{JWT: {Issuer: "https://i.example.com"}}`, `{}`, "$connect", "has no Audiences"},
		{`{JWT: {Issuer: "https://i.example.com", Audiences: []}}`, `{}`, "$connect", "has no Audiences"},
		{`{JWT: {Issuer: "https://i.example.com", Audience: [a]}}`, `{}`, "$connect", `no setting "Audience"`},
		{`{JWT: yes}`, `{}`, "$connect", "Livegate.JWT of Gate must be a map"},
		{`yes`, `{}`, "$connect", "must be a map"},
	} {
		r, _ := load(t, Options{Dir: project(t, fmt.Sprintf(accessTemplate, c.api, c.route, c.key))})
		found := false
		for _, f := range r.Findings {
			found = found || f.Severity == Error && strings.Contains(f.Message, c.want) && f.Pos.Line > 0
		}
		if !found {
			t.Errorf("%s %s on %s: no error with %q in %v", c.api, c.route, c.key, c.want, r.Findings)
		}
	}
}

func TestAccessElsewhere(t *testing.T) {
	text := strings.Replace(fmt.Sprintf(accessTemplate, `{}`, `{}`, "$connect"), "Live: {Type: AWS::ApiGatewayV2::Stage,",
		"Live: {Type: AWS::ApiGatewayV2::Stage, Metadata: {Livegate: {Origins: [same-host]}},", 1)
	r, _ := load(t, Options{Dir: project(t, text)})
	if len(r.Findings) == 0 || r.Findings[0].Severity != Error || !strings.Contains(r.Findings[0].Message, "Origins guards nothing on AWS::ApiGatewayV2::Stage") {
		t.Errorf("%v", r.Findings)
	}
}

const authorizerTemplate = `
-- fn/index.js --
-- template.yaml --
Transform: AWS::Serverless-2016-10-31
Resources:
  Gate: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: Gate, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
  Live: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Gate, StageName: dev, AutoDeploy: true}}
  Fn: {Type: AWS::Serverless::Function, Properties: {Runtime: nodejs20.x, Handler: index.handler, CodeUri: fn}}
  Auth: {Type: AWS::ApiGatewayV2::Authorizer, Properties: {ApiId: !Ref Gate, Name: a, AuthorizerType: REQUEST, %s}}
  R: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Gate, RouteKey: $connect, AuthorizationType: CUSTOM, AuthorizerId: !Ref Auth, Target: !Sub "integrations/${I}"}}
  I: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Gate, IntegrationType: MOCK, RequestTemplates: {$default: '{"statusCode": 200}'}}}
`

func TestAuthorizers(t *testing.T) {
	const uri = `AuthorizerUri: !Sub "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fn.Arn}/invocations"`
	for _, c := range []struct{ properties, want string }{
		{uri, ""},
		{uri + `, IdentitySource: [route.request.header.Auth, route.request.querystring.t, stageVariables.v, context.identity.sourceIp]`, ""},
		{`AuthorizerUri: !Sub "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fn.Arn}:${!stageVariables.alias}/invocations"`, ""},
		{uri + `, IdentitySource: [route.request.header.Cookie]`, "warning: Auth decides by a cookie"},
		{uri + `, EnableSimpleResponses: true`, "warning: Simple responses are for HTTP APIs"},
		{uri + `, IdentitySource: [method.request.header.Auth]`, `error: An authorizer of a WebSocket API cannot look at "method.request.header.Auth"`},
		{uri + `, IdentitySource: [$request.header.Auth]`, "error: An authorizer of a WebSocket API cannot look at"},
		{uri + `, IdentitySource: [route.request.header.]`, "error: An authorizer of a WebSocket API cannot look at"},
		{`IdentitySource: []`, "error: Auth (AWS::ApiGatewayV2::Authorizer) needs AuthorizerUri"},
		{`AuthorizerUri: https://example.com`, "error: The AuthorizerUri of Auth names no Lambda function"},
		{`AuthorizerUri: !GetAtt Fn.Arn`, "error: The AuthorizerUri of Auth names no Lambda function"},
		{strings.Replace(uri, "${Fn.Arn}", "arn:aws:lambda:eu-west-1:1:function:fm", 1), `error: Auth calls the function "fm", which is not in this template`},
		{strings.Replace(uri, "${Fn.Arn}", "${Fn.Arn}:live", 1), `error: Auth calls the alias "live"`},
	} {
		r, _ := load(t, Options{Dir: project(t, fmt.Sprintf(authorizerTemplate, c.properties))})
		var got []string
		for _, f := range r.Findings {
			if f.Severity != Note {
				got = append(got, string(f.Severity)+": "+f.Message)
			}
		}
		if all := strings.Join(got, "\n"); c.want == "" && all != "" || c.want != "" && !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", c.properties, all, c.want)
		}
	}
}
