package terraform

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/livegate/livegate/internal/cfn"
)

const maxDepth = 200 // of expressions that evaluate others

// scope is what an expression sees beside its module.
type scope struct {
	vars map[string]cty.Value // each, count, a dynamic block's iterator
}

func (s scope) with(name string, v cty.Value) scope {
	vars := maps.Clone(s.vars)
	if vars == nil {
		vars = map[string]cty.Value{}
	}
	vars[name] = v
	return scope{vars}
}

// eval evaluates an expression; false when it could not be, which is reported.
func (m *module) eval(e hcl.Expression, s scope) (cty.Value, bool) {
	if m.loader.depth >= maxDepth {
		m.errorAt(e.Range(), "", "Expressions refer to each other too deeply.")
		return cty.DynamicVal, false
	}
	m.loader.depth++
	defer func() { m.loader.depth-- }()
	vars, ok := m.roots(e, s)
	if !ok {
		return cty.DynamicVal, false
	}
	v, diags := safely(e, &hcl.EvalContext{Variables: vars, Functions: m.functions()})
	if diags.HasErrors() {
		m.diagnostics(diags, e.Range())
		return cty.DynamicVal, false
	}
	v, _ = v.UnmarkDeep()
	return v, true
}

// safely evaluates an expression. The evaluator panics on values that its
// functions were not made for; a configuration must not end the process.
func safely(e hcl.Expression, ctx *hcl.EvalContext) (v cty.Value, diags hcl.Diagnostics) {
	defer func() {
		if p := recover(); p != nil {
			at := e.Range()
			v, diags = cty.DynamicVal, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "The expression cannot be evaluated", Subject: &at}}
		}
	}()
	return e.Value(ctx)
}

// roots builds the variables that an expression refers to, and nothing else: a
// reference to one attribute of a resource must not evaluate the others, which may
// refer back.
func (m *module) roots(e hcl.Expression, s scope) (map[string]cty.Value, bool) {
	vars := maps.Clone(s.vars)
	if vars == nil {
		vars = map[string]cty.Value{}
	}
	objects := map[string]map[string]cty.Value{} // var, local, module, and resource types
	data := map[string]map[string]cty.Value{}
	needs := map[string][]string{} // "type.name", "module.name" → attributes; "" stands for all
	var order []hcl.Traversal
	for _, t := range e.Variables() {
		if _, own := s.vars[t.RootName()]; own {
			continue
		}
		order = append(order, t)
		if key, attr, ok := resourceOf(t); ok {
			needs[key] = append(needs[key], attr)
		} else if name, ok := word(t, 1); ok && t.RootName() == "module" {
			output, _ := word(t, 2)
			needs["module."+name] = append(needs["module."+name], output)
		}
	}
	for _, t := range order {
		root := t.RootName()
		switch root {
		case "path":
			vars[root] = cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(m.dir), "root": cty.StringVal(m.Dir), "cwd": cty.StringVal(m.Dir)})
			continue
		case "terraform":
			vars[root] = cty.ObjectVal(map[string]cty.Value{"workspace": cty.StringVal("default")})
			continue
		}
		if len(t) < 2 {
			m.errorAt(t.SourceRange(), "", quote(root)+" is not a value.")
			return nil, false
		}
		name, _ := t[1].(hcl.TraverseAttr)
		if objects[root] == nil {
			objects[root] = map[string]cty.Value{}
		}
		var v cty.Value
		var ok bool
		switch root {
		case "var":
			v, ok = m.variable(name.Name, t.SourceRange())
		case "local":
			v, ok = m.local(name.Name, t.SourceRange())
		case "module":
			v, ok = m.moduleValue(name.Name, needs["module."+name.Name], t.SourceRange())
		case "data":
			key, _, _ := resourceOf(t)
			r := m.resources[key]
			if r == nil {
				m.errorAt(t.SourceRange(), "", "There is no "+key+".")
				return nil, false
			}
			if data[r.typ] == nil {
				data[r.typ] = map[string]cty.Value{}
			}
			data[r.typ][r.name], ok = r.value(needs[key])
		default:
			key := root + "." + name.Name
			r := m.resources[key]
			if r == nil {
				m.errorAt(t.SourceRange(), cfn.DidYouMean(key, m.addresses()), "There is no resource "+key+".")
				return nil, false
			}
			v, ok = r.value(needs[key])
		}
		if !ok {
			return nil, false
		}
		objects[root][name.Name] = v
	}
	for root, o := range objects {
		vars[root] = cty.ObjectVal(o)
	}
	if len(data) > 0 {
		o := map[string]cty.Value{}
		for typ, names := range data {
			o[typ] = cty.ObjectVal(names)
		}
		vars["data"] = cty.ObjectVal(o)
	}
	return vars, true
}

