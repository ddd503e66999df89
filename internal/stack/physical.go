package stack

import (
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/id"
)

// shape says what a resource type looks like from outside: how it is named and
// what Ref and GetAtt yield. Patterns hold {name}, {logical}, {stack}, {region},
// {account}, {partition}, {suffix}, {id7}, {id10}, {id21} and {uuid}.
type shape struct {
	prop  string // property that holds the name; "" when there is none
	most  int    // length limit of generated names
	lower bool   // generated names are lower case
	ref   string
	attrs string // "Attr=pattern Attr=pattern"; "{name}" patterns hold no spaces
}

const (
	arn   = "arn:{partition}:"
	local = ":{region}:{account}:"
)

// shapes are the types that templates of WebSocket applications refer to, from
// the return values documented for each in the CloudFormation reference.
func shapes() map[string]shape {
	v2 := "AWS::ApiGatewayV2::"
	return map[string]shape{
		v2 + "Api":                 {"", 64, false, "{id10}", "ApiId={id10} ApiEndpoint={scheme}://{id10}.execute-api.{region}.{suffix}"},
		v2 + "Route":               {"", 64, false, "{id7}", "RouteId={id7}"},
		v2 + "RouteResponse":       {"", 64, false, "{id7}", "RouteResponseId={id7}"},
		v2 + "Integration":         {"", 64, false, "{id7}", "IntegrationId={id7}"},
		v2 + "IntegrationResponse": {"", 64, false, "{id7}", "IntegrationResponseId={id7}"},
		v2 + "Authorizer":          {"", 64, false, "{id7}", "AuthorizerId={id7}"},
		v2 + "Model":               {"", 64, false, "{id7}", "ModelId={id7}"},
		v2 + "Deployment":          {"", 64, false, "{id7}", "DeploymentId={id7}"},
		v2 + "Stage":               {"StageName", 64, false, "{name}", ""},
		v2 + "ApiMapping":          {"", 64, false, "{id7}", "ApiMappingId={id7}"},
		v2 + "VpcLink":             {"", 64, false, "{id7}", "VpcLinkId={id7}"},
		v2 + "DomainName": {"DomainName", 64, false, "{name}", "RegionalDomainName=d-{id10}.execute-api.{region}.{suffix} RegionalHostedZoneId=Z1UJRXOUMOOFQ8 DistributionDomainName=d-{id10}.execute-api.{region}.{suffix} DistributionHostedZoneId=Z1UJRXOUMOOFQ8 DomainNameArn=" +
			arn + "apigateway:{region}::/domainnames/{name}"},
		"AWS::ApiGateway::RestApi":             {"", 64, false, "{id10}", "RestApiId={id10} RootResourceId={id10}"},
		"AWS::ApiGateway::ApiKey":              {"", 64, false, "{id10}", "APIKeyId={id10}"},
		"AWS::ApiGateway::UsagePlan":           {"", 64, false, "{id6}", "Id={id6}"},
		"AWS::ApiGateway::UsagePlanKey":        {"", 64, false, "{id10}", "Id={id10}"},
		"AWS::ApiGateway::Stage":               {"StageName", 64, false, "{name}", ""},
		"AWS::Serverless::Api":                 {"", 64, false, "{id10}", "RootResourceId={id10} RestApiId={id10}"},
		"AWS::Serverless::HttpApi":             {"", 64, false, "{id10}", "ApiId={id10} ApiEndpoint=https://{id10}.execute-api.{region}.{suffix}"},
		"AWS::Lambda::Function":                {"FunctionName", 64, false, "{name}", "Arn=" + arn + "lambda" + local + "function:{name} SnapStartResponse.ApplyOn=None SnapStartResponse.OptimizationStatus=Off"},
		"AWS::Lambda::LayerVersion":            {"LayerName", 140, false, arn + "lambda" + local + "layer:{name}:1", "LayerVersionArn=" + arn + "lambda" + local + "layer:{name}:1 Arn=" + arn + "lambda" + local + "layer:{name}:1"},
		"AWS::Lambda::EventSourceMapping":      {"", 64, false, "{uuid}", "Id={uuid} EventSourceMappingArn=" + arn + "lambda" + local + "event-source-mapping:{uuid}"},
		"AWS::Lambda::EventInvokeConfig":       {"", 64, false, "{name}", ""},
		"AWS::Lambda::Url":                     {"", 64, false, "{name}", "FunctionUrl=https://{id21}.lambda-url.{region}.on.aws/ FunctionArn=" + arn + "lambda" + local + "function:{name}"},
		"AWS::DynamoDB::Table":                 {"TableName", 255, false, "{name}", "Arn=" + arn + "dynamodb" + local + "table/{name} StreamArn=" + arn + "dynamodb" + local + "table/{name}/stream/2024-01-01T00:00:00.000"},
		"AWS::DynamoDB::GlobalTable":           {"TableName", 255, false, "{name}", "Arn=" + arn + "dynamodb" + local + "table/{name} TableId={uuid} StreamArn=" + arn + "dynamodb" + local + "table/{name}/stream/2024-01-01T00:00:00.000"},
		"AWS::IAM::Role":                       {"RoleName", 64, false, "{name}", "Arn=" + arn + "iam::{account}:role/{name} RoleId=AROA{ID17}"},
		"AWS::IAM::User":                       {"UserName", 64, false, "{name}", "Arn=" + arn + "iam::{account}:user/{name}"},
		"AWS::IAM::Group":                      {"GroupName", 128, false, "{name}", "Arn=" + arn + "iam::{account}:group/{name}"},
		"AWS::IAM::ManagedPolicy":              {"ManagedPolicyName", 128, false, arn + "iam::{account}:policy/{name}", "PolicyArn=" + arn + "iam::{account}:policy/{name}"},
		"AWS::Logs::LogGroup":                  {"LogGroupName", 512, false, "{name}", "Arn=" + arn + "logs" + local + "log-group:{name}:*"},
		"AWS::SQS::Queue":                      {"QueueName", 80, false, "https://sqs.{region}.{suffix}/{account}/{name}", "Arn=" + arn + "sqs" + local + "{name} QueueName={name} QueueUrl=https://sqs.{region}.{suffix}/{account}/{name}"},
		"AWS::SNS::Topic":                      {"TopicName", 256, false, arn + "sns" + local + "{name}", "TopicArn=" + arn + "sns" + local + "{name} TopicName={name}"},
		"AWS::S3::Bucket":                      {"BucketName", 63, true, "{name}", "Arn=" + arn + "s3:::{name} DomainName={name}.s3.{suffix} RegionalDomainName={name}.s3.{region}.{suffix} DualStackDomainName={name}.s3.dualstack.{region}.{suffix} WebsiteURL=http://{name}.s3-website-{region}.{suffix}"},
		"AWS::SecretsManager::Secret":          {"Name", 64, false, arn + "secretsmanager" + local + "secret:{name}-{id6}", "Id=" + arn + "secretsmanager" + local + "secret:{name}-{id6}"},
		"AWS::SSM::Parameter":                  {"Name", 64, false, "{name}", "Type=String Value={name}"},
		"AWS::KMS::Key":                        {"", 64, false, "{uuid}", "Arn=" + arn + "kms" + local + "key/{uuid} KeyId={uuid}"},
		"AWS::KMS::Alias":                      {"AliasName", 64, false, "{name}", ""},
		"AWS::Events::Rule":                    {"Name", 64, false, "{name}", "Arn=" + arn + "events" + local + "rule/{name}"},
		"AWS::Events::EventBus":                {"Name", 64, false, "{name}", "Arn=" + arn + "events" + local + "event-bus/{name} Name={name}"},
		"AWS::Scheduler::Schedule":             {"Name", 64, false, "{name}", "Arn=" + arn + "scheduler" + local + "schedule/default/{name}"},
		"AWS::StepFunctions::StateMachine":     {"StateMachineName", 80, false, arn + "states" + local + "stateMachine:{name}", "Arn=" + arn + "states" + local + "stateMachine:{name} Name={name} StateMachineRevisionId=INITIAL"},
		"AWS::Serverless::StateMachine":        {"Name", 80, false, arn + "states" + local + "stateMachine:{name}", "Arn=" + arn + "states" + local + "stateMachine:{name} Name={name} StateMachineRevisionId=INITIAL"},
		"AWS::Kinesis::Stream":                 {"Name", 128, false, "{name}", "Arn=" + arn + "kinesis" + local + "stream/{name}"},
		"AWS::Cognito::UserPool":               {"", 64, false, "{region}_{id9}", "Arn=" + arn + "cognito-idp" + local + "userpool/{region}_{id9} UserPoolId={region}_{id9} ProviderName=cognito-idp.{region}.{suffix}/{region}_{id9} ProviderURL=https://cognito-idp.{region}.{suffix}/{region}_{id9}"},
		"AWS::Cognito::UserPoolClient":         {"", 64, false, "{id26}", "ClientId={id26} ClientSecret={id51} Name={name}"},
		"AWS::Cognito::UserPoolDomain":         {"Domain", 63, true, "{name}", "CloudFrontDistribution=d{id13}.cloudfront.net Id={name}"},
		"AWS::Cognito::IdentityPool":           {"", 64, false, "{region}:{uuid}", "Id={region}:{uuid} Name={name}"},
		"AWS::AppSync::Api":                    {"", 64, false, arn + "appsync" + local + "apis/{id26}", "ApiArn=" + arn + "appsync" + local + "apis/{id26} ApiId={id26} Dns.Http={id26}.appsync-api.{region}.{suffix} Dns.Realtime={id26}.appsync-realtime-api.{region}.{suffix}"},
		"AWS::AppSync::GraphQLApi":             {"", 64, false, arn + "appsync" + local + "apis/{id26}", "Arn=" + arn + "appsync" + local + "apis/{id26} ApiId={id26} GraphQLUrl=https://{id26}.appsync-api.{region}.{suffix}/graphql GraphQLDns={id26}.appsync-api.{region}.{suffix} RealtimeUrl=wss://{id26}.appsync-realtime-api.{region}.{suffix}/graphql RealtimeDns={id26}.appsync-realtime-api.{region}.{suffix}"},
		"AWS::CertificateManager::Certificate": {"", 64, false, arn + "acm" + local + "certificate/{uuid}", "Arn=" + arn + "acm" + local + "certificate/{uuid}"},
		"AWS::CloudFront::Distribution":        {"", 64, false, "E{ID13}", "DomainName=d{id13}.cloudfront.net Id=E{ID13}"},
		"AWS::CloudWatch::Alarm":               {"AlarmName", 255, false, "{name}", "Arn=" + arn + "cloudwatch" + local + "alarm:{name}"},
	}
}

