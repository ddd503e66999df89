package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// build fills b.app. Each pass needs what the ones before it found, in all
// stacks: a route in one nested stack may call a function of another.
func (b *builder) build(roots []*instance) {
	b.functions = map[string]*builtFunction{}
	b.layers = map[string]*model.Layer{}
	b.apis = map[string]*builtAPI{}
	b.domains = map[string]*model.Domain{}
	for _, in := range roots {
		b.nest(in)
	}
	passes := []map[string]func(*instance, *cfn.Resource){
		{"AWS::Lambda::LayerVersion": b.layer, "AWS::DynamoDB::Table": b.table, "AWS::DynamoDB::GlobalTable": b.table, v2 + "Api": b.api},
		{"AWS::Lambda::Function": b.function},
		{"AWS::Lambda::Alias": b.alias, "AWS::Lambda::EventInvokeConfig": b.invokeConfig, "AWS::Lambda::EventSourceMapping": b.sourceMapping,
			v1 + "ApiKey":      b.apiKey,
			v2 + "Integration": b.integration, v2 + "Authorizer": b.authorizer, v2 + "Model": b.schema, v2 + "Stage": b.stage, v2 + "DomainName": b.domain},
		{v2 + "Route": b.route, v2 + "IntegrationResponse": b.integrationResponse, v2 + "Deployment": b.deployment},
		{v2 + "RouteResponse": b.routeResponse, v2 + "ApiMapping": b.apiMapping, v1 + "UsagePlan": b.usagePlan},
		{v1 + "UsagePlanKey": b.usagePlanKey},
	}
	for _, handlers := range passes {
		for _, in := range b.instances {
			for _, r := range in.Resources {
				if handle := handlers[r.Type]; handle != nil && b.ctx.Err() == nil {
					handle(in, r)
				}
			}
		}
	}
	b.checkAPIs()
	b.oneWayReplies()
	for _, in := range b.instances {
		in.events()
		in.strayAccess()
		in.outputs()
		in.unserved()
	}
	for _, in := range roots {
		b.collectOutputs(in)
	}
}

// nest opens the nested stacks of a stack, depth first.
func (b *builder) nest(in *instance) {
	for _, r := range in.Resources {
		if r.Type == "AWS::CloudFormation::Stack" {
			if child := in.child(r); child != nil {
				b.nest(child)
			}
		}
	}
}

// outputs evaluates every output, so that a broken one is reported.
func (in *instance) outputs() {
	for _, o := range in.Outputs {
		in.Eval(o.Value)
		if o.Export != nil {
			in.Eval(o.Export)
		}
	}
}

func (b *builder) collectOutputs(root *instance) {
	for _, o := range root.Outputs {
		v := root.Eval(o.Value)
		text := v.Text
		switch {
		case v.Kind == cfn.List || v.Kind == cfn.Map:
			text = v.JSON()
			root.report(Error, "bad-output", nil, o.Pos, "Join a list with Fn::Join.", "The output %s must be text, not %s.", o.Name, v.Kind)
		case v.Kind == cfn.Bad || v.Kind == cfn.None:
			continue
		}
		name := o.Name
		if slices.ContainsFunc(b.app.Outputs, func(other model.Output) bool { return other.Name == name }) {
			name = root.name + "." + name // of another stack at the top
		}
		b.app.Outputs = append(b.app.Outputs, model.Output{Name: name, Value: text, Description: o.Description, Pos: position(o.Pos)})
	}
}

// effectless are types that matter to an AWS account and to nothing that runs
// here. A trailing ":" stands for a whole service.
var effectless = []string{
	"AWS::IAM::", "AWS::Logs::", "AWS::CloudWatch::", "AWS::KMS::", "AWS::Lambda::Permission", "AWS::Lambda::Version",
	"AWS::Lambda::CodeSigningConfig", "AWS::Lambda::LayerVersionPermission", "AWS::CDK::Metadata", "AWS::CertificateManager::", "AWS::Route53::",
	"AWS::ApplicationAutoScaling::", "AWS::AutoScaling", "AWS::EC2::", "AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy",
	"AWS::ResourceGroups::", "AWS::XRay::", "AWS::WAF", "AWS::Budgets::", "AWS::CodeDeploy::", "AWS::Config::", "AWS::Synthetics::",
	"AWS::ApplicationInsights::", "AWS::CloudFormation::WaitConditionHandle", "AWS::CloudFormation::WaitCondition", "AWS::ApiGateway::Account",
	"AWS::Serverless::Connector", "AWS::CloudTrail::", "AWS::Backup::", "AWS::Chatbot::", "AWS::Events::EventBusPolicy",
	"AWS::SecretsManager::ResourcePolicy", "AWS::SecretsManager::RotationSchedule",
}

// served are the types that become part of the App.
var served = []string{
	v2 + "Api", v2 + "Route", v2 + "Integration", v2 + "Deployment", v2 + "Stage", v2 + "RouteResponse", v2 + "IntegrationResponse",
	v2 + "Authorizer", v2 + "Model", v2 + "ApiMapping", v2 + "DomainName", v1 + "ApiKey", v1 + "UsagePlan", v1 + "UsagePlanKey",
	"AWS::Lambda::Function", "AWS::Lambda::LayerVersion", "AWS::Lambda::Alias", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig",
	"AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::CloudFormation::Stack",
}

