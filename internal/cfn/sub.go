package cfn

import "strings"

// subPart is a piece of an Fn::Sub text: literal text, or a variable.
type subPart struct {
	text     string // as written
	variable bool
	name     string // of the variable
	off      int    // of the variable's "${" in the text
}

// splitSub cuts the text of Fn::Sub. "${!x}" is the literal "${x}"; a "${" that
// is never closed is literal too.
func splitSub(s string) []subPart {
	var parts []subPart
	lit := strings.Builder{}
	for i := 0; i < len(s); {
		end := -1
		if strings.HasPrefix(s[i:], "${") {
			end = strings.IndexByte(s[i:], '}')
		}
		if end < 0 {
			lit.WriteByte(s[i])
			i++
			continue
		}
		inside := s[i+2 : i+end]
		if rest, ok := strings.CutPrefix(inside, "!"); ok {
			lit.WriteString("${" + rest + "}")
			i += end + 1
			continue
		}
		if lit.Len() > 0 {
			parts = append(parts, subPart{text: lit.String()})
			lit.Reset()
		}
		parts = append(parts, subPart{variable: true, name: strings.TrimSpace(inside), text: s[i : i+end+1], off: i})
		i += end + 1
	}
	if lit.Len() > 0 {
		parts = append(parts, subPart{text: lit.String()})
	}
	return parts
}

// subArgs splits the two forms of Fn::Sub: "text" and ["text", {name: value}].
func subArgs(arg *Node) (text, vars *Node, ok bool) {
	switch {
	case arg.Kind == String:
		return arg, nil, true
	case arg.Kind == List && len(arg.List) == 1 && arg.List[0].Kind == String:
		return arg.List[0], nil, true
	case arg.Kind == List && len(arg.List) == 2 && arg.List[0].Kind == String && arg.List[1].Kind == Map:
		return arg.List[0], arg.List[1], true
	}
	return nil, nil, false
}

func (t *Template) sub(arg *Node, at Pos) *Node {
	text, vars, ok := subArgs(arg)
	if !ok {
		return bad(at) // reported by check
	}
	var b strings.Builder
	for _, p := range splitSub(text.Text) {
		if !p.variable {
			b.WriteString(p.text)
			continue
		}
		v := t.subVariable(p.name, vars, at)
		if !v.Scalar() {
			if v.Kind != Bad && v.Kind != None {
				t.errorf(text.linePos(p.off), "bad-intrinsic", "Join the list first: Fn::Join.", "%s in Fn::Sub is %s, not text.", p.text, v.Kind)
			}
			if v.Kind != None {
				return bad(at)
			}
			continue
		}
		b.WriteString(v.Text)
	}
	return t.made(b.String(), at)
}

// made is text put together by a function. Names that hold other names twice
// double with every step, so the length is bounded.
func (t *Template) made(s string, at Pos) *Node {
	if len(s) > maxText {
		t.errorf(at, "template-too-large", "", "The text has %d characters; at most %d are kept.", len(s), maxText)
		return bad(at)
	}
	return t.dynamic(Text(s, at))
}

func (t *Template) subVariable(name string, vars *Node, at Pos) *Node {
	if v := vars.Get(name); v != nil {
		return t.Eval(v)
	}
	if _, ok := t.referable[name]; !ok && !strings.HasPrefix(name, "AWS::") {
		if id, attr, ok := t.splitDotted(name); ok {
			if r := t.target(id); r != nil {
				return t.attribute(r, attr, at)
			}
			return bad(at)
		}
	}
	return t.refName(name, at)
}

// linePos is the position of the byte at off: exact to the line in a literal
// block, else that of the node.
func (n *Node) linePos(off int) Pos {
	if !n.Block {
		return n.Pos
	}
	head := n.Text[:min(off, len(n.Text))]
	return Pos{n.Pos.File, n.Pos.Line + 1 + strings.Count(head, "\n"), 1}
}