// attribute is cfn's Binding.Attributes: Ref (attr "") and GetAtt.
func (in *instance) attribute(r *cfn.Resource, attr string, at cfn.Pos) (*cfn.Node, []string) {
	switch r.Type {
	case "AWS::CloudFormation::Stack":
		return in.stackAttribute(r, attr, at)
	case "AWS::Lambda::Alias", "AWS::Lambda::Version":
		return in.qualified(r, attr, at)
	}
	s, known := shapes()[r.Type]
	if !known {
		return cfn.Text(in.guess(r, attr), at), nil
	}
	if attr == "" {
		return cfn.Text(in.expand(s.ref, r), at), nil
	}
	var names []string
	for pair := range strings.FieldsSeq(s.attrs) {
		name, pattern, _ := strings.Cut(pair, "=")
		if name == attr {
			return cfn.Text(in.expand(pattern, r), at), nil
		}
		names = append(names, name)
	}
	return nil, names
}

// physicalName is the resource's name: its own property's, or a generated one.
func (in *instance) physicalName(r *cfn.Resource) string {
	s, ok := shapes()[r.Type]
	if !ok {
		s = shape{most: 64}
	}
	p := in.props(r)
	if s.prop != "" {
		if v := p.get(s.prop); v != nil && v.Scalar() {
			return v.Text
		}
	}
	end := ""
	if fifo := p.n.Get("FifoQueue"); fifo != nil && fifo.Text == "true" && r.Type == "AWS::SQS::Queue" {
		end = ".fifo"
	}
	if topic := p.n.Get("FifoTopic"); topic != nil && topic.Text == "true" && r.Type == "AWS::SNS::Topic" {
		end = ".fifo"
	}
	name := in.generated(r.ID, s.most, end)
	if s.lower {
		name = strings.ToLower(name)
	}
	return name
}

