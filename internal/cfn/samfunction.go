package cfn

import "strings"

// function rewrites AWS::Serverless::Function to AWS::Lambda::Function, whose
// Code may be a local path: it is what `package` reads, too. Around it stand a
// role, the published alias, the asynchronous settings and one resource per
// event, so that what they refer to is checked and can be referred to.
func (s *samResource) function() {
	passed := []string{"FunctionName", "Description", "Handler", "Runtime", "MemorySize", "Timeout", "Environment", "Layers",
		"VpcConfig", "KmsKeyArn", "ReservedConcurrentExecutions", "Architectures", "EphemeralStorage", "PackageType",
		"ImageConfig", "FileSystemConfigs", "SnapStart", "LoggingConfig", "RuntimeManagementConfig", "RecursiveLoop", "Role",
		"CodeSigningConfigArn", "TenancyConfig", "CapacityProviderConfig", "DurableConfig"}
	s.known(append([]string{"CodeUri", "InlineCode", "ImageUri", "Policies", "PermissionsBoundary", "AssumeRolePolicyDocument",
		"RolePath", "Events", "AutoPublishAlias", "AutoPublishCodeSha256", "AutoPublishAliasAllProperties", "DeploymentPreference",
		"VersionDescription", "VersionDeletionPolicy", "ProvisionedConcurrencyConfig", "EventInvokeConfig", "FunctionUrlConfig",
		"PropagateTags", "FunctionScalingConfig", "DeadLetterQueue", "Tracing", "Tags", "SourceKMSKeyArn", "PublishToLatestPublished"}, passed...)...)
	props := s.move(append(passed, "Code=CodeUri")...)
	if inline := s.props.Entry("InlineCode"); inline != nil {
		props = props.with("Code", MapOf(inline.Pos, Entry{"ZipFile", inline.Pos, inline.Value}))
	}
	if image := s.props.Entry("ImageUri"); image != nil {
		props = props.with("Code", MapOf(image.Pos, Entry{"ImageUri", image.Pos, image.Value}))
	}
	if q := s.props.Get("DeadLetterQueue"); q != nil {
		props = props.with("DeadLetterConfig", MapOf(q.Pos, Entry{Key: "TargetArn", Value: q.Get("TargetArn")}))
	}
	if s.props.Get("Role") == nil {
		s.make("Role", "AWS::IAM::Role", s.move("Policies", "PermissionsBoundary", "AssumeRolePolicyDocument", "Path=RolePath"))
		props = props.with("Role", call("Fn::GetAtt", ListOf(s.r.Pos, Text(s.r.ID+"Role", s.r.Pos), Text("Arn", s.r.Pos))))
	}
	alias := s.alias()
	s.invokeConfig(alias)
	if u := s.props.Entry("FunctionUrlConfig"); u != nil {
		m := s.make("Url", "AWS::Lambda::Url", u.Value)
		m.Pos = u.Pos
	}
	if events := s.props.Get("Events"); events != nil && events.Kind == Map {
		for _, e := range events.Map {
			s.event(e)
		}
	}
	s.r.Type, s.r.Properties = "AWS::Lambda::Function", props
}

// alias publishes version 1 under AutoPublishAlias; "" without one.
func (s *samResource) alias() string {
	n := s.props.Get("AutoPublishAlias")
	if n == nil {
		return ""
	}
	name := s.Eval(n)
	if !name.Scalar() || name.Text == "" {
		if name.Kind != Bad && name.Kind != None {
			s.errorf(n.Pos, "sam-function", "Write a string or a Ref of a parameter.", "AutoPublishAlias must be a name.")
		}
		return ""
	}
	self := call("Ref", Text(s.r.ID, s.r.Pos))
	version := s.make("Version", "AWS::Lambda::Version", MapOf(n.Pos, Entry{Key: "FunctionName", Value: self}))
	got := call("Fn::GetAtt", ListOf(n.Pos, Text(version.ID, n.Pos), Text("Version", n.Pos)))
	letters := strings.Map(func(r rune) rune {
		if alphanumeric(string(r)) {
			return r
		}
		return -1
	}, name.Text)
	alias := s.make("Alias"+letters, "AWS::Lambda::Alias", MapOf(n.Pos, Entry{Key: "FunctionName", Value: self},
		Entry{Key: "FunctionVersion", Value: got}, Entry{Key: "Name", Value: n}))
	s.refer("Version", version)
	s.refer("Alias", alias)
	return name.Text
}

func (s *samResource) invokeConfig(alias string) {
	c := s.props.Entry("EventInvokeConfig")
	if c == nil || c.Value.Kind != Map {
		return
	}
	props := MapOf(c.Pos, Entry{Key: "FunctionName", Value: call("Ref", Text(s.r.ID, c.Pos))},
		Entry{Key: "MaximumEventAgeInSeconds", Value: c.Value.Get("MaximumEventAgeInSeconds")},
		Entry{Key: "MaximumRetryAttempts", Value: c.Value.Get("MaximumRetryAttempts")})
	if alias != "" {
		props = props.with("Qualifier", Text(alias, c.Pos))
	}
	if dest := c.Value.Get("DestinationConfig"); dest != nil && dest.Kind == Map {
		out := MapOf(dest.Pos)
		for _, e := range dest.Map {
			out.Map = append(out.Map, Entry{e.Key, e.Pos, s.destination(e)})
		}
		props = props.with("DestinationConfig", out)
	}
	m := s.make("EventInvokeConfig", "AWS::Lambda::EventInvokeConfig", props)
	m.Pos = c.Pos
}

