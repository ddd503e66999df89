package integration

import (
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Whatever is wrong with an integration is found when it is compiled, named with
// file and line, and returned by every call.
func TestMalformedIntegrations(t *testing.T) {
	const dynamo = "arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem"
	header := func(name, source string) map[string]string {
		return map[string]string{"integration.request.header." + name: source}
	}
	template := func(text string) map[string]string { return map[string]string{"$default": text} }
	answer := func(r model.IntegrationResponse) []*model.IntegrationResponse {
		r.Pos = model.Pos{File: "template.yaml", Line: 40}
		return []*model.IntegrationResponse{&r}
	}
	for _, v := range []struct {
		name string
		in   model.Integration
		want string
	}{
		{"type", model.Integration{Type: "ODD"}, `unknown IntegrationType "ODD"`},
		{"no type", model.Integration{}, `unknown IntegrationType ""`},
		{"scheme", model.Integration{Type: model.HTTPProxy, URI: "ftp://x"}, "not an http:// or https:// URL"},
		{"no URL", model.Integration{Type: model.HTTP}, "not an http:// or https:// URL"},
		{"URL without host", model.Integration{Type: model.HTTP, URI: "http:///x"}, "not an http:// or https:// URL"},
		{"stage variable", model.Integration{Type: model.HTTP, URI: "http://${stageVariables.x/"}, "is written ${stageVariables.name}"},
		{"method", model.Integration{Type: model.HTTP, URI: "http://x", Method: "GET /\r\nX: y"}, "is not an HTTP method"},
		{"function", model.Integration{Type: model.AWSProxy, URI: "arn:aws:lambda"}, "does not name a function"},
		{"function without an end", model.Integration{Type: model.AWS, URI: strings.TrimSuffix(functionPath, "/") + "echo"}, "does not name a function"},
		{"credentials", model.Integration{Type: model.AWS, URI: dynamo, CredentialsARN: "arn:aws:iam::1:role/${stageVariables.}"}, "is written ${stageVariables.name}"},
		{"no service", model.Integration{Type: model.AWS}, "does not name an action of a service"},
		{"not an ARN", model.Integration{Type: model.AWS, URI: "https://dynamodb.eu-west-1.amazonaws.com"}, "does not name an action of a service"},
		{"no action", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:dynamodb:action/"}, "names no action"},
		{"neither action nor path", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:dynamodb:PutItem"}, "names no action"},
		{"odd action", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:dynamodb:action/Put\r\nItem"}, "is not the name of an action"},
		{"odd region", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:evil.test/:dynamodb:action/PutItem"}, "region and service are lower-case names"},
		{"odd service", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:x@y:action/PutItem"}, "region and service are lower-case names"},
		{"empty path", model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:s3:path/"}, "has an empty path"},
		{"content handling", model.Integration{Type: model.Mock, ContentHandling: "BINARY"}, `ContentHandlingStrategy cannot be "BINARY"`},
		{"passthrough", model.Integration{Type: model.Mock, PassthroughBehavior: "ALWAYS"}, `PassthroughBehavior cannot be "ALWAYS"`},
		{"destination", model.Integration{Type: model.HTTPProxy, URI: "http://x", RequestParameters: map[string]string{"integration.request.cookie.a": "'x'"}}, "want integration.request.header.NAME"},
		{"destination without name", model.Integration{Type: model.AWS, URI: dynamo, RequestParameters: header("", "'x'")}, "want integration.request.header.NAME"},
		{"destination with a break", model.Integration{Type: model.HTTP, URI: "http://x", RequestParameters: header("A\r\nB", "'x'")}, "want integration.request.header.NAME"},
		{"destination on a MOCK", model.Integration{Type: model.Mock, RequestParameters: map[string]string{"a": "'x'"}}, "want integration.request.header.NAME"},
		{"framing header", model.Integration{Type: model.HTTP, URI: "http://x", RequestParameters: header("transfer-encoding", "route.request.body.a")}, "belongs to the connection"},
		{"length header", model.Integration{Type: model.AWS, URI: dynamo, RequestParameters: header("Content-Length", "'1'")}, "belongs to the connection"},
		{"host of a service", model.Integration{Type: model.AWS, URI: dynamo, RequestParameters: header("host", "'x'")}, "the Host of an AWS service cannot be mapped"},
		{"path parameter", model.Integration{Type: model.HTTP, URI: "http://x/{a}", RequestParameters: map[string]string{"integration.request.path.b": "'x'"}}, "has no {b}"},
		{"source", model.Integration{Type: model.HTTP, URI: "http://x", RequestParameters: header("a", "x")}, "needs single quotes: 'x'"},
		{"source of later", model.Integration{Type: model.HTTP, URI: "http://x", RequestParameters: header("a", "integration.response.header.a")}, "only after the call"},
		{"source path", model.Integration{Type: model.AWS, URI: dynamo, RequestParameters: header("a", "route.request.body.a[")}, "JSON path"},
		{"selection of a template", model.Integration{Type: model.Mock, TemplateSelectionExpression: "${request.body"}, `"${" is not closed`},
		{"template", model.Integration{Type: model.AWS, URI: dynamo, RequestTemplates: template("{\n  \"a\": 1\n  #if($x)\n")}, `RequestTemplates "$default", line `},
		{"response key", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{})}, "a selection key is empty"},
		{"response pattern", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "/(/"})}, "not a regular expression"},
		{"look-ahead", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "/(?!200).*/"})}, "not a regular expression this gateway can run (RE2)"},
		{"two defaults", model.Integration{Type: model.Mock, Responses: []*model.IntegrationResponse{{Key: "$default"}, {Key: `\$default`}}}, "there is another with this key"},
		{"two of a key", model.Integration{Type: model.Mock, Responses: []*model.IntegrationResponse{{Key: "/200/"}, {Key: "/200/"}}}, "there is another with this key"},
		{"no response", model.Integration{Type: model.Mock, Responses: []*model.IntegrationResponse{nil}}, "integration response 1 is empty"},
		{"response template", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "$default", Templates: map[string]string{"200": "#foreach($x in)"}})},
			`integration response $default (template.yaml:40): ResponseTemplates "200", line 1, column `},
		{"response selection", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "$default", TemplateSelectionExpression: "$foo.bar"})},
			`integration response $default (template.yaml:40): selection expression "$foo.bar"`},
		{"response content", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "$default", ContentHandling: "x"})}, `ContentHandlingStrategy cannot be "x"`},
		{"response destination", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "$default", Parameters: map[string]string{"integration.response.header.a": "'x'"}})}, "want route.response.header.NAME"},
		{"response source", model.Integration{Type: model.Mock, Responses: answer(model.IntegrationResponse{Key: "$default", Parameters: map[string]string{"route.response.header.a": "x"}})}, "needs single quotes"},
	} {
		t.Run(v.name, func(t *testing.T) {
			v.in.LogicalID, v.in.Pos = "Back", model.Pos{File: "template.yaml", Line: 12}
			plan := Compile(&v.in)
			_, err := New(Config{}).Call(t.Context(), request(plan, event.TypeMessage))
			if err == nil || plan.Err() == nil || !strings.HasPrefix(err.Error(), "integration Back (template.yaml:12): ") || !strings.Contains(err.Error(), v.want) {
				t.Fatalf("%v, want %q", err, v.want)
			}
			if !fault.Is(err, fault.BadRequest) || !plan.Instant() {
				t.Errorf("kind %v, instant %v", fault.KindOf(err), plan.Instant())
			}
			if _, ok := plan.Fixed(); ok {
				t.Error("a plan that cannot run has a fixed answer")
			}
		})
	}
	if Compile(nil).Err() == nil {
		t.Error("a route without a target can run")
	}
}

// Proxy types ignore what is left over from other types: public samples have an
// integration response on AWS_PROXY.
func TestProxiesIgnoreMappings(t *testing.T) {
	for _, typ := range []model.IntegrationType{model.AWSProxy, model.HTTPProxy} {
		uri := "http://example.test/"
		if typ == model.AWSProxy {
			uri = functionPath + "echo/invocations"
		}
		plan := Compile(&model.Integration{Type: typ, URI: uri, RequestTemplates: map[string]string{"$default": "#if("},
			Responses: []*model.IntegrationResponse{{Key: "/(/", Templates: map[string]string{"x": "#end"}}}})
		if plan.Err() != nil {
			t.Errorf("%s: %v", typ, plan.Err())
		}
	}
}