func (in *instance) expand(pattern string, r *cfn.Resource) string {
	app := in.b.app
	stable := func(n int) string { return id.Stable(n, in.name, r.ID) }
	name := ""
	if strings.Contains(pattern, "{name}") {
		name = in.physicalName(r)
	}
	scheme := ""
	if strings.Contains(pattern, "{scheme}") {
		scheme = "wss"
		if protocol := in.props(r).get("ProtocolType"); protocol != nil && protocol.Text == "HTTP" {
			scheme = "https"
		}
	}
	return strings.NewReplacer("{name}", name, "{logical}", r.ID, "{stack}", in.name, "{region}", app.Region,
		"{account}", app.AccountID, "{partition}", app.Partition, "{suffix}", app.URLSuffix, "{scheme}", scheme,
		"{uuid}", uuid(in.name, r.ID), "{id6}", stable(6), "{id7}", stable(7), "{id9}", stable(9), "{id10}", stable(10),
		"{id13}", stable(13), "{id21}", stable(21), "{id26}", stable(26), "{id51}", stable(51),
		"{ID13}", strings.ToUpper(stable(13)), "{ID17}", strings.ToUpper(stable(17))).Replace(pattern)
}

// guess makes a value in AWS's shape for a type without a shape of its own.
func (in *instance) guess(r *cfn.Resource, attr string) string {
	parts := strings.Split(r.Type, "::")
	service, kind := "custom", parts[len(parts)-1]
	if len(parts) == 3 {
		service = strings.ToLower(parts[1])
	}
	app := in.b.app
	name := in.physicalName(r)
	switch {
	case attr == "" || attr == "Name" || strings.HasSuffix(attr, "Name"):
		return name
	case strings.HasSuffix(attr, "Arn"), strings.HasSuffix(attr, "ARN"):
		return "arn:" + app.Partition + ":" + service + ":" + app.Region + ":" + app.AccountID + ":" + strings.ToLower(kind) + "/" + name
	case strings.HasSuffix(attr, "Id"), strings.HasSuffix(attr, "ID"):
		return id.Stable(13, in.name, r.ID, attr)
	case strings.HasSuffix(strings.ToLower(attr), "url"), strings.HasSuffix(strings.ToLower(attr), "uri"):
		return "https://" + id.Stable(13, in.name, r.ID) + "." + service + "." + app.Region + "." + app.URLSuffix
	}
	return name + "-" + strings.ReplaceAll(attr, ".", "-")
}