// resourceOf takes "type.name" (or "data.type.name") and the attribute off a
// traversal; the attribute is "" when the whole resource is meant.
func resourceOf(t hcl.Traversal) (key, attr string, ok bool) {
	words := []string{t.RootName()}
	first := 2
	if words[0] == "data" {
		first = 3
	}
	if slices.Contains([]string{"var", "local", "module", "path", "terraform"}, words[0]) {
		return "", "", false
	}
	rest := t[1:]
	for len(words) < first && len(rest) > 0 {
		a, isAttr := rest[0].(hcl.TraverseAttr)
		if !isAttr {
			return "", "", false
		}
		words, rest = append(words, a.Name), rest[1:]
	}
	if len(words) < first {
		return "", "", false
	}
	for _, step := range rest {
		if a, isAttr := step.(hcl.TraverseAttr); isAttr {
			attr = a.Name
			break
		}
	}
	return strings.Join(words, "."), attr, true
}

func (m *module) addresses() []string { return slices.Collect(maps.Keys(m.resources)) }

// once evaluates a named value the first time it is asked for, and reports a
// circle.
func (m *module) once(key string, at hcl.Range, compute func() (cty.Value, bool)) (cty.Value, bool) {
	if v, ok := m.values[key]; ok {
		return v, v != cty.NilVal
	}
	if m.busy[key] {
		m.errorAt(at, "Write one of the values literally.", key+" depends on itself.")
		return cty.DynamicVal, false
	}
	m.busy[key] = true
	v, ok := compute()
	delete(m.busy, key)
	if !ok {
		m.values[key] = cty.NilVal
		return cty.DynamicVal, false
	}
	m.values[key] = v
	return v, true
}

func (m *module) variable(name string, at hcl.Range) (cty.Value, bool) {
	return m.once("var."+name, at, func() (cty.Value, bool) {
		b := m.variables[name]
		if b == nil {
			m.errorAt(at, cfn.DidYouMean(name, slices.Collect(maps.Keys(m.variables))), "There is no variable "+name+".")
			return cty.DynamicVal, false
		}
		want := cty.DynamicPseudoType
		if t := b.Body.Attributes["type"]; t != nil {
			typ, diags := typeexpr.TypeConstraint(t.Expr)
			m.diagnostics(diags, t.SrcRange)
			if !diags.HasErrors() {
				want = typ.WithoutOptionalAttributesDeep()
			}
		}
		v, ok := m.variableValue(name, b, want)
		if !ok {
			return v, false
		}
		converted, err := convert.Convert(v, want)
		if err != nil {
			m.errorAt(b.DefRange(), "", "The value of the variable "+name+" does not fit its type: "+err.Error()+".")
			return cty.DynamicVal, false
		}
		return converted, true
	})
}

// variableValue is a variable's value before its type is enforced: the caller's,
// then the command line's, then tfvars, then the default.
func (m *module) variableValue(name string, b *hclsyntax.Block, want cty.Type) (cty.Value, bool) {
	if a, ok := m.given[name]; ok {
		return a.in.eval(a.expr, scope{})
	}
	if text, ok := m.Variables[name]; ok && m.parent == nil {
		if want == cty.DynamicPseudoType || want.IsPrimitiveType() {
			return cty.StringVal(text), true
		}
		e, diags := hclsyntax.ParseExpression([]byte(text), name, hcl.InitialPos)
		if !diags.HasErrors() {
			if v, diags := e.Value(nil); !diags.HasErrors() {
				return v, true
			}
		}
		m.errorAt(b.DefRange(), `Write it as in a tfvars file, for example ["a", "b"].`, "The given value of the variable "+name+" cannot be read.")
		return cty.DynamicVal, false
	}
	if v, ok := m.defaults[name]; ok {
		return v, true
	}
	if d := b.Body.Attributes["default"]; d != nil {
		return m.eval(d.Expr, scope{})
	}
	m.problem(cfn.Error, "missing-parameter", m.pos(b.DefRange()), "Give it: --parameter-overrides "+name+"=VALUE, or in terraform.tfvars, or add a default.", "The variable "+name+" has no value and no default.")
	return cty.DynamicVal, false
}

func (m *module) local(name string, at hcl.Range) (cty.Value, bool) {
	return m.once("local."+name, at, func() (cty.Value, bool) {
		a := m.locals[name]
		if a == nil {
			m.errorAt(at, cfn.DidYouMean(name, slices.Collect(maps.Keys(m.locals))), "There is no local value "+name+".")
			return cty.DynamicVal, false
		}
		return m.eval(a.Expr, scope{})
	})
}

