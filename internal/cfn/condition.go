package cfn

import (
	"maps"
	"slices"
	"strings"
)

type condition struct {
	name  string
	pos   Pos
	expr  *Node
	state int // 0 not asked yet, 1 being decided, 2 decided
	value bool
}

func (t *Template) declareConditions(n *Node) {
	if n == nil {
		return
	}
	for _, e := range n.Map {
		t.conditions[e.Key] = &condition{name: e.Key, pos: e.Pos, expr: e.Value}
	}
	for _, e := range n.Map {
		t.conditionCycle(e.Key, nil)
	}
}

// conditionCycle follows the conditions a condition names and reports a circle
// once, from the condition that closes it.
func (t *Template) conditionCycle(name string, path []string) {
	c := t.conditions[name]
	if c == nil || c.state == 2 {
		return
	}
	if i := slices.Index(path, name); i >= 0 {
		t.errorf(c.pos, "circular-condition", "A condition may not depend on itself.", "Conditions refer to each other in a circle: %s.", strings.Join(append(path[i:], name), " → "))
		for _, n := range path[i:] {
			t.conditions[n].state = 2 // false from now on
		}
		return
	}
	for _, next := range conditionNames(c.expr) {
		t.conditionCycle(next, append(slices.Clone(path), name))
	}
}

// conditionNames are the conditions that an expression names.
func conditionNames(n *Node) []string {
	var names []string
	switch n.Kind {
	case Map:
		for _, e := range n.Map {
			if e.Key == "Condition" && e.Value.Kind == String {
				names = append(names, e.Value.Text)
			} else if e.Key == "Fn::If" && len(e.Value.List) > 0 && e.Value.List[0].Kind == String {
				names = append(names, e.Value.List[0].Text)
			}
			names = append(names, conditionNames(e.Value)...)
		}
	case List:
		for _, c := range n.List {
			names = append(names, conditionNames(c)...)
		}
	}
	return names
}

// holds decides a condition by name. An unknown or undecidable one is false.
func (t *Template) holds(name string) bool {
	c := t.conditions[name]
	if c == nil || c.state == 1 {
		return false
	}
	if c.state == 0 {
		c.state = 1
		c.value = t.decide(c.expr)
		c.state = 2
	}
	return c.value
}

// knownCondition reports a condition name that is not declared.
func (t *Template) knownCondition(name *Node) {
	if name.Kind != String || t.conditions[name.Text] != nil {
		return
	}
	t.errorf(name.Pos, "unknown-condition", DidYouMean(name.Text, slices.Collect(maps.Keys(t.conditions))), "There is no condition %s.", quote(name.Text))
}

// decide evaluates a condition expression.
func (t *Template) decide(n *Node) bool {
	if n.Kind == Map && len(n.Map) == 1 {
		e := n.Map[0]
		switch e.Key {
		case "Condition":
			return t.holds(e.Value.Text)
		case "Fn::And", "Fn::Or", "Fn::Not":
			return t.combine(e.Key, e.Value)
		case "Fn::Equals":
			args, ok := t.args(e.Key, e.Value, 2, 2, "[value, value]")
			if !ok {
				return false
			}
			a, b := t.Eval(args[0]), t.Eval(args[1])
			return a.Kind != Bad && b.Kind != Bad && a.equal(b)
		case "Fn::Contains", "Fn::EachMemberIn", "Fn::EachMemberEquals":
			return t.member(e.Key, e.Value)
		}
	}
	v := t.Eval(n)
	switch {
	case v.Kind == Bad:
		return false
	case v.Scalar() && (v.Text == "true" || v.Text == "false"):
		return v.Text == "true"
	}
	t.errorf(n.Pos, "bad-condition", "Use Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition.", "This is not true or false but %s.", v.Kind)
	return false
}

func (t *Template) combine(name string, arg *Node) bool {
	least, most := 2, 10
	if name == "Fn::Not" {
		least, most = 1, 1
	}
	args, ok := t.args(name, arg, least, most, "a list of conditions")
	if !ok {
		return false
	}
	and := true
	or := false
	for _, a := range args {
		v := t.decide(a)
		and, or = and && v, or || v
	}
	switch name {
	case "Fn::And":
		return and
	case "Fn::Or":
		return or
	}
	return !and
}

// member decides the list functions of the Rules section.
func (t *Template) member(name string, arg *Node) bool {
	args, ok := t.args(name, arg, 2, 2, "[list, value]")
	if !ok {
		return false
	}
	list, want := t.Eval(args[0]), t.Eval(args[1])
	in := func(set, v *Node) bool {
		return slices.ContainsFunc(set.List, func(e *Node) bool { return e.equal(v) })
	}
	switch name {
	case "Fn::Contains":
		return in(list, want)
	case "Fn::EachMemberEquals":
		return !slices.ContainsFunc(list.List, func(e *Node) bool { return !e.equal(want) })
	}
	return !slices.ContainsFunc(list.List, func(e *Node) bool { return !in(want, e) })
}

// rules evaluates the assertions of the Rules section. A rule that asks what
// only an AWS account knows (VPC attributes, Systems Manager) is passed over:
// CDK puts one such rule into every template.
func (t *Template) rules(n *Node) {
	if n == nil {
		return
	}
	for _, e := range n.Map {
		before := len(t.list)
		w := &walker{Template: t, rules: true}
		w.walk(e.Value, true)
		if len(t.list) > before {
			continue // malformed; reported
		}
		if c := e.Value.Get("RuleCondition"); c != nil && !t.decide(c) {
			t.forget(before)
			continue
		}
		assertions := e.Value.Get("Assertions")
		if assertions == nil || assertions.Kind != List {
			t.errorf(e.Pos, "bad-rule", "Add Assertions: with a list of Assert: expressions.", "The rule %s has no Assertions.", e.Key)
			continue
		}
		for _, a := range assertions.List {
			expr := a.Get("Assert")
			if expr == nil {
				continue
			}
			holds := t.decide(expr)
			if len(t.list) > before {
				t.forget(before)
				break
			}
			if !holds {
				hint := ""
				if d := a.Get("AssertDescription"); d != nil {
					hint = d.Text
				}
				t.errorf(a.Pos, "rule-failed", hint, "An assertion of the rule %s does not hold.", e.Key)
				before = len(t.list)
			}
		}
	}
}

// forget drops the problems after the first n.
func (t *Template) forget(n int) {
	for _, p := range t.list[n:] {
		p.Resource = ""
		delete(t.seen, p)
	}
	t.list = t.list[:n]
}

func (t *Template) checkMappings() {
	if t.mappings == nil {
		return
	}
	for _, e := range t.mappings.Map {
		if e.Value.Kind != Map {
			t.errorf(e.Pos, "bad-mapping", "Write two levels of keys under it.", "The mapping %s must be a map, not %s.", e.Key, e.Value.Kind)
			continue
		}
		for _, f := range e.Value.Map {
			if f.Value.Kind != Map && f.Value.Kind != Bad {
				t.errorf(f.Pos, "bad-mapping", "Write `Name: value` under it.", "The key %s of mapping %s must hold a map, not %s.", f.Key, e.Key, f.Value.Kind)
			}
		}
	}
}
