package cfn

import (
	"slices"
	"strings"
)

// Binding is what a template is evaluated against. The zero Binding works:
// pseudo parameters are empty, nothing is given, nothing can be included.
type Binding struct {
	StackName, StackID, Region, AccountID string
	Partition, URLSuffix                  string
	NotificationARNs                      []string
	// Parameters are the given values, by name: scalars, or lists for list types.
	Parameters map[string]*Node
	// SSM holds values of Systems Manager parameters by their name, for
	// parameters of type AWS::SSM::Parameter::Value<…> and {{resolve:ssm:…}}.
	SSM map[string]string
	// Imports holds values for Fn::ImportValue by export name.
	Imports map[string]string
	// Read reads a file that AWS::Include names, relative to the template; name
	// is how positions in it are shown.
	Read func(path string) (name string, data []byte, err error)
	// Attributes answers Ref (attr "") and GetAtt of a resource. A nil value
	// means there is no such attribute; known then lists those there are.
	// Without it, Ref yields the logical id and GetAtt "id.attr".
	Attributes func(r *Resource, attr string, at Pos) (value *Node, known []string)
}

// The transforms that are understood.
const (
	TransformSAM      = "AWS::Serverless-2016-10-31"
	TransformLanguage = "AWS::LanguageExtensions"
	TransformInclude  = "AWS::Include"
)

// Template is a loaded template.
type Template struct {
	File        string
	Description string
	Transforms  []string
	Parameters  []*Parameter // in source order
	// Resources are those whose condition holds, in source order, each followed
	// by what SAM generated from it.
	Resources []*Resource
	Outputs   []*Output // those whose condition holds

	report
	bind       Binding
	globals    *Node
	mappings   *Node
	conditions map[string]*condition
	byID       map[string]*Resource // inactive ones included
	// referable holds SAM's dotted names: "Fn.Alias" → "FnAliaslive".
	referable  map[string]string
	resolving  []string         // resources whose attributes are being computed
	attributes map[string]*Node // computed ones, by "id.attr"
	included   int              // files read by AWS::Include
	looped     int              // entries made by Fn::ForEach
}

// Resource is one entry of the Resources section.
type Resource struct {
	ID         string
	Type       string
	TypePos    Pos
	Properties *Node // a Map, unresolved; never nil
	Metadata   *Node // nil when absent
	DependsOn  []*Node
	Condition  string
	Active     bool // its condition holds
	// From is the logical id of the SAM resource that this one was generated
	// from; "" for resources that the user wrote.
	From string
	// Event is set on resources generated from an entry of a SAM function's
	// Events: the event's type, e.g. "SQS", "Schedule", "HttpApi".
	Event string
	Pos   Pos // of the logical id, or of the event's name

	ignoreGlobals *Node
}

// Output is one entry of the Outputs section.
type Output struct {
	Name        string
	Description string
	Value       *Node // unresolved
	Export      *Node // unresolved name, nil when not exported
	Condition   string
	Pos         Pos
}

// Load reads a template and prepares it for evaluation. It never fails: what is
// wrong is in Problems, and a template that could not be read has no resources.
func Load(file string, data []byte, b Binding) *Template {
	t := newTemplate(file, b)
	if root := parse(file, data, &t.report); root != nil {
		t.load(root)
	}
	return t
}

// LoadTree prepares a template that was not written as YAML or JSON: root is the
// whole of it, with positions in the files that it comes from.
func LoadTree(file string, root *Node, b Binding) *Template {
	t := newTemplate(file, b)
	t.load(root)
	return t
}

func newTemplate(file string, b Binding) *Template {
	return &Template{File: file, bind: b, conditions: map[string]*condition{}, byID: map[string]*Resource{}, referable: map[string]string{}, attributes: map[string]*Node{}}
}

func (t *Template) load(root *Node) {
	if root.Kind != Map {
		t.errorf(root.Pos, "not-a-template", "A template is a map with at least a Resources section.", "This file holds %s, not a template.", root.Kind)
		return
	}
	root = t.include(root, 0)
	t.sections(root)
}

// Problems are all findings so far, sorted by position. Eval adds to them.
func (t *Template) Problems() []Problem {
	list := slices.Clone(t.list)
	slices.SortStableFunc(list, func(a, b Problem) int { return comparePos(a.Pos, b.Pos) })
	return list
}

