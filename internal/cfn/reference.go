package cfn

import (
	"slices"
	"strings"
)

// pseudo are the pseudo parameters.
func pseudo() []string {
	return []string{"AWS::AccountId", "AWS::NotificationARNs", "AWS::NoValue", "AWS::Partition", "AWS::Region",
		"AWS::StackId", "AWS::StackName", "AWS::URLSuffix"}
}

// ref resolves {"Ref": arg}.
func (t *Template) ref(arg *Node, at Pos) *Node {
	if arg.Kind != String {
		return bad(at) // reported by check
	}
	return t.refName(arg.Text, at)
}

func (t *Template) refName(name string, at Pos) *Node {
	if p := t.findParameter(name); p != nil {
		return t.parameterValue(p, at)
	}
	switch name {
	case "AWS::AccountId":
		return Text(t.bind.AccountID, at)
	case "AWS::Region":
		return Text(t.bind.Region, at)
	case "AWS::Partition":
		return Text(t.bind.Partition, at)
	case "AWS::URLSuffix":
		return Text(t.bind.URLSuffix, at)
	case "AWS::StackName":
		return Text(t.bind.StackName, at)
	case "AWS::StackId":
		return Text(t.bind.StackID, at)
	case "AWS::NoValue":
		return &Node{Kind: None, Pos: at}
	case "AWS::NotificationARNs":
		out := &Node{Kind: List, Pos: at}
		for _, arn := range t.bind.NotificationARNs {
			out.List = append(out.List, Text(arn, at))
		}
		return out
	}
	if r := t.target(name); r != nil {
		return t.attribute(r, "", at)
	}
	if t.byID[name] == nil && t.shadow(name) != nil {
		return Text(name, at) // generated from a resource that is not rewritten
	}
	return bad(at) // reported by check
}

// target finds the resource that a name refers to; nil when it does not exist
// or its condition does not hold (both reported by check).
func (t *Template) target(name string) *Resource {
	if generated, ok := t.referable[name]; ok {
		name = generated
	}
	r := t.byID[name]
	if r == nil || !r.Active {
		return nil
	}
	return r
}

// getAttTarget splits the argument of Fn::GetAtt, "A.B.C" or ["A", "B.C"]. The
// attribute may be an expression, the resource may not. SAM's dotted names
// ("Fn.Alias") count as one.
func (t *Template) getAttTarget(arg *Node) (id string, attr *Node, ok bool) {
	switch {
	case arg.Kind == String:
		id, rest, ok := t.splitDotted(arg.Text)
		return id, Text(rest, arg.Pos), ok
	case arg.Kind == List && len(arg.List) >= 2 && arg.List[0].Kind == String:
		if len(arg.List) == 2 {
			return arg.List[0].Text, arg.List[1], true
		}
		var parts []string
		for _, e := range arg.List[1:] {
			if e.Kind != String {
				return "", nil, false
			}
			parts = append(parts, e.Text)
		}
		return arg.List[0].Text, Text(strings.Join(parts, "."), arg.Pos), true
	}
	return "", nil, false
}

// splitDotted cuts "Id.Attr" after the logical id.
func (t *Template) splitDotted(s string) (id, attr string, ok bool) {
	for name := range t.referable {
		if rest, ok := strings.CutPrefix(s, name+"."); ok {
			return name, rest, true
		}
	}
	id, attr, ok = strings.Cut(s, ".")
	return id, attr, ok && id != "" && attr != ""
}

func (t *Template) getAtt(arg *Node, at Pos) *Node {
	id, attr, ok := t.getAttTarget(arg)
	if !ok {
		return bad(at)
	}
	name := t.Eval(attr)
	r := t.target(id)
	switch {
	case r != nil && name.Scalar():
		return t.attribute(r, name.Text, at)
	case t.byID[id] == nil && t.shadow(id) != nil && name.Scalar():
		return Text(id+"."+name.Text, at)
	}
	return bad(at)
}

// attribute asks the Binding what Ref (attr "") or GetAtt of a resource is.
func (t *Template) attribute(r *Resource, attr string, at Pos) *Node {
	if t.bind.Attributes == nil {
		s := r.ID
		if attr != "" {
			s += "." + attr
		}
		return Text(s, at)
	}
	key := r.ID + "." + attr
	if slices.Contains(t.resolving, key) {
		t.errorf(at, "circular-reference", "Write one of the names literally.", "The value of %s depends on itself.", strings.TrimSuffix(key, "."))
		return bad(at)
	}
	v := t.attributes[key]
	var known []string
	if v == nil {
		t.resolving = append(t.resolving, key)
		v, known = t.bind.Attributes(r, attr, at)
		t.resolving = t.resolving[:len(t.resolving)-1]
		t.attributes[key] = v
	}
	if v == nil {
		t.errorf(at, "unknown-attribute", DidYouMean(attr, known), "%s (%s) has no attribute %s.", r.ID, r.Type, quote(attr))
		return bad(at)
	}
	out := *v
	out.Pos = at
	return &out
}

// dynamic resolves {{resolve:ssm:name}} inside text.
func (t *Template) dynamic(n *Node) *Node {
	const open = "{{resolve:"
	i := strings.Index(n.Text, open)
	if i < 0 {
		return n
	}
	end := strings.Index(n.Text[i:], "}}")
	if end < 0 {
		return n
	}
	ref := n.Text[i+len(open) : i+end]
	service, rest, _ := strings.Cut(ref, ":")
	if service != "ssm" && service != "ssm-secure" {
		t.warnf(n.Pos, "dynamic-reference", "The text stays as written; pass the value as a parameter instead.", "%s is read in your AWS account and not here.", quote(n.Text[i:i+end+2]))
		return n
	}
	name, _, _ := strings.Cut(rest, ":")
	v, ok := t.bind.SSM[name]
	if !ok {
		t.errorf(n.Pos, "ssm-parameter", "Give it: --ssm-parameter "+name+"=VALUE.", "%s is read from Systems Manager, which has no value for it here.", quote(n.Text[i:i+end+2]))
		return bad(n.Pos)
	}
	out := *n
	out.Text = n.Text[:i] + v + n.Text[i+end+2:]
	if strings.Contains(v, open) {
		return &out
	}
	return t.dynamic(&out)
}
