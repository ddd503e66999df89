package cfn

import (
	"slices"
	"strings"
)

const samPrefix = "AWS::Serverless::"

// samTypes are the resource types of the SAM transform. Those that are not
// rewritten here keep their type, so that the caller can name them.
func samTypes() []string {
	return []string{samPrefix + "Api", samPrefix + "Application", samPrefix + "CapacityProvider", samPrefix + "Connector",
		samPrefix + "Function", samPrefix + "GraphQLApi", samPrefix + "HttpApi", samPrefix + "LayerVersion",
		samPrefix + "SimpleTable", samPrefix + "StateMachine", samPrefix + "WebFunction", samPrefix + "WebSocketApi"}
}

func globalSections() []string {
	return []string{"Api", "CapacityProvider", "Function", "HttpApi", "LayerVersion", "SimpleTable", "StateMachine", "WebSocketApi"}
}

// samResource is one SAM resource being rewritten, with what it generates.
type samResource struct {
	*Template
	r     *Resource
	props *Node // with Globals merged in
	made  []*Resource
}

// transformSAM replaces SAM resources by what they stand for. Logical ids of
// generated resources are those of AWS's transform where templates refer to
// them (MyFnRole, MyFnAliaslive, MyApiConnectRoute); hashes are left out.
func (t *Template) transformSAM() {
	if t.globals != nil {
		for _, e := range t.globals.Map {
			if !slices.Contains(globalSections(), e.Key) {
				t.errorf(e.Pos, "bad-globals", DidYouMean(e.Key, globalSections()), "Globals has no section %s.", quote(e.Key))
			} else if e.Value.Kind != Map && e.Value.Kind != Null && e.Value.Kind != Bad {
				t.errorf(e.Pos, "bad-globals", "Write one `Name: value` per line under it.", "Globals.%s must be a map, not %s.", e.Key, e.Value.Kind)
			}
		}
	}
	var out []*Resource
	for _, r := range t.Resources {
		out = append(out, r)
		kind, ok := strings.CutPrefix(r.Type, samPrefix)
		if !ok {
			continue
		}
		if !slices.Contains(samTypes(), r.Type) {
			t.errorf(r.TypePos, "unknown-type", DidYouMean(r.Type, samTypes()), "%s is not a SAM resource type.", quote(r.Type))
			continue
		}
		t.resource = r.ID
		s := &samResource{Template: t, r: r, props: t.withGlobals(kind, r)}
		s.rewrite(kind)
		for _, m := range s.made {
			if other := t.byID[m.ID]; other != nil {
				if other.From == "" && m.Event == "" {
					t.errorf(other.Pos, "duplicate-key", "Rename it.", "SAM generates a resource %s from %s.", m.ID, r.ID)
				}
				continue
			}
			t.byID[m.ID] = m
			out = append(out, m)
		}
	}
	t.resource = ""
	t.Resources = out
}

func (s *samResource) rewrite(kind string) {
	switch kind {
	case "Function":
		s.function()
	case "LayerVersion":
		s.layer()
	case "SimpleTable":
		s.simpleTable()
	case "WebSocketApi":
		s.webSocketAPI()
	case "Application":
		s.r.Type = "AWS::CloudFormation::Stack"
		s.r.Properties = MapOf(s.r.Pos, Entry{Key: "TemplateURL", Value: s.props.Get("Location")},
			Entry{Key: "Parameters", Value: s.props.Get("Parameters")}, Entry{Key: "Tags", Value: s.props.Get("Tags")})
	case "Api", "HttpApi":
		s.r.Properties = s.props
		stage := "Stage"
		if kind == "HttpApi" {
			stage = "ApiGatewayDefaultStage"
		}
		s.refer("Stage", s.make(stage, "AWS::ApiGateway::Stage", MapOf(s.r.Pos, Entry{Key: "StageName", Value: s.stageName(kind)})))
		s.refer("Deployment", s.make("Deployment", "AWS::ApiGateway::Deployment", MapOf(s.r.Pos)))
	default:
		s.r.Properties = s.props
	}
}

func (s *samResource) stageName(kind string) *Node {
	if n := s.props.Get("StageName"); n != nil {
		return n
	}
	if kind == "HttpApi" {
		return Text("$default", s.r.Pos)
	}
	return Text("Prod", s.r.Pos)
}

// make adds a generated resource; its id is the SAM resource's plus suffix.
func (s *samResource) make(suffix, typ string, props *Node) *Resource {
	m := &Resource{ID: s.r.ID + suffix, Type: typ, TypePos: s.r.TypePos, Properties: props,
		Condition: s.r.Condition, From: s.r.ID, Pos: s.r.Pos}
	s.made = append(s.made, m)
	return m
}

// refer lets templates write "Id.name" for a generated resource.
func (s *samResource) refer(name string, m *Resource) { s.referable[s.r.ID+"."+name] = m.ID }

