package terraform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/livegate/livegate/internal/cfn"
)

// resource is a resource or data block.
type resource struct {
	mod       *module
	data      bool
	typ, name string
	block     *hclsyntax.Block
	instances []*instance
	many      string // "count", "for_each", or "" for one
	expanded  bool
	ok        bool
}

// instance is one of the resources that a block makes.
type instance struct {
	*resource
	key    string // of for_each or count; "" for the only one
	scope  scope
	id     string // logical id
	values map[string]cty.Value
	busy   map[string]bool
}

func (r *resource) address() string {
	a := r.typ + "." + r.name
	if r.data {
		a = "data." + a
	}
	return a
}

// expand decides how many there are.
func (r *resource) expand() bool {
	if r.expanded {
		return r.ok
	}
	r.expanded, r.ok = true, true
	add := func(key string, s scope) {
		i := &instance{resource: r, key: key, scope: s, values: map[string]cty.Value{}, busy: map[string]bool{}}
		if !r.data {
			i.id = r.mod.logical(r, key)
		}
		r.instances = append(r.instances, i)
	}
	count, each := r.block.Body.Attributes["count"], r.block.Body.Attributes["for_each"]
	switch {
	case count != nil:
		r.many = "count"
		v, ok := r.mod.eval(count.Expr, scope{})
		if r.ok = ok; !ok {
			return false
		}
		n := -1
		if v.Type() == cty.Number && v.IsKnown() && !v.IsNull() {
			if f := v.AsBigFloat(); f.IsInt() {
				i, _ := f.Int64()
				n = int(min(i, maxInstances+1))
			}
		}
		if n < 0 || n > maxInstances {
			r.ok = false
			r.mod.errorAt(count.SrcRange, "", fmt.Sprintf("count must be a whole number up to %d.", maxInstances))
			return false
		}
		for i := range n {
			add(fmt.Sprint(i), scope{}.with("count", cty.ObjectVal(map[string]cty.Value{"index": cty.NumberIntVal(int64(i))})))
		}
	case each != nil:
		r.many = "for_each"
		r.ok = r.forEach(each, add)
	default:
		add("", scope{})
	}
	return r.ok
}

func (r *resource) forEach(each *hclsyntax.Attribute, add func(string, scope)) bool {
	v, ok := r.mod.eval(each.Expr, scope{})
	if !ok {
		return false
	}
	if v.IsNull() || !v.IsKnown() || !v.CanIterateElements() || v.LengthInt() > maxInstances || v.Type().IsListType() || v.Type().IsTupleType() {
		r.mod.errorAt(each.SrcRange, "Write a map, or toset([…]).", fmt.Sprintf("for_each must be a map or a set of up to %d texts.", maxInstances))
		return false
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if v.Type().IsSetType() {
			k = e
		}
		if k.Type() != cty.String || k.IsNull() || !k.IsKnown() || strings.ContainsRune(k.AsString(), open) {
			r.mod.errorAt(each.SrcRange, "Use keys that are written in the configuration.", "The keys of for_each must be texts that are known before apply.")
			return false
		}
		add(k.AsString(), scope{}.with("each", cty.ObjectVal(map[string]cty.Value{"key": k, "value": e})))
	}
	return true
}

// value is what a reference to the block yields: an object with the attributes
// that are asked for ("" asks for all), or a list or map of them.
func (r *resource) value(needs []string) (cty.Value, bool) {
	if !r.expand() {
		return cty.DynamicVal, false
	}
	if slices.Contains(needs, "") {
		needs = r.known()
	}
	var list []cty.Value
	named := map[string]cty.Value{}
	for _, i := range r.instances {
		object := map[string]cty.Value{}
		for _, attr := range needs {
			v, ok := i.attribute(attr)
			if !ok {
				return cty.DynamicVal, false
			}
			object[attr] = v
		}
		o := cty.ObjectVal(object)
		list = append(list, o)
		named[i.key] = o
	}
	switch r.many {
	case "count":
		return cty.TupleVal(list), true
	case "for_each":
		return cty.ObjectVal(named), true
	}
	return list[0], true
}

