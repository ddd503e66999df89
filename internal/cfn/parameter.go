package cfn

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Parameter is a declared parameter and the value it got.
type Parameter struct {
	Name        string
	Type        string
	Description string
	NoEcho      bool
	// Value is a string, or a list of strings for list types; Bad when there is
	// none. For AWS::SSM::Parameter::Value<…> it is the SSM name, and Ref yields
	// what Binding.SSM holds under it.
	Value *Node
	Given bool // by the Binding, not by Default
	Pos   Pos

	decl *Node
}

var parameterKeys = []string{"Type", "Default", "AllowedValues", "AllowedPattern", "MinLength", "MaxLength",
	"MinValue", "MaxValue", "Description", "ConstraintDescription", "NoEcho"}

const (
	ssmPrefix  = "AWS::SSM::Parameter::Value<"
	listPrefix = "List<"
)

// inner is the type with AWS::SSM::Parameter::Value<…> taken off.
func (p *Parameter) inner() (typ string, ssm bool) {
	if rest, ok := strings.CutPrefix(p.Type, ssmPrefix); ok {
		return strings.TrimSuffix(rest, ">"), true
	}
	return p.Type, false
}

func isListType(typ string) bool {
	return typ == "CommaDelimitedList" || strings.HasPrefix(typ, listPrefix)
}

func validType(typ string) bool {
	switch typ {
	case "String", "Number", "CommaDelimitedList":
		return true
	}
	if rest, ok := strings.CutPrefix(typ, listPrefix); ok && strings.HasSuffix(rest, ">") {
		rest = strings.TrimSuffix(rest, ">")
		return rest == "Number" || rest == "String" || strings.HasPrefix(rest, "AWS::")
	}
	if rest, ok := strings.CutPrefix(typ, ssmPrefix); ok && strings.HasSuffix(rest, ">") {
		return validType(strings.TrimSuffix(rest, ">"))
	}
	return strings.HasPrefix(typ, "AWS::") && !strings.ContainsAny(typ, "<>")
}