func comparePos(a, b Pos) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Col - b.Col
}

// Resource finds a resource by logical id, active or not; nil when there is none.
func (t *Template) Resource(id string) *Resource { return t.byID[id] }

func (t *Template) has(transform string) bool { return slices.Contains(t.Transforms, transform) }

var sectionNames = []string{"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings",
	"Conditions", "Transform", "Resources", "Outputs", "Globals", "Hooks"}

func (t *Template) sections(root *Node) {
	for _, e := range root.Map {
		if !slices.Contains(sectionNames, e.Key) {
			hint := DidYouMean(e.Key, sectionNames)
			if e.Value.Get("Type") != nil {
				hint = "Resources belong under the Resources section."
			}
			t.errorf(e.Pos, "unknown-section", hint, "%s is not a section of a template.", quote(e.Key))
		}
	}
	if v := root.Get("AWSTemplateFormatVersion"); v != nil && v.Text != "2010-09-09" {
		t.errorf(v.Pos, "format-version", `Write AWSTemplateFormatVersion: "2010-09-09", or leave it out.`, "The format version %s does not exist.", quote(v.Text))
	}
	if d := root.Get("Description"); d != nil {
		t.Description = d.Text
	}
	t.transforms(root.Get("Transform"))
	t.globals = t.section(root, "Globals")
	if g := root.Entry("Globals"); g != nil && !t.has(TransformSAM) {
		t.errorf(g.Pos, "missing-transform", "Add `Transform: "+TransformSAM+"` at the top level.", "Globals needs the SAM transform.")
	}
	t.parameters(t.section(root, "Parameters"))
	t.mappings = t.section(root, "Mappings")
	t.checkMappings()
	t.declareConditions(t.loops(t.section(root, "Conditions"), 0))
	t.resources(root)
	t.outputs(t.loops(t.section(root, "Outputs"), 0))
	if t.has(TransformSAM) {
		t.transformSAM()
	}
	t.activate()
	t.check()
	t.rules(t.section(root, "Rules"))
}

// section returns a section that must be a map; nil when absent, empty or wrong.
func (t *Template) section(root *Node, name string) *Node {
	n := root.Get(name)
	if n == nil || n.Kind == Null || n.Kind == Bad {
		return nil
	}
	if n.Kind != Map {
		t.errorf(n.Pos, "bad-section", "Indent its entries under "+name+":, each as `Name: value`.", "%s must be a map, not %s.", name, n.Kind)
		return nil
	}
	return n
}

func (t *Template) transforms(n *Node) {
	if n == nil || n.Kind == Null {
		return
	}
	list := []*Node{n}
	if n.Kind == List {
		list = n.List
	}
	known := []string{TransformSAM, TransformLanguage, TransformInclude}
	for _, e := range list {
		name := e
		if e.Kind == Map {
			name = e.Get("Name")
		}
		switch {
		case name == nil || name.Kind != String:
			t.errorf(e.Pos, "unknown-transform", "Write `Transform: "+TransformSAM+"`.", "A transform is named by a string.")
		case slices.Contains(known, name.Text):
			t.Transforms = append(t.Transforms, name.Text)
		case Closest(name.Text, known) != "":
			t.errorf(name.Pos, "unknown-transform", DidYouMean(name.Text, known), "The transform %s does not exist.", quote(name.Text))
		default:
			t.warnf(name.Pos, "unsupported-transform", "What the macro would change stays as written.", "The macro %s runs in your AWS account and is not run here.", quote(name.Text))
		}
	}
}

var resourceKeys = []string{"Type", "Properties", "DependsOn", "Condition", "Metadata", "DeletionPolicy",
	"UpdateReplacePolicy", "UpdatePolicy", "CreationPolicy", "Connectors", "IgnoreGlobals"}

func (t *Template) resources(root *Node) {
	e := root.Entry("Resources")
	if e == nil {
		t.errorf(Pos{File: t.File, Line: 1, Col: 1}, "no-resources", "Add a Resources section with at least one resource.", "The template has no Resources section.")
		return
	}
	n := t.loops(t.section(root, "Resources"), 0)
	if n == nil || len(n.Map) == 0 {
		if e.Value.Kind == Null || e.Value.Kind == Map {
			t.errorf(e.Pos, "no-resources", "Add at least one resource, indented under Resources:.", "The Resources section is empty.")
		}
		return
	}
	for _, e := range n.Map {
		t.resource = e.Key
		if r := t.parseResource(e); r != nil {
			t.Resources = append(t.Resources, r)
			t.byID[r.ID] = r
		}
	}
	t.resource = ""
}

