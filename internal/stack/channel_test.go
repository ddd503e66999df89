package stack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

const channelTemplate = `
-- template.yaml --
Resources:
  Gate:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: Gate, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Live: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Gate, StageName: dev, AutoDeploy: true}}
  R:
    Type: AWS::ApiGatewayV2::Route
    Metadata:
      Livegate: %s
    Properties: {ApiId: !Ref Gate, RouteKey: %s}
`

func TestChannelRoutes(t *testing.T) {
	for text, want := range map[string]model.Channel{
		`{Channel: {Join: "news/${request.body.ch}"}}`:                            {Action: model.Join, Name: "news/${request.body.ch}"},
		`{Channel: {Leave: "u/${context.identity.sourceIp}/$request.body.a[0]"}}`: {Action: model.Leave, Name: "u/${context.identity.sourceIp}/$request.body.a[0]"},
		`{Channel: {Publish: !Sub "${AWS::Region}/${!request.body['a b']}"}}`:     {Action: model.Publish, Name: "us-east-1/${request.body['a b']}"},
		`{Channel: {Join: "all/*"}}`:                                              {Action: model.Join, Name: "all/*"},
		`{Channel: {Join: "t/${context.authorizer.tenant}"}}`:                     {Action: model.Join, Name: "t/${context.authorizer.tenant}"},
	} {
		r, _ := load(t, Options{Dir: project(t, fmt.Sprintf(channelTemplate, text, "go"))})
		for _, f := range r.Findings {
			if f.Severity != Note {
				t.Errorf("%s: %v", text, f)
			}
		}
		c := r.App.APIs[0].Routes[0].Channel
		if c == nil || c.Action != want.Action || c.Name != want.Name || c.Pos.Line != 9 {
			t.Errorf("%s: %+v", text, c)
		}
	}
}

func TestBadChannelRoutes(t *testing.T) {
	for _, v := range []struct{ metadata, key, want string }{
		{`{Chanel: {Join: a}}`, "go", `no setting "Chanel"`},
		{`yes please`, "go", "Metadata Livegate of R must be a map"},
		{`{Channel: news}`, "go", "Metadata Livegate.Channel of R must be a map"},
		{`{Channel: {}}`, "go", "exactly one of Join, Leave and Publish; it has 0"},
		{`{Channel: {Join: a, Leave: b}}`, "go", "exactly one of Join, Leave and Publish; it has 2"},
		{`{Channel: {Joim: a}}`, "go", `cannot "Joim"`},
		{`{Channel: {Join: [a]}}`, "go", "must be the name of a channel"},
		{`{Channel: {Join: ""}}`, "go", "must be the name of a channel"},
		{`{Channel: {Join: "a/${request.body.x"}}`, "go", "is not closed"},
		{`{Channel: {Join: "a/${nope.x}"}}`, "go", `unknown variable "nope.x"`},
		{`{Channel: {Join: "a/${request.body}"}}`, "go", "unknown placeholder ${request.body}"},
		{`{Channel: {Join: "a/${request.header.x}"}}`, "go", "unknown placeholder ${request.header.x}"},
		{`{Channel: {Join: "a/${context.nope}"}}`, "go", "unknown placeholder ${context.nope}"},
		{`{Channel: {Publish: "news/*"}}`, "go", "a wildcard stands for many channels"},
		{`{Channel: {Join: "a/*/${request.body.x}"}}`, "go", "a wildcard is allowed only as the last segment"},
		{`{Channel: {Leave: "a//${request.body.x}"}}`, "go", "segment 2, at byte 3, is empty"},
		{`{Channel: {Join: "a"}}`, "$connect", "The route $connect cannot have a Channel"},
		{`{Channel: {Join: "a"}}`, "$disconnect", "The route $disconnect cannot have a Channel"},
	} {
		r, _ := load(t, Options{Dir: project(t, fmt.Sprintf(channelTemplate, v.metadata, v.key))})
		found := false
		for _, f := range r.Findings {
			found = found || f.Severity == Error && strings.Contains(f.Message, v.want) && f.Pos.Line == 9
		}
		if !found || !r.Failed() {
			t.Errorf("%s: want %q on line 9, got %v", v.metadata, v.want, r.Findings)
		}
	}
}

// A Target beside the channel is kept, and so is what its absence means without one.
func TestChannelAndTarget(t *testing.T) {
	r, _ := load(t, Options{Dir: project(t, strings.Replace(fmt.Sprintf(channelTemplate, "{Channel: {Join: a}}", "go"), "RouteKey: go}", `RouteKey: go, Target: !Sub "integrations/${M}"}
  M:
    Type: AWS::ApiGatewayV2::Integration
    Properties: {ApiId: !Ref Gate, IntegrationType: MOCK}`, 1))})
	if rt := r.App.APIs[0].Routes[0]; rt.Channel == nil || rt.Integration == nil {
		t.Errorf("%+v %v", rt, r.Findings)
	}
}