func (t *Template) parameters(n *Node) {
	var names []string
	if n != nil {
		for _, e := range n.Map {
			names = append(names, e.Key)
			if p := t.parameter(e); p != nil {
				t.Parameters = append(t.Parameters, p)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.bind.Parameters)) {
		if !slices.Contains(names, name) {
			at := t.bind.Parameters[name].Pos
			if at.File == "" {
				at.File = t.File
			}
			t.warnf(at, "unknown-parameter", DidYouMean(name, names), "A value is given for %s, which is not a parameter of this template.", quote(name))
		}
	}
}

func (t *Template) parameter(e Entry) *Parameter {
	if e.Value.Kind == Bad {
		return nil
	}
	if e.Value.Kind != Map {
		t.errorf(e.Pos, "bad-parameter", "Write `Type: String` under it.", "The parameter %s must be a map, not %s.", e.Key, e.Value.Kind)
		return nil
	}
	if !alphanumeric(e.Key) {
		t.errorf(e.Pos, "bad-parameter", "Use letters and digits only.", "The parameter name %s is not alphanumeric.", quote(e.Key))
	}
	p := &Parameter{Name: e.Key, Pos: e.Pos, Type: "String", decl: e.Value, Value: bad(e.Pos)}
	for _, k := range e.Value.Map {
		if !slices.Contains(parameterKeys, k.Key) {
			t.errorf(k.Pos, "bad-parameter", DidYouMean(k.Key, parameterKeys), "%s is not a property of a parameter.", quote(k.Key))
		}
	}
	if typ := e.Value.Get("Type"); typ == nil {
		t.errorf(e.Pos, "bad-parameter", "Add `Type: String`.", "The parameter %s has no Type.", e.Key)
	} else {
		p.Type = typ.Text
		if !validType(p.Type) {
			known := []string{"String", "Number", "CommaDelimitedList", "List<Number>", ssmPrefix + "String>", "AWS::SSM::Parameter::Name"}
			t.errorf(typ.Pos, "bad-parameter", DidYouMean(p.Type, known), "%s is not a parameter type.", quote(p.Type))
			p.Type = "String"
		}
	}
	if d := e.Value.Get("Description"); d != nil {
		p.Description = d.Text
	}
	if v := e.Value.Get("NoEcho"); v != nil {
		p.NoEcho = v.Text == "true"
	}
	t.bindParameter(p)
	return p
}

func (t *Template) bindParameter(p *Parameter) {
	given := t.bind.Parameters[p.Name]
	def := p.decl.Get("Default")
	switch {
	case given != nil && given.Kind == Bad: // reported where it was computed
		p.Given = true
	case given != nil && given.Kind != None:
		p.Given = true
		t.setParameter(p, given, given.Pos)
	case def != nil && (def.Scalar() || def.Kind == List && isListType(p.Type)):
		t.setParameter(p, def, def.Pos)
	case def != nil && def.Kind != Bad:
		t.errorf(def.Pos, "bad-parameter", "Write a string in quotes.", "The Default of %s must be text, not %s.", p.Name, def.Kind)
	case def == nil:
		t.errorf(p.Pos, "missing-parameter", "Give it: --parameter-overrides "+p.Name+"=VALUE, or parameter_overrides in samconfig.toml, or add a Default.",
			"The parameter %s has no value and no Default.", p.Name)
	}
}

// setParameter types a value and checks its constraints.
func (t *Template) setParameter(p *Parameter, v *Node, at Pos) {
	if at.Line == 0 {
		at = p.Pos
	}
	text := v.Text
	if v.Kind == List {
		var parts []string
		for _, e := range v.List {
			parts = append(parts, e.Text)
		}
		text = strings.Join(parts, ",")
	}
	typ, ssm := p.inner()
	if ssm {
		p.Value = Text(text, at)
		return
	}
	p.Value = typed(typ, text, at)
	if isListType(typ) {
		for _, e := range p.Value.List {
			t.constrain(p, strings.TrimSuffix(strings.TrimPrefix(typ, listPrefix), ">"), e)
		}
		return
	}
	t.constrain(p, typ, p.Value)
}

func typed(typ, text string, at Pos) *Node {
	if !isListType(typ) {
		return Text(text, at)
	}
	n := &Node{Kind: List, Pos: at}
	if text == "" {
		return n
	}
	for part := range strings.SplitSeq(text, ",") {
		n.List = append(n.List, Text(strings.TrimSpace(part), at))
	}
	return n
}

// constrain reports the first constraint that a value breaks.
func (t *Template) constrain(p *Parameter, typ string, v *Node) {
	hint := ""
	if d := p.decl.Get("ConstraintDescription"); d != nil {
		hint = d.Text
	}
	shown := quote(v.Text)
	if p.NoEcho {
		shown = "(hidden by NoEcho)"
	}
	fail := func(format string, args ...any) {
		t.errorf(v.Pos, "parameter-value", hint, "The value %s of parameter %s "+format, append([]any{shown, p.Name}, args...)...)
	}
	if typ == "Number" {
		f, err := strconv.ParseFloat(strings.TrimSpace(v.Text), 64)
		if err != nil {
			fail("is not a number.")
			return
		}
		if b, ok := t.bound(p, "MinValue"); ok && f < b {
			fail("is below MinValue %g.", b)
		}
		if b, ok := t.bound(p, "MaxValue"); ok && f > b {
			fail("is above MaxValue %g.", b)
		}
	} else {
		n := float64(len([]rune(v.Text)))
		if b, ok := t.bound(p, "MinLength"); ok && n < b {
			fail("is shorter than MinLength %g.", b)
		}
		if b, ok := t.bound(p, "MaxLength"); ok && n > b {
			fail("is longer than MaxLength %g.", b)
		}
	}
	if allowed := p.decl.Get("AllowedValues"); allowed != nil && allowed.Kind == List {
		var words []string
		for _, a := range allowed.List {
			words = append(words, a.Text)
		}
		if !slices.Contains(words, v.Text) {
			if hint == "" {
				hint = DidYouMean(v.Text, words)
			}
			fail("is not one of its AllowedValues.")
		}
	}
	t.constrainPattern(p, v, fail)
}

func (t *Template) constrainPattern(p *Parameter, v *Node, fail func(string, ...any)) {
	pattern := p.decl.Get("AllowedPattern")
	if pattern == nil || !pattern.Scalar() {
		return
	}
	re, err := regexp.Compile(`^(?:` + pattern.Text + `)$`)
	if err != nil {
		// CloudFormation uses Java expressions; look-around has no counterpart in
		// RE2, and a value is not refused because it cannot be checked.
		t.add(Problem{Severity: Note, Code: "pattern-not-checked", Pos: pattern.Pos,
			Message: "The AllowedPattern of " + p.Name + " uses a feature that is not checked here."})
		return
	}
	if !re.MatchString(v.Text) {
		fail("does not match its AllowedPattern %s.", pattern.Text)
	}
}

func (t *Template) bound(p *Parameter, key string) (float64, bool) {
	n := p.decl.Get(key)
	if n == nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Text, 64)
	if err != nil || !n.Scalar() {
		t.errorf(n.Pos, "bad-parameter", "", "%s of parameter %s must be a number.", key, p.Name)
		return 0, false
	}
	return f, true
}

func (t *Template) findParameter(name string) *Parameter {
	for _, p := range t.Parameters {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// parameterValue is what Ref of a parameter yields.
func (t *Template) parameterValue(p *Parameter, at Pos) *Node {
	typ, ssm := p.inner()
	v := *p.Value
	if ssm && v.Kind == String {
		text, ok := t.bind.SSM[v.Text]
		if !ok {
			t.errorf(at, "ssm-parameter", "Give it: --ssm-parameter "+v.Text+"=VALUE.",
				"The parameter %s is read from Systems Manager (%s), which has no value here.", p.Name, quote(v.Text))
			return bad(at)
		}
		v = *typed(typ, text, at)
	}
	v.Pos = at
	return &v
}