// known warns of properties that SAM does not have.
func (s *samResource) known(names ...string) {
	for _, e := range s.props.Map {
		if !slices.Contains(names, e.Key) && !isLoop(e.Key) && !strings.HasPrefix(e.Key, "Fn::") {
			s.warnf(e.Pos, "unknown-property", DidYouMean(e.Key, names), "%s has no property %s.", s.r.Type, quote(e.Key))
		}
	}
}

// move builds a property map from "New=Old" or "Same" names.
func (s *samResource) move(names ...string) *Node {
	out := &Node{Kind: Map, Pos: s.r.Pos}
	for _, name := range names {
		to, from, renamed := strings.Cut(name, "=")
		if !renamed {
			from = to
		}
		if e := s.props.Entry(from); e != nil {
			out.Map = append(out.Map, Entry{to, e.Pos, e.Value})
		}
	}
	return out
}

// opaque reports whether r is a SAM resource that is not rewritten here: what it
// would generate, and what of its properties would end up where, is unknown.
func (r *Resource) opaque() bool { return strings.HasPrefix(r.Type, samPrefix) }

// shadow finds the opaque resource that a name seems to be generated from, such
// as MyMachineRole or MyApi.UsagePlan; nil when there is none.
func (t *Template) shadow(name string) *Resource {
	for _, r := range t.Resources {
		if r.opaque() && len(name) > len(r.ID) && strings.HasPrefix(name, r.ID) {
			return r
		}
	}
	return nil
}

// withGlobals merges the Globals of a resource's kind under its properties: maps
// are merged, lists appended to the global ones, anything else overridden. An
// intrinsic function counts as a scalar.
func (t *Template) withGlobals(kind string, r *Resource) *Node {
	global := t.globals.Get(kind)
	if global == nil || global.Kind != Map {
		return r.Properties
	}
	if ig := r.ignoreGlobals; ig != nil {
		if ig.Text == "*" {
			return r.Properties
		}
		for _, name := range ig.List {
			global = global.with(name.Text, nil)
		}
	}
	return mergeGlobals(global, r.Properties)
}

func mergeGlobals(global, local *Node) *Node {
	if _, _, isCall := global.Call(); isCall {
		return local
	}
	if _, _, isCall := local.Call(); isCall {
		return local
	}
	switch {
	case global.Kind == Map && local.Kind == Map:
		out := &Node{Kind: Map, Pos: local.Pos}
		for _, e := range global.Map {
			if l := local.Entry(e.Key); l != nil {
				out.Map = append(out.Map, Entry{l.Key, l.Pos, mergeGlobals(e.Value, l.Value)})
			} else {
				out.Map = append(out.Map, e)
			}
		}
		for _, l := range local.Map {
			if global.Entry(l.Key) == nil {
				out.Map = append(out.Map, l)
			}
		}
		return out
	case global.Kind == List && local.Kind == List:
		return &Node{Kind: List, Pos: local.Pos, List: slices.Concat(global.List, local.List)}
	}
	return local
}

func (s *samResource) layer() {
	s.known("LayerName", "Description", "ContentUri", "CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo",
		"RetentionPolicy", "PublishLambdaVersion")
	s.r.Type = "AWS::Lambda::LayerVersion"
	s.r.Properties = s.move("LayerName", "Description", "Content=ContentUri", "CompatibleArchitectures", "CompatibleRuntimes", "LicenseInfo")
	if s.props.Get("LayerName") == nil {
		s.r.Properties = s.r.Properties.with("LayerName", Text(s.r.ID, s.r.Pos))
	}
}

func (s *samResource) simpleTable() {
	s.known("PrimaryKey", "PointInTimeRecoverySpecification", "ProvisionedThroughput", "TableName", "Tags", "SSESpecification")
	name, typ := Text("id", s.r.Pos), Text("String", s.r.Pos)
	if k := s.props.Get("PrimaryKey"); k != nil {
		if n := k.Get("Name"); n != nil {
			name = n
		}
		if n := k.Get("Type"); n != nil {
			typ = n
		}
	}
	letter, ok := map[string]string{"String": "S", "Number": "N", "Binary": "B"}[typ.Text]
	if !ok && typ.Kind == String {
		s.errorf(typ.Pos, "sam-simple-table", "", "PrimaryKey.Type must be String, Number or Binary, not %s.", quote(typ.Text))
		letter = "S"
	}
	at := name.Pos
	props := s.move("TableName", "ProvisionedThroughput", "SSESpecification", "PointInTimeRecoverySpecification", "Tags")
	props = props.with("AttributeDefinitions", ListOf(at, MapOf(at, Entry{Key: "AttributeName", Value: name}, Entry{Key: "AttributeType", Value: Text(letter, typ.Pos)})))
	props = props.with("KeySchema", ListOf(at, MapOf(at, Entry{Key: "AttributeName", Value: name}, Entry{Key: "KeyType", Value: Text("HASH", at)})))
	if s.props.Get("ProvisionedThroughput") == nil {
		props = props.with("BillingMode", Text("PAY_PER_REQUEST", s.r.Pos))
	}
	s.r.Type, s.r.Properties = "AWS::DynamoDB::Table", props
}
