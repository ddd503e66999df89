package terraform

import (
	"strings"

	"github.com/livegate/livegate/internal/cfn"
)

// kind says how a resource type is written in a template.
type kind struct {
	typ string // CloudFormation's type; "" for one that is no resource there
	// props are attributes: "name" for Name, "timeout_milliseconds=TimeoutInMillis"
	// where the names differ.
	props string
	// refs are what exists only once the resource does: "Ref", "Att:Name", or a
	// text with {Ref}, {Att:Name}, {Prop} of a property, and pseudo parameters as
	// {AWS::Region}.
	refs map[string]string
	// more adds what is no plain attribute.
	more func(i *instance, props *cfn.Node)
}

func ids(more ...string) map[string]string {
	out := map[string]string{"id": "Ref"}
	for n := 0; n+1 < len(more); n += 2 {
		out[more[n]] = more[n+1]
	}
	return out
}

const (
	gateway  = "AWS::ApiGatewayV2::"
	execute  = "arn:{AWS::Partition}:execute-api:{AWS::Region}:{AWS::AccountId}:"
	invokeOf = "arn:{AWS::Partition}:apigateway:{AWS::Region}:lambda:path/2015-03-31/functions/{Att:Arn}"
)

// kinds are the resource types that are understood. Attribute names are the AWS
// provider's, from its documentation.
func kinds() map[string]kind {
	return map[string]kind{
		"aws_apigatewayv2_api": {gateway + "Api", "name description protocol_type route_selection_expression api_key_selection_expression disable_execute_api_endpoint ip_address_type version body",
			ids("api_endpoint", "Att:ApiEndpoint", "execution_arn", execute+"{Ref}", "arn", "arn:{AWS::Partition}:apigateway:{AWS::Region}::/apis/{Ref}"), nil},
		"aws_apigatewayv2_route": {gateway + "Route", "api_id route_key api_key_required authorization_scopes authorization_type authorizer_id model_selection_expression operation_name request_models route_response_selection_expression target",
			ids(), requestParameters},
		"aws_apigatewayv2_route_response": {gateway + "RouteResponse", "api_id route_id route_response_key model_selection_expression response_models", ids(), nil},
		"aws_apigatewayv2_integration": {gateway + "Integration", "api_id connection_id connection_type content_handling_strategy credentials_arn description integration_method integration_subtype integration_type integration_uri passthrough_behavior payload_format_version request_parameters request_templates template_selection_expression timeout_milliseconds=TimeoutInMillis",
			ids(), nil},
		"aws_apigatewayv2_integration_response": {gateway + "IntegrationResponse", "api_id integration_id integration_response_key content_handling_strategy response_templates template_selection_expression", ids(), nil},
		"aws_apigatewayv2_stage": {gateway + "Stage", "api_id name=StageName auto_deploy deployment_id description stage_variables client_certificate_id",
			ids("name", "Ref", "invoke_url", "wss://{ApiId}.execute-api.{AWS::Region}.{AWS::URLSuffix}/{StageName}", "execution_arn", execute+"{ApiId}/{StageName}",
				"arn", "arn:{AWS::Partition}:apigateway:{AWS::Region}::/apis/{ApiId}/stages/{StageName}"), stageSettings},
		"aws_apigatewayv2_deployment": {gateway + "Deployment", "api_id description", ids(), nil},
		"aws_apigatewayv2_authorizer": {gateway + "Authorizer", "api_id authorizer_credentials_arn authorizer_payload_format_version authorizer_result_ttl_in_seconds authorizer_type authorizer_uri enable_simple_responses identity_sources=IdentitySource name", ids(), nil},
		"aws_apigatewayv2_model":      {gateway + "Model", "api_id content_type description name schema", ids(), nil},
		"aws_apigatewayv2_domain_name": {gateway + "DomainName", "domain_name", ids("arn", "Att:DomainNameArn", "domain_name", "Ref"), func(i *instance, props *cfn.Node) {
			i.list(props, "domain_name_configuration", "DomainNameConfigurations")
			i.single(props, "mutual_tls_authentication", "MutualTlsAuthentication")
		}},
		"aws_apigatewayv2_api_mapping": {gateway + "ApiMapping", "api_id api_mapping_key domain_name stage", ids(), nil},
		"aws_lambda_function": {"AWS::Lambda::Function", "function_name handler runtime timeout memory_size role description layers architectures package_type reserved_concurrent_executions kms_key_arn",
			ids("arn", "Att:Arn", "function_name", "Ref", "invoke_arn", invokeOf+"/invocations", "qualified_arn", "{Att:Arn}:$LATEST",
				"qualified_invoke_arn", invokeOf+":$LATEST/invocations", "version", "$LATEST"), functionCode},
		"aws_lambda_permission": {"AWS::Lambda::Permission", "action function_name principal source_arn source_account", ids(), nil},
		"aws_lambda_alias": {"AWS::Lambda::Alias", "name function_name function_version description", ids("arn", "Ref", "name", "{Name}",
			"invoke_arn", "arn:{AWS::Partition}:apigateway:{AWS::Region}:lambda:path/2015-03-31/functions/{Ref}/invocations"), nil},
		"aws_lambda_layer_version": {"AWS::Lambda::LayerVersion", "layer_name description compatible_runtimes compatible_architectures license_info", ids("arn", "Ref", "layer_arn", "Ref", "version", "1"), layerContent},
		"aws_lambda_event_source_mapping": {"AWS::Lambda::EventSourceMapping", "event_source_arn function_name batch_size enabled starting_position function_response_types maximum_batching_window_in_seconds maximum_retry_attempts parallelization_factor",
			ids("arn", "Att:EventSourceMappingArn", "uuid", "Ref"), nil},
		"aws_lambda_function_event_invoke_config": {"AWS::Lambda::EventInvokeConfig", "function_name maximum_event_age_in_seconds maximum_retry_attempts qualifier", ids(), func(i *instance, props *cfn.Node) {
			if props.Get("Qualifier") == nil {
				i.set(props, "Qualifier", cfn.Text("$LATEST", props.Pos))
			}
		}},
		"aws_dynamodb_table":         {"AWS::DynamoDB::Table", "name=TableName billing_mode", ids("name", "Ref", "arn", "Att:Arn", "stream_arn", "Att:StreamArn", "stream_label", "2024-01-01T00:00:00.000"), table},
		"aws_iam_role":               {"AWS::IAM::Role", "name=RoleName description path", ids("name", "Ref", "arn", "Att:Arn", "unique_id", "Att:RoleId"), nil},
		"aws_iam_policy":             {"AWS::IAM::ManagedPolicy", "name=ManagedPolicyName description path", ids("arn", "Ref", "name", "{ManagedPolicyName}"), nil},
		"aws_iam_user":               {"AWS::IAM::User", "name=UserName path", ids("name", "Ref", "arn", "Att:Arn"), nil},
		"aws_sqs_queue":              {"AWS::SQS::Queue", "name=QueueName fifo_queue content_based_deduplication visibility_timeout_seconds=VisibilityTimeout delay_seconds message_retention_seconds=MessageRetentionPeriod max_message_size=MaximumMessageSize receive_wait_time_seconds=ReceiveMessageWaitTimeSeconds deduplication_scope fifo_throughput_limit redrive_policy", ids("url", "Ref", "arn", "Att:Arn", "name", "Att:QueueName"), nil},
		"aws_sns_topic":              {"AWS::SNS::Topic", "name=TopicName display_name fifo_topic content_based_deduplication", ids("arn", "Ref", "name", "Att:TopicName"), nil},
		"aws_sns_topic_subscription": {"AWS::SNS::Subscription", "topic_arn protocol endpoint filter_policy raw_message_delivery", ids("arn", "Ref"), nil},
		"aws_cloudwatch_log_group":   {"AWS::Logs::LogGroup", "name=LogGroupName retention_in_days", ids("name", "Ref", "arn", "Att:Arn"), nil},
		"aws_s3_bucket":              {"AWS::S3::Bucket", "bucket=BucketName", ids("bucket", "Ref", "arn", "Att:Arn", "bucket_domain_name", "Att:DomainName", "bucket_regional_domain_name", "Att:RegionalDomainName"), nil},
		"aws_secretsmanager_secret":  {"AWS::SecretsManager::Secret", "name description", ids("arn", "Ref", "name", "{Name}"), nil},
		"aws_cloudwatch_event_bus":   {"AWS::Events::EventBus", "name", ids("arn", "Att:Arn", "name", "Att:Name"), nil},
		"aws_cloudwatch_event_rule":  {"AWS::Events::Rule", "name description event_bus_name schedule_expression state", ids("arn", "Att:Arn", "name", "Ref"), nil},
		"aws_ssm_parameter":          {"AWS::SSM::Parameter", "name type value description", ids("arn", "arn:{AWS::Partition}:ssm:{AWS::Region}:{AWS::AccountId}:parameter/{Ref}", "name", "Ref"), nil},
		"aws_kms_key":                {"AWS::KMS::Key", "description", ids("arn", "Att:Arn", "key_id", "Ref"), nil},
	}
}

