package cfn

import (
	"maps"
	"slices"
	"strings"
)

// walker checks expressions without resolving them: that functions exist and
// have the right shape, and that what they refer to exists. A reference in the
// branch of an Fn::If that is not taken must exist, but needs no active target
// and makes no dependency.
type walker struct {
	*Template
	from       *Resource // whose expressions these are; nil outside Resources
	conditions bool      // in the Conditions section
	rules      bool      // in the Rules section
	deps       []dependency
}

type dependency struct {
	id string
	at Pos
}

// check walks everything that was written and reports broken references.
func (t *Template) check() {
	for _, c := range t.conditions {
		w := &walker{Template: t, conditions: true}
		w.walk(c.expr, true)
	}
	deps := map[string][]dependency{}
	for _, r := range t.ordered() {
		t.resource = r.ID
		w := &walker{Template: t, from: r}
		w.walk(r.Properties, r.Active)
		w.dependsOn(r)
		if !r.opaque() {
			deps[r.ID] = w.deps
		}
	}
	t.resource = ""
	for _, o := range t.Outputs {
		w := &walker{Template: t}
		w.walk(o.Value, true)
		if o.Export != nil {
			w.walk(o.Export, true)
		}
	}
	t.circles(deps)
}

// ordered are all resources, inactive ones included, by position.
func (t *Template) ordered() []*Resource {
	all := slices.Collect(maps.Values(t.byID))
	slices.SortFunc(all, func(a, b *Resource) int {
		if c := comparePos(a.Pos, b.Pos); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

func (w *walker) dependsOn(r *Resource) {
	for _, d := range r.DependsOn {
		if d.Kind != String {
			w.errorf(d.Pos, "unknown-dependency", "Write logical ids.", "DependsOn takes names, not %s.", d.Kind)
			continue
		}
		target := w.byID[d.Text]
		switch {
		case target == nil && w.shadow(d.Text) != nil:
		case target == nil:
			w.errorf(d.Pos, "unknown-dependency", DidYouMean(d.Text, w.ids()), "DependsOn names %s, which is not a resource of this template.", quote(d.Text))
		case target == r:
			w.errorf(d.Pos, "circular-reference", "Remove it.", "%s depends on itself.", r.ID)
		case r.Active && target.Active:
			w.deps = append(w.deps, dependency{target.ID, d.Pos})
		}
	}
}

func (t *Template) ids() []string {
	var ids []string
	for _, r := range t.byID {
		ids = append(ids, r.ID)
	}
	return ids
}

func (w *walker) walk(n *Node, live bool) {
	switch n.Kind {
	case Null:
		if w.from != nil && w.from.From == "" && !w.from.opaque() {
			w.errorf(n.Pos, "null-value", "Write a value, or remove the key. Is the next line indented under it?", "A value is missing here.")
		}
	case List:
		for _, c := range n.List {
			w.walk(c, live)
		}
	case Map:
		if name, arg, ok := n.Call(); ok {
			w.call(name, arg, n, live)
			return
		}
		for _, e := range n.Map {
			if strings.HasPrefix(e.Key, "Fn::") {
				w.errorf(e.Pos, "bad-intrinsic", "Move the other keys out of this map.", "%s must be the only key of its map.", e.Key)
			}
			if e.Key == "Condition" && (w.conditions || w.rules) {
				w.knownCondition(e.Value)
				continue
			}
			w.walk(e.Value, live)
		}
	}
}

func (w *walker) call(name string, arg, n *Node, live bool) {
	if name != "Ref" && !slices.Contains(intrinsics(), name) {
		w.errorf(n.Pos, "unknown-intrinsic", DidYouMean(name, append(intrinsics(), "Ref")), "%s is not a function.", quote(name))
		return
	}
	switch name {
	case "Ref":
		if arg.Kind == String {
			w.name(arg.Text, arg.Pos, live)
		} else if arg.Kind != Bad {
			w.errorf(n.Pos, "bad-intrinsic", "Write `!Ref Name`.", "Ref needs a name, not %s.", arg.Kind)
		}
		return
	case "Fn::GetAtt":
		w.getAtt(arg, n.Pos, live)
		return
	case "Fn::Sub":
		w.sub(arg, n.Pos, live)
		return
	case "Fn::If":
		w.branches(arg, live)
		return
	case "Fn::FindInMap":
		w.findInMap(arg)
	case "Fn::Transform":
		w.macro(arg)
		return
	case "Fn::Length", "Fn::ToJsonString":
		if !w.has(TransformLanguage) {
			w.errorf(n.Pos, "missing-transform", "Add `Transform: "+TransformLanguage+"`.", "%s needs the AWS::LanguageExtensions transform.", name)
		}
	case "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll":
		if !w.rules {
			w.errorf(n.Pos, "bad-intrinsic", "", "%s may be used in the Rules section only.", name)
			return
		}
	}
	w.shape(name, arg, n.Pos)
	w.walk(arg, live)
}

// shape checks the arguments of functions that take a fixed list.
func (w *walker) shape(name string, arg *Node, at Pos) {
	want := map[string]struct {
		least, most int
		text        string
	}{
		"Fn::Join": {2, 2, "[delimiter, [values]]"}, "Fn::Select": {2, 2, "[index, [values]]"},
		"Fn::Split": {2, 2, "[delimiter, text]"}, "Fn::Cidr": {2, 3, "[ip block, count, bits]"},
		"Fn::FindInMap": {3, 4, "[map, key, key]"}, "Fn::Equals": {2, 2, "[value, value]"},
		"Fn::And": {2, 10, "a list of two to ten conditions"}, "Fn::Or": {2, 10, "a list of two to ten conditions"},
		"Fn::Not": {1, 1, "a list of one condition"},
	}
	s, ok := want[name]
	if !ok || arg.Kind == Bad {
		return
	}
	if arg.Kind != List || len(arg.List) < s.least || len(arg.List) > s.most {
		w.errorf(arg.Pos, "bad-intrinsic", "", "%s needs %s.", name, s.text)
		return
	}
	if name == "Fn::Join" && arg.List[1].Kind != List && arg.List[1].Kind != Map && arg.List[1].Kind != Bad {
		w.errorf(arg.List[1].Pos, "bad-intrinsic", "", "Fn::Join needs a list as its second value, not %s.", arg.List[1].Kind)
	}
}

// name checks what a Ref, or a variable without a dot, refers to.
func (w *walker) name(name string, at Pos, live bool) {
	if w.findParameter(name) != nil || slices.Contains(pseudo(), name) {
		return
	}
	if w.conditions || w.rules {
		hint := DidYouMean(name, append(w.parameterNames(), pseudo()...))
		if w.byID[name] != nil {
			hint = "Conditions and rules are decided before any resource exists."
		}
		w.errorf(at, "unknown-reference", hint, "%s is not a parameter.", quote(name))
		return
	}
	w.resourceRef(name, at, live)
}

func (w *walker) resourceRef(name string, at Pos, live bool) {
	id := name
	if generated, ok := w.referable[name]; ok {
		id = generated
	}
	r := w.byID[id]
	if r == nil && w.shadow(name) != nil {
		return
	}
	if r == nil {
		known := append(append(w.ids(), w.parameterNames()...), pseudo()...)
		hint := DidYouMean(name, known)
		if base, attr, ok := strings.Cut(name, "."); ok && w.byID[base] != nil {
			hint = "Write `!GetAtt " + base + "." + attr + "` for an attribute."
		}
		w.errorf(at, "unknown-reference", hint, "There is no resource or parameter %s.", quote(name))
		return
	}
	if !live || (w.from != nil && !w.from.Active) {
		return
	}
	if !r.Active {
		w.errorf(at, "inactive-reference", "Put this value under Fn::If with the same condition.", "%s is not created, because its condition %s is false.", r.ID, r.Condition)
		return
	}
	if w.from != nil {
		w.deps = append(w.deps, dependency{r.ID, at})
	}
}

func (t *Template) parameterNames() []string {
	var names []string
	for _, p := range t.Parameters {
		names = append(names, p.Name)
	}
	return names
}

func (w *walker) getAtt(arg *Node, at Pos, live bool) {
	if arg.Kind == Bad {
		return
	}
	id, attr, ok := w.getAttTarget(arg)
	if !ok {
		w.errorf(at, "bad-intrinsic", "Write `!GetAtt Resource.Attribute`.", "Fn::GetAtt needs a resource and an attribute.")
		return
	}
	if w.attributeOf(id, at, live) && attr.Kind == Map {
		w.walk(attr, live)
	}
}

// attributeOf checks the resource part of a GetAtt.
func (w *walker) attributeOf(id string, at Pos, live bool) bool {
	if w.findParameter(id) != nil {
		w.errorf(at, "unknown-reference", "Write `!Ref "+id+"`.", "%s is a parameter and has no attributes.", quote(id))
		return false
	}
	if w.conditions || w.rules {
		w.errorf(at, "unknown-reference", "Conditions and rules are decided before any resource exists.", "Fn::GetAtt may not be used here.")
		return false
	}
	w.resourceRef(id, at, live)
	return true
}

func (w *walker) sub(arg *Node, at Pos, live bool) {
	if arg.Kind == Bad {
		return
	}
	text, vars, ok := subArgs(arg)
	if !ok {
		w.errorf(at, "bad-intrinsic", "", "Fn::Sub needs text, or [text, {name: value}].")
		return
	}
	if vars != nil {
		w.walk(vars, live)
	}
	for _, p := range splitSub(text.Text) {
		if !p.variable || vars.Get(p.name) != nil {
			continue
		}
		where := text.linePos(p.off)
		if p.name == "" {
			w.errorf(where, "bad-intrinsic", "Write ${!} for a literal ${}.", "Fn::Sub holds an empty ${}.")
			continue
		}
		if strings.HasPrefix(p.name, "stageVariables.") || strings.HasPrefix(p.name, "context.") {
			w.errorf(where, "unknown-reference", "Write ${!"+p.name+"} to keep it for API Gateway.", "%s would be resolved by Fn::Sub.", quote(p.text))
			continue
		}
		if _, ok := w.referable[p.name]; !ok && !strings.HasPrefix(p.name, "AWS::") {
			if id, _, ok := w.splitDotted(p.name); ok {
				w.attributeOf(id, where, live)
				continue
			}
		}
		w.name(p.name, where, live)
	}
}

func (w *walker) branches(arg *Node, live bool) {
	if arg.Kind == Bad {
		return
	}
	if arg.Kind != List || len(arg.List) != 3 {
		w.errorf(arg.Pos, "bad-intrinsic", "", "Fn::If needs [condition, value if true, value if false].")
		return
	}
	cond := arg.List[0]
	switch {
	case cond.Kind == String:
		w.knownCondition(cond)
	case cond.Kind == Map:
		inner := *w
		inner.rules = true // a condition expression in place of a name
		inner.walk(cond, live)
	default:
		w.errorf(cond.Pos, "bad-intrinsic", "", "The first value of Fn::If is the name of a condition, not %s.", cond.Kind)
	}
	taken := w.branch(cond)
	w.walk(arg.List[1], live && taken)
	w.walk(arg.List[2], live && !taken)
}

func (w *walker) findInMap(arg *Node) {
	if arg.Kind != List || len(arg.List) == 0 || arg.List[0].Kind != String || len(arg.List) == 4 {
		return
	}
	name := arg.List[0]
	if w.mappings.Get(name.Text) != nil {
		return
	}
	var known []string
	if w.mappings != nil {
		for _, e := range w.mappings.Map {
			known = append(known, e.Key)
		}
	}
	w.errorf(name.Pos, "unknown-mapping", DidYouMean(name.Text, known), "There is no mapping %s.", quote(name.Text))
}

// macro names an Fn::Transform that is not run.
func (w *walker) macro(arg *Node) {
	name := arg.Get("Name")
	if name == nil || name.Text == TransformInclude {
		return // reported where the file was looked for
	}
	w.warnf(arg.Pos, "unsupported-transform", "What the macro would produce is missing.", "The macro %s runs in your AWS account and is not run here.", quote(name.Text))
}

// circles reports resources that refer to each other in a circle: CloudFormation
// could create none of them first.
func (t *Template) circles(deps map[string][]dependency) {
	state := map[string]int{} // 1 on the path, 2 done
	told := map[string]bool{} // in a circle that was reported
	var path []dependency
	var visit func(id string)
	visit = func(id string) {
		state[id] = 1
		for _, d := range deps[id] {
			step := dependency{id, d.at}
			switch state[d.id] {
			case 0:
				path = append(path, step)
				visit(d.id)
				path = path[:len(path)-1]
			case 1:
				t.circle(append(slices.Clone(path), step), d.id, told)
			}
		}
		state[id] = 2
	}
	for _, r := range t.ordered() {
		if state[r.ID] == 0 {
			visit(r.ID)
		}
	}
}

// circle reports the part of a path that leads from id back to id, unless it
// shares a resource with a circle that was told already: one is enough to act on.
func (t *Template) circle(path []dependency, id string, told map[string]bool) {
	i := slices.IndexFunc(path, func(d dependency) bool { return d.id == id })
	path = path[i:]
	if slices.ContainsFunc(path, func(d dependency) bool { return told[d.id] }) {
		return
	}
	var b strings.Builder
	for _, d := range path {
		told[d.id] = true
		b.WriteString(d.id + " (line " + itoa(d.at.Line) + ") → ")
	}
	if len(path) == 1 {
		t.errorf(path[0].at, "circular-reference", "Write the name literally, or remove the reference.", "%s refers to itself.", id)
		return
	}
	t.errorf(path[0].at, "circular-reference", "Break the circle: write one of the names literally, for example with Fn::Sub and a fixed name.",
		"Resources refer to each other in a circle: %s%s.", b.String(), id)
}
