package stack

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

const mappings = `
-- template.yaml --
Resources:
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: a, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
  R: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Api, RouteKey: $default, Target: !Sub "integrations/${I}"}}
  S: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Api, StageName: dev, AutoDeploy: true}}
  I:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
INTEGRATION
  A:
    Type: AWS::ApiGatewayV2::IntegrationResponse
    Properties:
      ApiId: !Ref Api
      IntegrationId: !Ref I
ANSWER
`

// Line 9 is the first of the integration's own lines; the answer's first is seven
// after its last.
func TestMappingFindings(t *testing.T) {
	const dynamo = "IntegrationType: AWS\nIntegrationUri: arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem\nCredentialsArn: arn:aws:iam::1:role/r\n"
	const anyAnswer = "IntegrationResponseKey: $default"
	for _, v := range []struct {
		name, integration, answer string
		want                      string // "line severity code fragment"; "" for no findings
	}{
		{"fine", dynamo + "TemplateSelectionExpression: \\$default\nRequestTemplates: {$default: '{\"a\":$input.json(\"$.a\")}'}\nRequestParameters: {integration.request.header.A: context.stage}", anyAnswer, ""},
		{"function", "IntegrationType: AWS\nIntegrationUri: arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:1:function:nope/invocations", anyAnswer, `10 error unknown-function "nope"`},
		{"http", "IntegrationType: HTTP\nIntegrationUri: http://example.test/", anyAnswer, ""},
		{"http without a URL", "IntegrationType: HTTP\nIntegrationUri: x", anyAnswer, "10 error bad-integration-uri is no URL"},
		{"service", "IntegrationType: AWS\nIntegrationUri: dynamodb", anyAnswer, "10 error bad-integration-uri names no action of an AWS service"},
		{"role", "IntegrationType: AWS\nIntegrationUri: arn:aws:apigateway:eu-west-1:sqs:path/1/q", anyAnswer, "5 note no-credentials needs a role to call sqs with"},
		{"block template", dynamo + "RequestTemplates:\n  $default: |\n    {\n      #if($x)\n    }", anyAnswer, "15 error bad-template RequestTemplates \"$default\" of I, line 2, column 3"},
		{"template in a line", dynamo + "RequestTemplates: {a: '#foreach($x in'}", anyAnswer, `12 error bad-template RequestTemplates "a" of I, line 1, column `},
		{"answer's template", "IntegrationType: MOCK", anyAnswer + "\nResponseTemplates: {a: '#set($x'}", `16 error bad-template ResponseTemplates "a" of A, line 1, column `},
		{"answer's template of a proxy", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x", anyAnswer + "\nResponseTemplates: {a: '#set($x'}", ""},
		{"destination", dynamo + "RequestParameters: {integration.request.cookie.a: context.stage}", anyAnswer, "12 error bad-parameter-mapping cannot have the key"},
		{"source", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x\nRequestParameters: {integration.request.header.a: text}", anyAnswer, "11 error bad-parameter-mapping needs single quotes: 'text'"},
		{"source of later", dynamo + "RequestParameters: {integration.request.header.a: integration.response.header.b}", anyAnswer, "12 error bad-parameter-mapping only after the call"},
		{"answer's destination", "IntegrationType: MOCK", anyAnswer + "\nResponseParameters: {a: \"'x'\"}", "16 error bad-parameter-mapping cannot have the key"},
		{"selection", "IntegrationType: MOCK\nTemplateSelectionExpression: ${request.body", anyAnswer, "10 error bad-selection-expression is not closed"},
		{"answer's selection", "IntegrationType: MOCK", anyAnswer + "\nTemplateSelectionExpression: $x.y", "16 error bad-selection-expression unknown variable"},
		{"key", "IntegrationType: MOCK", "IntegrationResponseKey: /(/", "15 error bad-response-key not a regular expression"},
		{"of HTTP APIs", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x\nIntegrationSubtype: SQS-SendMessage", anyAnswer, "11 warning http-api-only does nothing in a WebSocket API"},
		{"version 2 events", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x\nPayloadFormatVersion: 2.0", anyAnswer, "11 error bad-property cannot be \"2.0\""},
		{"version 1 events", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x\nPayloadFormatVersion: 1.0", anyAnswer, ""},
		{"long source", "IntegrationType: HTTP_PROXY\nIntegrationUri: http://x\nRequestParameters: {integration.request.header.a: \"'" + strings.Repeat("x", 511) + "'\"}", anyAnswer, "11 warning aws-quota 513 characters"},
		{"long template", dynamo + "RequestTemplates: {a: '" + strings.Repeat("x", 300<<10+1) + "'}", anyAnswer, "12 warning aws-quota 307201 bytes"},
		{"two of a key", "IntegrationType: MOCK", anyAnswer + "\n  B:\n    Type: AWS::ApiGatewayV2::IntegrationResponse\n    Properties: {ApiId: !Ref Api, IntegrationId: !Ref I, IntegrationResponseKey: '\\$default'}", "18 error duplicate-name already has a response"},
	} {
		t.Run(v.name, func(t *testing.T) {
			text := strings.Replace(mappings, "INTEGRATION", indent(v.integration), 1)
			dir := project(t, strings.Replace(text, "ANSWER", indent(v.answer), 1))
			r, err := Load(context.Background(), Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			found := v.want == ""
			for _, f := range r.Findings {
				screen(t, f)
				line := fmt.Sprintf("%d %s %s %s", f.Pos.Line, f.Severity, f.Code, f.Message)
				lines = append(lines, line)
				found = found || matches(line, v.want)
			}
			if !found || len(lines) > 1 || v.want == "" && len(lines) > 0 {
				t.Errorf("got  %s\nwant %s", strings.Join(lines, "\n     "), v.want)
			}
		})
	}
}

// matches compares "line severity code" exactly where want has them, and the rest
// as a part of the message.
func matches(line, want string) bool {
	head := strings.SplitN(want, " ", 4)
	if len(head) == 4 && strings.HasPrefix(line, strings.Join(head[:3], " ")+" ") {
		return strings.Contains(line, head[3])
	}
	return strings.Contains(line, want)
}

// indent puts lines among the properties; those of a further resource stay as deep
// as they are.
func indent(text string) string {
	lines := strings.Split(text, "\n")
	outside := false
	for i, l := range lines {
		if outside = outside || strings.HasPrefix(l, "  B:"); !outside {
			lines[i] = "      " + l
		}
	}
	return strings.Join(lines, "\n")
}