const v2 = "AWS::ApiGatewayV2::"

func withoutEffect(typ string) bool {
	return slices.ContainsFunc(effectless, func(p string) bool {
		return typ == p || (strings.HasPrefix(typ, p) && (strings.HasSuffix(p, ":") || p == "AWS::WAF" || p == "AWS::AutoScaling"))
	})
}

// unserved names the resources that nothing here runs: those without effect
// once, each other type once with all its resources.
func (in *instance) unserved() {
	quiet := map[string]int{}
	var first *cfn.Resource
	others := map[string][]*cfn.Resource{}
	for _, r := range in.Resources {
		switch {
		case r.From != "" && r.Type != "AWS::Lambda::Url" || slices.Contains(served, r.Type):
		case r.ID == "ServerlessDeploymentBucket" && in.artifacts != nil: // only `deploy` uses it
		case withoutEffect(r.Type):
			quiet[r.Type]++
			if first == nil {
				first = r
			}
		default:
			others[r.Type] = append(others[r.Type], r)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(others)) {
		if isCustom(typ) {
			in.custom(typ, others[typ])
			continue
		}
		in.unsupported(typ, others[typ])
	}
	if first == nil {
		return
	}
	var names []string
	for _, typ := range slices.Sorted(maps.Keys(quiet)) {
		name := strings.TrimPrefix(typ, "AWS::")
		if n := quiet[typ]; n > 1 {
			name += fmt.Sprintf(" (%d)", n)
		}
		names = append(names, name)
	}
	in.report(Note, "no-local-effect", nil, first.Pos, "", "No effect locally: %s.", strings.Join(names, ", "))
}

func (in *instance) unsupported(typ string, all []*cfn.Resource) {
	r := all[0]
	if strings.HasPrefix(typ, "AWS::Serverless::") && !slices.Contains(in.Transforms, cfn.TransformSAM) {
		in.report(Error, "missing-transform", r, r.TypePos, "Add `Transform: "+cfn.TransformSAM+"` at the top level.", "%s needs the SAM transform.", typ)
		return
	}
	if !strings.Contains(typ, "::") {
		in.report(Error, "unknown-type", r, r.TypePos, "Types look like AWS::Service::Kind.", "%s is not a resource type.", quote(typ))
		return
	}
	if near := cfn.Closest(typ, append(slices.Clone(served), slices.Collect(maps.Keys(shapes()))...)); near != "" && near != typ && typo(typ, near) {
		in.report(Error, "unknown-type", r, r.TypePos, fmt.Sprintf("Did you mean %q?", near), "%s is not a resource type.", quote(typ))
		return
	}
	in.report(Warning, "unsupported-resource", r, r.Pos, "References to it yield values in AWS's shape, but nothing answers there.", "%s is not supported yet: %s.", typ, listed(all))
}

// listed names up to eight resources with their lines.
func listed(all []*cfn.Resource) string {
	var where []string
	for i, r := range all {
		if i == 8 {
			where = append(where, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		where = append(where, fmt.Sprintf("%s (line %d)", r.ID, r.Pos.Line))
	}
	return strings.Join(where, ", ")
}

func isCustom(typ string) bool {
	return strings.HasPrefix(typ, "Custom::") || typ == "AWS::CloudFormation::CustomResource"
}

// housekeeping are custom resources of deployment tools whose results no
// application uses.
var housekeeping = []string{"Custom::LogRetention", "Custom::S3AutoDeleteObjects", "Custom::CDKBucketDeployment", "Custom::S3BucketNotifications",
	"Custom::VpcRestrictDefaultSG", "Custom::ApiGatewayAccountRole", "Custom::DynamoDBReplica"}

// custom names custom resources: their function ran at deployment, in an account.
func (in *instance) custom(typ string, all []*cfn.Resource) {
	r := all[0]
	if slices.Contains(housekeeping, typ) {
		in.report(Note, "custom-resource", r, r.Pos, "", "Nothing is done for custom resources of type %s: %s.", typ, listed(all))
		return
	}
	in.report(Warning, "custom-resource", r, r.Pos, "What they do at deployment is not done here, and references to what they return yield made-up values.",
		"Custom resources are not run: %s of type %s.", listed(all), typ)
}

// typo reports whether typ is a misspelling of near rather than a sibling such
// as AWS::SQS::Queue and AWS::MQ::Queue: same service, or same kind, and at most
// two letters apart.
func typo(typ, near string) bool {
	a, b := strings.Split(typ, "::"), strings.Split(near, "::")
	if len(a) != len(b) || len(a) != 3 {
		return true
	}
	if a[1] == b[1] {
		return cfn.Distance(a[2], b[2], 2) <= 2
	}
	return a[2] == b[2] && strings.EqualFold(a[1], b[1])
}