// destination is OnSuccess or OnFailure; SAM creates the queue or topic when
// only its Type is given.
func (s *samResource) destination(e Entry) *Node {
	arn := e.Value.Get("Destination")
	typ := e.Value.Get("Type")
	if arn == nil && typ != nil && (typ.Text == "SQS" || typ.Text == "SNS") {
		full, name := "AWS::SQS::Queue", "DestinationQueue"
		if typ.Text == "SNS" {
			full, name = "AWS::SNS::Topic", "DestinationTopic"
		}
		m := s.make("EventInvokeConfig"+e.Key+strings.TrimPrefix(name, "Destination"), full, MapOf(e.Pos))
		s.refer(name, m)
		if typ.Text == "SNS" {
			arn = call("Ref", Text(m.ID, e.Pos))
		} else {
			arn = call("Fn::GetAtt", ListOf(e.Pos, Text(m.ID, e.Pos), Text("Arn", e.Pos)))
		}
	}
	return MapOf(e.Value.Pos, Entry{Key: "Destination", Value: arn})
}

// eventTypes are SAM's function events and the resource each becomes. Events
// that need only a permission become one.
func eventTypes() map[string]string {
	return map[string]string{
		"SQS": mapping, "Kinesis": mapping, "DynamoDB": mapping, "MSK": mapping, "MQ": mapping, "SelfManagedKafka": mapping, "DocumentDB": mapping,
		"Schedule": "AWS::Events::Rule", "CloudWatchEvent": "AWS::Events::Rule", "EventBridgeRule": "AWS::Events::Rule",
		"ScheduleV2": "AWS::Scheduler::Schedule", "SNS": "AWS::SNS::Subscription",
		"S3": permission, "Api": permission, "HttpApi": permission, "CloudWatchLogs": permission, "IoTRule": permission,
		"AlexaSkill": permission, "Cognito": permission,
	}
}

const (
	mapping    = "AWS::Lambda::EventSourceMapping"
	permission = "AWS::Lambda::Permission"
)

func (s *samResource) event(e Entry) {
	typ := e.Value.Get("Type")
	if typ == nil || typ.Kind != String {
		if e.Value.Kind != Bad {
			s.errorf(e.Pos, "sam-event", "Add `Type: SQS`, `Type: Schedule`, …", "The event %s has no Type.", e.Key)
		}
		return
	}
	full, ok := eventTypes()[typ.Text]
	if !ok {
		var names []string
		for name := range eventTypes() {
			names = append(names, name)
		}
		s.errorf(typ.Pos, "sam-event", DidYouMean(typ.Text, names), "%s is not a type of event.", quote(typ.Text))
		return
	}
	given := e.Value.Get("Properties")
	if given == nil || given.Kind != Map {
		given = MapOf(e.Pos)
	}
	props := *given
	if full == mapping {
		props.Map = nil
		for _, p := range given.Map {
			if p.Key == "Queue" || p.Key == "Stream" || p.Key == "Broker" || p.Key == "Cluster" {
				p.Key = "EventSourceArn"
			}
			props.Map = append(props.Map, p)
		}
	}
	self := call("Ref", Text(s.r.ID, e.Pos))
	m := s.make(e.Key, full, props.with("FunctionName", self))
	m.Pos, m.TypePos, m.Event = e.Pos, typ.Pos, typ.Text
	s.implicitAPI(typ.Text, given, e.Pos)
}

// implicitAPI makes the API that HTTP events without an API of their own share.
func (s *samResource) implicitAPI(event string, props *Node, at Pos) {
	add := func(id, typ string, props *Node) {
		s.made = append(s.made, &Resource{ID: id, Type: typ, TypePos: at, Properties: props, Condition: s.r.Condition, From: s.r.ID, Event: event, Pos: at})
	}
	switch {
	case event == "Api" && props.Get("RestApiId") == nil:
		s.referable["ServerlessRestApi.Stage"] = "ServerlessRestApiProdStage"
		s.referable["ServerlessRestApi.Deployment"] = "ServerlessRestApiDeployment"
		add("ServerlessRestApi", "AWS::ApiGateway::RestApi", MapOf(at))
		add("ServerlessRestApiDeployment", "AWS::ApiGateway::Deployment", MapOf(at))
		add("ServerlessRestApiProdStage", "AWS::ApiGateway::Stage", MapOf(at, Entry{Key: "StageName", Value: Text("Prod", at)}))
	case event == "HttpApi" && props.Get("ApiId") == nil:
		s.referable["ServerlessHttpApi.Stage"] = "ServerlessHttpApiApiGatewayDefaultStage"
		add("ServerlessHttpApi", "AWS::ApiGatewayV2::Api", MapOf(at, Entry{Key: "ProtocolType", Value: Text("HTTP", at)}, Entry{Key: "Name", Value: Text("ServerlessHttpApi", at)}))
		add("ServerlessHttpApiApiGatewayDefaultStage", "AWS::ApiGatewayV2::Stage", MapOf(at, Entry{Key: "StageName", Value: Text("$default", at)},
			Entry{Key: "ApiId", Value: call("Ref", Text("ServerlessHttpApi", at))}))
	}
}