func (t *Template) parseResource(e Entry) *Resource {
	n := e.Value
	if n.Kind == Bad {
		return nil
	}
	if n.Kind != Map {
		t.errorf(e.Pos, "bad-resource", "Indent Type: and Properties: under the name.", "The resource %s must be a map with a Type, not %s.", e.Key, n.Kind)
		return nil
	}
	if !alphanumeric(e.Key) {
		t.errorf(e.Pos, "bad-logical-id", "Use letters and digits only.", "The logical id %s is not alphanumeric.", quote(e.Key))
	}
	typ := n.Get("Type")
	if typ == nil || typ.Kind != String || typ.Text == "" {
		t.errorf(e.Pos, "resource-without-type", "Add `Type: AWS::…`.", "The resource %s has no Type.", e.Key)
		return nil
	}
	r := &Resource{ID: e.Key, Type: typ.Text, TypePos: typ.Pos, Pos: e.Pos, Metadata: n.Get("Metadata"), ignoreGlobals: n.Get("IgnoreGlobals")}
	for _, k := range n.Map {
		if !slices.Contains(resourceKeys, k.Key) {
			hint := DidYouMean(k.Key, resourceKeys)
			if Closest(k.Key, resourceKeys) == "" {
				hint = "Settings of the resource belong under Properties:."
			}
			t.errorf(k.Pos, "unknown-resource-key", hint, "%s does not belong directly under a resource.", quote(k.Key))
		}
	}
	r.Properties = n.Get("Properties")
	switch {
	case r.Properties == nil || r.Properties.Kind == Null || r.Properties.Kind == Bad:
		r.Properties = MapOf(e.Pos)
	case r.Properties.Kind != Map:
		t.errorf(r.Properties.Pos, "bad-resource", "Write one `Name: value` per line under Properties:.", "Properties must be a map, not %s.", r.Properties.Kind)
		r.Properties = MapOf(e.Pos)
	}
	if c := n.Get("Condition"); c != nil {
		if c.Kind != String {
			t.errorf(c.Pos, "bad-condition", "Name an entry of the Conditions section.", "A resource's Condition is a name, not %s.", c.Kind)
		} else {
			r.Condition = c.Text
			t.knownCondition(c)
		}
	}
	if d := n.Get("DependsOn"); d != nil {
		r.DependsOn = []*Node{d}
		if d.Kind == List {
			r.DependsOn = d.List
		}
	}
	return r
}

func alphanumeric(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

func (t *Template) outputs(n *Node) {
	if n == nil {
		return
	}
	for _, e := range n.Map {
		v := e.Value.Get("Value")
		if v == nil {
			if e.Value.Kind != Bad {
				t.errorf(e.Pos, "bad-output", "Add `Value: …`.", "The output %s has no Value.", e.Key)
			}
			continue
		}
		o := &Output{Name: e.Key, Value: v, Pos: e.Pos, Export: e.Value.Get("Export").Get("Name")}
		if d := e.Value.Get("Description"); d != nil {
			o.Description = d.Text
		}
		if c := e.Value.Get("Condition"); c != nil && c.Kind == String {
			o.Condition = c.Text
			t.knownCondition(c)
		}
		t.Outputs = append(t.Outputs, o)
	}
}

// activate decides which resources and outputs exist.
func (t *Template) activate() {
	for _, r := range t.byID {
		r.Active = r.Condition == "" || t.holds(r.Condition)
	}
	t.Resources = slices.DeleteFunc(t.Resources, func(r *Resource) bool { return !r.Active })
	t.Outputs = slices.DeleteFunc(t.Outputs, func(o *Output) bool { return o.Condition != "" && !t.holds(o.Condition) })
}

// TemplateFiles are the names under which a template is looked for in a
// directory, in this order.
func TemplateFiles() []string {
	return []string{"template.yaml", "template.yml", "template.json", "template.sam.yaml"}
}