// moduleValue holds the outputs of a module that an expression asks for ("" asks
// for all): evaluating others could find a circle that is none.
func (m *module) moduleValue(name string, needs []string, where hcl.Range) (cty.Value, bool) {
	child := m.children[name]
	out := map[string]cty.Value{}
	if child == nil {
		if m.calls[name] == nil {
			m.errorAt(where, cfn.DidYouMean(name, slices.Collect(maps.Keys(m.calls))), "There is no module "+name+".")
			return cty.DynamicVal, false
		}
		for _, n := range needs { // not read, and reported
			out[n] = cty.StringVal("module-" + name + "-" + n)
		}
		return cty.ObjectVal(out), true
	}
	if slices.Contains(needs, "") {
		needs = slices.Sorted(maps.Keys(child.outputs))
	}
	for _, n := range needs {
		b := child.outputs[n]
		if b == nil {
			m.errorAt(where, cfn.DidYouMean(n, slices.Collect(maps.Keys(child.outputs))), "The module "+name+" has no output "+n+".")
			return cty.DynamicVal, false
		}
		v, ok := child.once("output."+n, b.DefRange(), func() (cty.Value, bool) {
			a := b.Body.Attributes["value"]
			if a == nil {
				m.errorAt(b.DefRange(), "", "The output "+n+" has no value.")
				return cty.DynamicVal, false
			}
			return child.eval(a.Expr, scope{})
		})
		if !ok {
			return cty.DynamicVal, false
		}
		out[n] = v
	}
	return cty.ObjectVal(out), true
}

// word is a step of a traversal that is a name.
func word(t hcl.Traversal, i int) (string, bool) {
	if len(t) <= i {
		return "", false
	}
	a, ok := t[i].(hcl.TraverseAttr)
	return a.Name, ok
}

// The marks around the number of a reference in a text: private-use characters,
// which no configuration writes and which encoders leave alone.
const (
	open = '\uE000'
	shut = '\uE001'
)

// mark is an attribute that only stack knows.
type mark struct {
	of   *instance
	attr string
}

func (l *loader) mark(of *instance, attr string) cty.Value {
	l.marks = append(l.marks, mark{of, attr})
	return cty.StringVal(string(open) + strconv.Itoa(len(l.marks)-1) + string(shut))
}

// unmarked shows a text with marks to a person.
func unmarked(s string) string {
	for {
		i := strings.IndexRune(s, open)
		if i < 0 {
			return s
		}
		j := strings.IndexRune(s[i:], shut)
		if j < 0 {
			return s
		}
		s = s[:i] + "(known after apply)" + s[i+j+len(string(shut)):]
	}
}

// node turns a value into a template's; nil for null.
func (m *module) node(v cty.Value, at cfn.Pos) *cfn.Node {
	switch {
	case !v.IsKnown():
		m.problem(cfn.Error, "terraform", at, "", "The value is not known before apply.")
		return nil
	case v.IsNull():
		return nil
	}
	typ := v.Type()
	switch {
	case typ == cty.String:
		return m.text(v.AsString(), at)
	case typ == cty.Number:
		return &cfn.Node{Kind: cfn.Number, Text: v.AsBigFloat().Text('f', -1), Pos: at}
	case typ == cty.Bool:
		return &cfn.Node{Kind: cfn.Bool, Text: strconv.FormatBool(v.True()), Pos: at}
	case typ.IsListType(), typ.IsTupleType(), typ.IsSetType():
		out := cfn.ListOf(at)
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			if n := m.node(e, at); n != nil {
				out.List = append(out.List, n)
			}
		}
		return out
	case typ.IsMapType(), typ.IsObjectType():
		out := cfn.MapOf(at)
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			if strings.ContainsRune(k.AsString(), open) {
				m.problem(cfn.Error, "terraform", at, "Use keys that are written in the configuration.", "A key of this map is known only after apply.")
				continue
			}
			if n := m.node(e, at); n != nil {
				out.Map = append(out.Map, cfn.Entry{Key: k.AsString(), Pos: at, Value: n})
			}
		}
		return out
	}
	m.problem(cfn.Error, "terraform", at, "", "A value of type "+typ.FriendlyName()+" is not understood.")
	return nil
}

// text replaces the marks of a text by what they stand for.
func (m *module) text(s string, at cfn.Pos) *cfn.Node {
	var parts []*cfn.Node
	for rest := s; rest != ""; {
		i := strings.IndexRune(rest, open)
		if i < 0 {
			parts = append(parts, cfn.Text(rest, at))
			break
		}
		if i > 0 {
			parts = append(parts, cfn.Text(rest[:i], at))
		}
		rest = rest[i+len(string(open)):]
		j := strings.IndexRune(rest, shut)
		n, err := -1, error(nil)
		if j >= 0 {
			n, err = strconv.Atoi(rest[:j])
		}
		if j < 0 || err != nil || n < 0 || n >= len(m.marks) {
			m.problem(cfn.Error, "terraform", at, "Use the id or ARN as it is.", "A function took a value apart that is known only after apply.")
			return nil
		}
		rest = rest[j+len(string(shut)):]
		parts = append(parts, m.marks[n].of.reference(m.marks[n].attr, at))
	}
	switch len(parts) {
	case 0:
		return cfn.Text("", at)
	case 1:
		return parts[0]
	}
	return call("Fn::Join", cfn.ListOf(at, cfn.Text("", at), cfn.ListOf(at, parts...)))
}

func call(name string, arg *cfn.Node) *cfn.Node {
	return cfn.MapOf(arg.Pos, cfn.Entry{Key: name, Pos: arg.Pos, Value: arg})
}