// stackAttribute answers for a nested stack: GetAtt Outputs.Name.
func (in *instance) stackAttribute(r *cfn.Resource, attr string, at cfn.Pos) (*cfn.Node, []string) {
	child := in.child(r)
	if attr == "" {
		if child == nil {
			return cfn.Text(in.guess(r, "Arn"), at), nil
		}
		return cfn.Text(child.id, at), nil
	}
	if child == nil {
		return &cfn.Node{Kind: cfn.Bad, Pos: at}, nil // reported when it was looked for
	}
	var names []string
	for _, o := range child.Outputs {
		if attr == "Outputs."+o.Name {
			v := *child.Eval(o.Value)
			v.Pos = at
			return &v, nil
		}
		names = append(names, "Outputs."+o.Name)
	}
	return nil, names
}

// qualified answers for aliases and versions: the function's ARN with a suffix.
func (in *instance) qualified(r *cfn.Resource, attr string, at cfn.Pos) (*cfn.Node, []string) {
	p := in.props(r)
	qualifier, known := "1", []string{"FunctionArn", "Version"}
	if r.Type == "AWS::Lambda::Alias" {
		qualifier, known = p.str("Name"), []string{"AliasArn"}
	}
	full := in.functionARN(functionName(p.str("FunctionName"))) + ":" + qualifier
	switch {
	case attr == "" || attr == "AliasArn" || attr == "FunctionArn":
		return cfn.Text(full, at), nil
	case attr == "Version" && r.Type == "AWS::Lambda::Version":
		return cfn.Text("1", at), nil
	}
	return nil, known
}

func (in *instance) functionARN(name string) string {
	app := in.b.app
	return "arn:" + app.Partition + ":lambda:" + app.Region + ":" + app.AccountID + ":function:" + name
}

// functionName takes the name out of a function's name, ARN or partial ARN.
func functionName(s string) string {
	name, _ := splitFunction(s)
	return name
}

// splitFunction takes apart "name", "name:qualifier", "account:function:name" and
// full ARNs.
func splitFunction(s string) (name, qualifier string) {
	if _, rest, ok := strings.Cut(s, ":function:"); ok {
		s = rest
	}
	name, qualifier, _ = strings.Cut(s, ":")
	return name, qualifier
}
