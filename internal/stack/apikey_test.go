package stack

import (
	"reflect"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

const keyTemplate = `
-- template.yaml --
Parameters: {Secret: {Type: String, Default: abcdefghij0123456789, NoEcho: true}}
Resources:
  Gate: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: Gate, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}}
  Live: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Gate, StageName: dev, AutoDeploy: true}}
  Rest: {Type: AWS::ApiGateway::RestApi}
  R: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Gate, RouteKey: $connect, ApiKeyRequired: true, Target: !Sub "integrations/${I}"}}
  Send: {Type: AWS::ApiGatewayV2::Route, Properties: {ApiId: !Ref Gate, RouteKey: send, Target: !Sub "integrations/${I}"}}
  I: {Type: AWS::ApiGatewayV2::Integration, Properties: {ApiId: !Ref Gate, IntegrationType: MOCK, RequestTemplates: {$default: '{"statusCode": 200}'}}}
  Key: {Type: AWS::ApiGateway::ApiKey, Properties: {Name: mine, Enabled: true, Value: !Ref Secret}}
  Off: {Type: AWS::ApiGateway::ApiKey}
  Plan:
    Type: AWS::ApiGateway::UsagePlan
    Properties:
      UsagePlanName: gold
      ApiStages:
        - {ApiId: !Ref Gate, Stage: !Ref Live, Throttle: {send: {RateLimit: 1, BurstLimit: 2}}}
        - {ApiId: !Ref Rest, Stage: prod}
      Throttle: {RateLimit: 10.5, BurstLimit: 20}
      Quota: {Limit: 1000, Offset: 10, Period: WEEK}
  In: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
  In2: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !GetAtt Off.APIKeyId, KeyType: API_KEY, UsagePlanId: !GetAtt Plan.Id}}
Outputs:
  KeyId: {Value: !Ref Key}
`

func TestAPIKeys(t *testing.T) {
	r, _ := load(t, Options{Dir: project(t, keyTemplate)})
	for _, f := range r.Findings {
		if f.Severity == Error || f.Severity == Warning && !strings.Contains(f.Message, "RestApi") {
			t.Error(f)
		}
	}
	keys, plans := r.App.APIKeys, r.App.UsagePlans
	if len(keys) != 2 || len(plans) != 1 || !r.App.APIs[0].Routes[0].APIKeyRequired {
		t.Fatalf("%+v %+v", keys, plans)
	}
	if k := keys[0]; k.Name != "mine" || !k.Enabled || k.Value != "abcdefghij0123456789" || len(k.ID) != 10 || k.ID != r.App.Outputs[0].Value || k.Pos.Line != 9 {
		t.Errorf("%+v", k)
	}
	if k := keys[1]; k.Enabled || k.Value != "" || !strings.HasPrefix(k.Name, "demo-Off-") && k.Name == "" {
		t.Errorf("%+v", k)
	}
	p := *plans[0]
	p.Pos = model.Pos{}
	want := model.UsagePlan{LogicalID: "Plan", ID: p.ID, Name: "gold", Keys: []string{keys[0].ID, keys[1].ID},
		Stages:   []model.PlanStage{{APIID: r.App.APIs[0].ID, Stage: "dev", Routes: map[string]model.Throttle{"send": {Rate: 1, Burst: 2}}}},
		Throttle: model.Throttle{Rate: 10.5, Burst: 20}, Quota: model.Quota{Limit: 1000, Offset: 10, Period: "WEEK"}}
	if len(p.ID) != 6 || !reflect.DeepEqual(p, want) {
		t.Errorf("%+v\nwant %+v", p, want)
	}
	again, _ := load(t, Options{Dir: project(t, keyTemplate)})
	if again.App.APIKeys[0].ID != keys[0].ID {
		t.Error("the id of a key is not stable")
	}
}

func TestBadAPIKeys(t *testing.T) {
	for _, c := range []struct {
		old, new string
		severity Severity
		want     string
	}{
		{"Value: !Ref Secret", "Value: short", Error, "The Value of the API key Key is not valid"},
		{"Off: {Type: AWS::ApiGateway::ApiKey}", "Off: {Type: AWS::ApiGateway::ApiKey, Properties: {Value: !Ref Secret}}", Error, "has the same Value"},
		{"Off: {Type: AWS::ApiGateway::ApiKey}", "Off: {Type: AWS::ApiGateway::ApiKey}", Note, "AWS would draw a value for the API key Off"},
		{"Stage: !Ref Live", "Stage: prod", Error, `has the stage "prod", which the API Gate does not have`},
		{"Period: WEEK", "Period: YEAR", Error, `Quota.Period of Plan cannot be "YEAR"`},
		{", Period: WEEK", "", Error, "needs Quota.Period"},
		{"Limit: 1000, ", "", Error, "needs Quota.Limit"},
		{"RateLimit: 10.5", "RateLimit: -1", Error, "cannot be negative"},
		{"BurstLimit: 20", "BurstLimit: many", Error, "must be a whole number"},
		{"Throttle: {send:", "Throttle: {sent:", Warning, `throttles the route "sent"`},
		{"ApiId: !Ref Gate, Stage: !Ref Live, Throttle", "ApiId: !Ref Gate, Throttle", Error, "needs ApiStages.Stage"},
		{"KeyId: !Ref Key", "KeyId: abc", Warning, `names the API key "abc"`},
		{"UsagePlanId: !Ref Plan", "UsagePlanId: abc", Warning, `names the usage plan "abc"`},
		{"KeyType: API_KEY", "KeyType: OTHER", Error, "cannot be"},
	} {
		text := strings.Replace(keyTemplate, c.old, c.new, 1)
		r, _ := load(t, Options{Dir: project(t, text)})
		found := false
		for _, f := range r.Findings {
			found = found || f.Severity == c.severity && strings.Contains(f.Message, c.want)
			if strings.Contains(f.String(), "abcdefghij0123456789") {
				t.Errorf("the key is in %v", f)
			}
		}
		if !found {
			t.Errorf("%s: no %s with %q in %v", c.new, c.severity, c.want, r.Findings)
		}
	}
}
