package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// findingsOf loads a template with an API, the function behind it, and more.
func findingsOf(t *testing.T, more string, files map[string]string) *Result {
	t.Helper()
	dir := project(t, `
-- template.yaml --
Resources:
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: a, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
  Call: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Api, IntegrationType: MOCK, RequestTemplates: {$default: '{"statusCode":200}'}}}
  Live: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: prod, AutoDeploy: true}}
`+more)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := load(t, Options{Dir: dir})
	return r
}

// expectFinding asserts that there is one with a severity, a code, a line and words.
func expectFinding(t *testing.T, r *Result, severity Severity, code string, line int, words string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Code == code && f.Severity == severity && (line == 0 || f.Pos.Line == line) && strings.Contains(f.Message, words) {
			return
		}
	}
	t.Errorf("no %s %s at line %d with %q:\n%v", severity, code, line, words, r.Findings)
}

func expectNone(t *testing.T, r *Result, codes ...string) {
	t.Helper()
	for _, f := range r.Findings {
		for _, code := range codes {
			if f.Code == code {
				t.Errorf("%v", f)
			}
		}
	}
}

func modelAndRoute(schema, route string) string {
	return fmt.Sprintf("  Shape: {Type: AWS::ApiGatewayV2::Model, Properties: {ApiId: !Ref Api, Name: shape, Schema: %s}}\n", schema) +
		fmt.Sprintf("  Say: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: say, Target: !Sub 'integrations/${Call}', %s}}\n", route)
}

func TestModels(t *testing.T) {
	const uses = `ModelSelectionExpression: $request.body.kind, RequestModels: {$default: shape}`
	r := findingsOf(t, modelAndRoute(`{type: object, required: [a]}`, uses), nil)
	expectNone(t, r, "bad-model", "unknown-model", "model-not-supported", "models-without-expression")
	if m := r.App.APIs[0].Models; len(m) != 1 || m[0].Schema != `{"type":"object","required":["a"]}` {
		t.Errorf("%+v", m)
	}
	for _, v := range []struct {
		schema, route string
		severity      Severity
		code          string
		line          int
		words         string
	}{
		{`{type: strin}`, uses, Error, "bad-model", 5, "at /type"},
		{`'{"type":'`, uses, Error, "bad-model", 5, "not JSON"},
		{`{$ref: 'https://schemas.example.com/x.json'}`, uses, Error, "bad-model", 5, "leads out of the API"},
		{`{}`, `ModelSelectionExpression: $default, RequestModels: {$default: shap}`, Error, "unknown-model", 6, `"shap"`},
		{`{}`, `ModelSelectionExpression: '${request.body', RequestModels: {$default: shape}`, Error, "bad-selection-expression", 6, "not valid"},
		{`{}`, `RequestModels: {$default: shape}`, Warning, "models-without-expression", 6, "no message is checked"},
		{`{}`, `ModelSelectionExpression: $default`, Warning, "no-request-models", 6, "every message is refused"},
	} {
		expectFinding(t, findingsOf(t, modelAndRoute(v.schema, v.route), nil), v.severity, v.code, v.line, v.words)
	}
	r = findingsOf(t, "  A: {Type: AWS::ApiGatewayV2::Model, Properties: {ApiId: !Ref Api, Name: my-model, Schema: {}}}\n  B: {Type: AWS::ApiGatewayV2::Model, Properties: {ApiId: !Ref Api, Name: same, Schema: {}}}\n  C: {Type: AWS::ApiGatewayV2::Model, Properties: {ApiId: !Ref Api, Name: same, Schema: {}}}\n", nil)
	expectFinding(t, r, Error, "bad-model", 5, "my-model")
	expectFinding(t, r, Error, "duplicate-name", 7, `two models "same"`)
}