// quiet are resource types that matter to an account or to Terraform and to
// nothing that runs here. A trailing "_" stands for all that begin so.
var quiet = []string{"aws_iam_", "aws_cloudwatch_log_", "aws_cloudwatch_metric_", "aws_cloudwatch_dashboard", "aws_s3_bucket_", "aws_s3_object", "aws_route53_", "aws_acm_",
	"aws_kms_", "aws_sqs_queue_policy", "aws_sqs_queue_redrive_", "aws_sns_topic_policy", "aws_lambda_provisioned_", "aws_api_gateway_account", "aws_appautoscaling_",
	"aws_wafv2_", "aws_xray_", "aws_vpc", "aws_subnet", "aws_security_group", "aws_secretsmanager_secret_", "random_", "time_", "tls_", "archive_"}

func isQuiet(typ string) bool {
	for _, q := range quiet {
		if typ == q || strings.HasSuffix(q, "_") && strings.HasPrefix(typ, q) {
			return true
		}
	}
	return false
}

// pairs takes "a b=C" apart: attribute and property names.
func (k kind) pairs() [][2]string {
	var out [][2]string
	for word := range strings.FieldsSeq(k.props) {
		attr, prop, renamed := strings.Cut(word, "=")
		if !renamed {
			prop = pascal(attr)
		}
		out = append(out, [2]string{attr, prop})
	}
	return out
}