// known are the attributes of a resource that is referred to as a whole.
func (r *resource) known() []string {
	out := []string{"id", "arn"}
	for name := range r.block.Body.Attributes {
		if !slices.Contains(meta, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	s := kinds()[r.typ]
	for name := range s.refs {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// meta are the arguments that Terraform itself reads.
var meta = []string{"count", "for_each", "depends_on", "provider", "lifecycle", "provisioner", "connection"}

// attribute is one attribute's value: as configured, or a mark for what exists
// only once the resource does.
func (i *instance) attribute(name string) (cty.Value, bool) {
	if v, ok := i.values[name]; ok {
		return v, v != cty.NilVal
	}
	if i.busy[name] {
		i.mod.errorAt(i.block.DefRange(), "Write one of the values literally.", i.address()+"."+name+" depends on itself.")
		return cty.DynamicVal, false
	}
	i.busy[name] = true
	v, ok := i.compute(name)
	delete(i.busy, name)
	if !ok {
		v = cty.NilVal
	}
	i.values[name] = v
	return v, ok
}

func (i *instance) compute(name string) (cty.Value, bool) {
	if i.data {
		return i.dataValue(name)
	}
	if v, ok := i.generated(name); ok {
		return v, true
	}
	if a := i.block.Body.Attributes[name]; a != nil && !slices.Contains(meta, name) {
		v, ok := i.mod.eval(a.Expr, i.scope)
		if ok && !v.IsNull() {
			return v, true
		}
		if !ok {
			return v, false
		}
	}
	if objects := i.blocks(name); len(objects) > 0 {
		return cty.TupleVal(objects), true
	}
	return i.mod.mark(i, name), true
}

// blocks are the nested blocks of a name as objects, for references into them.
func (i *instance) blocks(name string) []cty.Value {
	var out []cty.Value
	for _, b := range i.nested(i.block.Body, name, i.scope) {
		object := map[string]cty.Value{}
		for key, a := range b.body.Attributes {
			if v, ok := i.mod.eval(a.Expr, b.scope); ok {
				object[key] = v
			}
		}
		out = append(out, cty.ObjectVal(object))
	}
	return out
}

// nestedBlock is a block inside a resource with what its expressions see.
type nestedBlock struct {
	body  *hclsyntax.Body
	scope scope
	at    hcl.Range
}

// nested finds the blocks of a type, those that a dynamic block makes included.
func (i *instance) nested(body *hclsyntax.Body, typ string, s scope) []nestedBlock {
	var out []nestedBlock
	for _, b := range body.Blocks {
		switch {
		case b.Type == typ:
			out = append(out, nestedBlock{b.Body, s, b.DefRange()})
		case b.Type == "dynamic" && len(b.Labels) == 1 && b.Labels[0] == typ:
			out = append(out, i.dynamic(b, s)...)
		}
	}
	return out
}

func (i *instance) dynamic(b *hclsyntax.Block, s scope) []nestedBlock {
	each := b.Body.Attributes["for_each"]
	var content *hclsyntax.Block
	for _, c := range b.Body.Blocks {
		if c.Type == "content" {
			content = c
		}
	}
	if each == nil || content == nil {
		i.mod.errorAt(b.DefRange(), "", "A dynamic block needs for_each and content.")
		return nil
	}
	v, ok := i.mod.eval(each.Expr, s)
	if !ok {
		return nil
	}
	if v.IsNull() || !v.IsKnown() || !v.CanIterateElements() || v.LengthInt() > maxInstances {
		i.mod.errorAt(each.SrcRange, "", "for_each of a dynamic block must be a list, a set or a map.")
		return nil
	}
	name := b.Labels[0]
	if it := b.Body.Attributes["iterator"]; it != nil {
		name = hcl.ExprAsKeyword(it.Expr)
	}
	var out []nestedBlock
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		out = append(out, nestedBlock{content.Body, s.with(name, cty.ObjectVal(map[string]cty.Value{"key": k, "value": e})), content.DefRange()})
	}
	return out
}

// get is a configured attribute as a template value; nil when it is absent, null
// or broken (and reported).
func (i *instance) get(name string) *cfn.Node {
	a := i.block.Body.Attributes[name]
	if a == nil {
		return nil
	}
	v, ok := i.attribute(name)
	if !ok {
		return nil
	}
	return i.mod.node(v, i.mod.pos(a.Expr.Range()))
}

// plain is a configured attribute that must be known before apply; "" without.
func (i *instance) plain(name string) string {
	if n := i.get(name); n.Scalar() {
		return n.Text
	}
	return ""
}

// object is a nested block as a map: its attributes by CloudFormation's names.
func (i *instance) object(b nestedBlock) *cfn.Node {
	out := cfn.MapOf(i.mod.pos(b.at))
	for _, a := range ordered(b.body.Attributes) {
		if v, ok := i.mod.eval(a.Expr, b.scope); ok {
			at := i.mod.pos(a.SrcRange)
			if n := i.mod.node(v, i.mod.pos(a.Expr.Range())); n != nil {
				out.Map = append(out.Map, cfn.Entry{Key: pascal(a.Name), Pos: at, Value: n})
			}
		}
	}
	return out
}

// ordered are attributes as they were written.
func ordered(all hclsyntax.Attributes) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range all {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return out
}

// pascal is api_id as ApiId.
func pascal(s string) string {
	var b strings.Builder
	upper := true
	for _, r := range s {
		switch {
		case (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z'):
			upper = true
		case upper:
			b.WriteString(strings.ToUpper(string(r)))
			upper = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// logical makes a logical id: aws_lambda_function.chat becomes
// LambdaFunctionChat.
func (m *module) logical(r *resource, key string) string {
	id := pascal(m.name) + pascal(strings.TrimPrefix(r.typ, "aws_")) + pascal(r.name) + pascal(key)
	for n := 2; m.ids[id]; n++ { // a_b and aB give one
		id = fmt.Sprintf("%s%d", strings.TrimRight(id, "0123456789"), n)
	}
	m.ids[id] = true
	return id
}

// emit adds a module's resources, in the order of the files, to a template.
func (l *loader) emit(m *module, out *cfn.Node) {
	for _, r := range m.order {
		if r.data || !r.expand() {
			continue
		}
		for _, i := range r.instances {
			if n := i.resourceNode(); n != nil {
				out.Map = append(out.Map, cfn.Entry{Key: i.id, Pos: l.pos(r.block.DefRange()), Value: n})
			}
		}
	}
	names := make([]string, 0, len(m.children))
	for name := range m.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l.emit(m.children[name], out)
	}
}

func (m *module) emitOutputs(out *cfn.Node) {
	names := make([]string, 0, len(m.outputs))
	for name := range m.outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b := m.outputs[name]
		a := b.Body.Attributes["value"]
		if a == nil {
			m.errorAt(b.DefRange(), "", "The output "+name+" has no value.")
			continue
		}
		v, ok := m.eval(a.Expr, scope{})
		if !ok {
			continue
		}
		at := m.pos(b.DefRange())
		n := m.node(v, at)
		if n == nil {
			continue
		}
		if _, _, isCall := n.Call(); !n.Scalar() && !isCall {
			n = cfn.Text(n.JSON(), at)
		}
		out.Map = append(out.Map, cfn.Entry{Key: name, Pos: at, Value: cfn.MapOf(at, cfn.Entry{Key: "Value", Pos: at, Value: n})})
	}
}