// What AWS would refuse for its size works here, and is said.
func TestQuotas(t *testing.T) {
	var many strings.Builder
	for i := range 301 {
		fmt.Fprintf(&many, "  R%d: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: r%d, Target: !Sub 'integrations/${Call}'}}\n", i, i)
	}
	for i := range 10 {
		fmt.Fprintf(&many, "  S%d: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: s%d, AutoDeploy: true}}\n", i, i)
	}
	r := findingsOf(t, many.String(), nil)
	expectFinding(t, r, Warning, "aws-quota", 2, "301 routes")
	expectFinding(t, r, Warning, "aws-quota", 2, "11 stages")
	if r.Failed() || len(r.App.APIs[0].Routes) != 301 {
		t.Error("it should load")
	}
	stage := func(props string) string {
		return "  Two: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: two, AutoDeploy: true, " + props + "}}\n"
	}
	for props, want := range map[string][2]string{
		`StageVariables: {a: '` + strings.Repeat("x", 513) + `'}`:                             {"aws-quota", "513 characters"},
		`StageVariables: {` + strings.Repeat("k", 65) + `: v}`:                                {"aws-quota", "65 characters"},
		`StageVariables: {a: 'b c'}`:                                                          {"bad-stage-variable", `variable "a"`},
		`AccessLogSettings: {Format: '$context.routeKey'}`:                                    {"bad-log-format", "neither $context.requestId"},
		`AccessLogSettings: {Format: '$context.requestId $context.nope'}`:                     {"unknown-variable", "$context.nope"},
		`AccessLogSettings: {Format: '$context.requestId ` + strings.Repeat("x", 3100) + `'}`: {"aws-quota", "3119 bytes"},
	} {
		expectFinding(t, findingsOf(t, stage(props), nil), Warning, want[0], 0, want[1])
	}
	expectNone(t, findingsOf(t, stage(`StageVariables: {a: 'x-._~:/?#&=,9'}, AccessLogSettings: {Format: '{"id":"$context.requestId","p":"$context.authorizer.plan"}'}`), nil),
		"aws-quota", "bad-stage-variable", "bad-log-format", "unknown-variable")
}

// A deployment that does not wait for a route would be without it on AWS.
func TestDeploymentOrder(t *testing.T) {
	template := func(depends string) string {
		return `  Say: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: say, Target: !Sub 'integrations/${Call}'}}
  Late: {Type: AWS::ApiGatewayV2::Route, DependsOn: Say, Properties: {ApiId: !Ref Api, RouteKey: late, Target: !Sub 'integrations/${Call}'}}
  Snapshot: {Type: AWS::ApiGatewayV2::Deployment, ` + depends + `Properties: {ApiId: !Ref Api}}
  Two: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: two, DeploymentId: !Ref Snapshot}}
`
	}
	expectFinding(t, findingsOf(t, template(""), nil), Warning, "deployment-too-early", 7, "the routes say, late, and would not have them")
	expectFinding(t, findingsOf(t, template("DependsOn: [Say], "), nil), Warning, "deployment-too-early", 7, "the route late, and would not have it")
	expectNone(t, findingsOf(t, template("DependsOn: Late, "), nil), "deployment-too-early")
	expectNone(t, findingsOf(t, template("DependsOn: [Say, Late], "), nil), "deployment-too-early")
}

func TestTrustStore(t *testing.T) {
	domain := func(store string) string {
		return "  Name:\n    Type: AWS::ApiGatewayV2::DomainName\n    Metadata: {Livegate: {" + store + "}}\n    Properties: {DomainName: ws.example.test, MutualTlsAuthentication: {TruststoreUri: s3://b/k}}\n"
	}
	ca := map[string]string{"ca.pem": "-----BEGIN CERTIFICATE-----\n", "key.pem": "-----BEGIN PRIVATE KEY-----\n"}
	r := findingsOf(t, domain("TrustStore: ca.pem"), ca)
	expectNone(t, r, "bad-trust-store", "unknown-livegate-key")
	expectFinding(t, r, Warning, "no-mutual-tls", 8, "ws.example.test")
	if d := r.App.Domains; len(d) != 1 || filepath.Base(d[0].TrustStore) != "ca.pem" || !filepath.IsAbs(d[0].TrustStore) {
		t.Errorf("%+v", d)
	}
	found := false
	for _, f := range r.Files {
		found = found || filepath.Base(f) == "ca.pem"
	}
	if !found {
		t.Errorf("the trust store is not watched: %v", r.Files)
	}
	expectFinding(t, findingsOf(t, domain("TrustStore: gone.pem"), ca), Error, "bad-trust-store", 7, "cannot be read")
	expectFinding(t, findingsOf(t, domain("TrustStore: key.pem"), ca), Error, "bad-trust-store", 7, "holds no certificate")
	expectFinding(t, findingsOf(t, domain("TrustStore: ''"), ca), Error, "bad-trust-store", 7, "is empty")
	expectFinding(t, findingsOf(t, domain("Truststore: ca.pem"), ca), Error, "unknown-livegate-key", 7, `"Truststore"`)
}
