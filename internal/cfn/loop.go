package cfn

import (
	"strconv"
	"strings"
)

const (
	loopPrefix = "Fn::ForEach::"
	maxLoops   = 5000 // passes through all loops of a template together
)

func isLoop(key string) bool { return strings.HasPrefix(key, loopPrefix) }

func itoa(n int) string { return strconv.Itoa(n) }

// loops expands Fn::ForEach in a section, at any depth:
//
//	Fn::ForEach::Name: [Identifier, [values], {"Key${Identifier}": {…}}]
//
// "${Identifier}" in keys and text, and Ref of it, become each value in turn;
// "&{Identifier}" is the value without characters that a logical id may not hold.
func (t *Template) loops(n *Node, depth int) *Node {
	if n == nil || depth > maxDepth {
		return n
	}
	switch n.Kind {
	case List:
		out := *n
		out.List = make([]*Node, len(n.List))
		for i, c := range n.List {
			out.List[i] = t.loops(c, depth+1)
		}
		return &out
	case Map:
		out := *n
		out.Map = make([]Entry, 0, len(n.Map))
		for _, e := range n.Map {
			if !isLoop(e.Key) {
				out.Map = append(out.Map, Entry{e.Key, e.Pos, t.loops(e.Value, depth+1)})
				continue
			}
			for _, made := range t.loop(e, depth) {
				if first := out.Entry(made.Key); first != nil {
					t.errorf(made.Pos, "duplicate-key", "Use ${…} of the loop in the key.", "The loop makes the key %s twice.", quote(made.Key))
					continue
				}
				out.Map = append(out.Map, made)
			}
		}
		return &out
	}
	return n
}

func (t *Template) loop(e Entry, depth int) []Entry {
	if !t.has(TransformLanguage) {
		t.errorf(e.Pos, "missing-transform", "Add `Transform: "+TransformLanguage+"`.", "Fn::ForEach needs the AWS::LanguageExtensions transform.")
		return nil
	}
	args := e.Value.List
	if len(args) != 3 || args[0].Kind != String || args[2].Kind != Map {
		t.errorf(e.Pos, "bad-intrinsic", "", "%s needs [identifier, [values], {key: value}].", e.Key)
		return nil
	}
	values := t.Eval(args[1])
	if values.Kind != List {
		if values.Kind != Bad {
			t.errorf(args[1].Pos, "bad-intrinsic", "Only parameters and mappings can be used here.", "%s needs a list of values, not %s.", e.Key, values.Kind)
		}
		return nil
	}
	var out []Entry
	for _, v := range values.List {
		if t.looped++; t.looped > maxLoops {
			t.errorf(e.Pos, "template-too-large", "", "The loops of this template make more than %d entries.", maxLoops)
			return nil
		}
		body := substitute(args[2], args[0].Text, v.Text)
		out = append(out, t.loops(body, depth+1).Map...)
	}
	return out
}

// substitute replaces a loop identifier in a body.
func substitute(n *Node, name, value string) *Node {
	out := *n
	switch n.Kind {
	case String:
		out.Text = replaceLoop(n.Text, name, value)
	case List:
		out.List = make([]*Node, len(n.List))
		for i, c := range n.List {
			out.List[i] = substitute(c, name, value)
		}
	case Map:
		if fn, arg, ok := n.Call(); ok && fn == "Ref" && arg.Text == name {
			return Text(value, n.Pos)
		}
		out.Map = make([]Entry, len(n.Map))
		for i, e := range n.Map {
			out.Map[i] = Entry{replaceLoop(e.Key, name, value), e.Pos, substitute(e.Value, name, value)}
		}
	}
	return &out
}

func replaceLoop(s, name, value string) string {
	s = strings.ReplaceAll(s, "${"+name+"}", value)
	if strings.Contains(s, "&{"+name+"}") {
		plain := strings.Map(func(r rune) rune {
			if alphanumeric(string(r)) {
				return r
			}
			return -1
		}, value)
		s = strings.ReplaceAll(s, "&{"+name+"}", plain)
	}
	return s
}
