package cfn

import (
	"slices"
	"strings"
)

const maxIncludes = 50

// include replaces every AWS::Include of a local file by the file's content:
// {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": file}}}.
// Beside other keys the included map's entries join its neighbours.
func (t *Template) include(n *Node, depth int) *Node {
	if depth > maxDepth {
		return n
	}
	switch n.Kind {
	case List:
		for i, c := range n.List {
			if next := t.include(c, depth+1); next != c {
				n = &Node{Kind: List, Pos: n.Pos, List: slices.Clone(n.List)}
				n.List[i] = next
			}
		}
	case Map:
		return t.includeMap(n, depth)
	}
	return n
}

func (t *Template) includeMap(n *Node, depth int) *Node {
	out := *n
	out.Map = make([]Entry, 0, len(n.Map))
	changed := false
	for _, e := range n.Map {
		location := e.Value.Get("Parameters").Get("Location")
		if e.Key != "Fn::Transform" || e.Value.Get("Name") == nil || e.Value.Get("Name").Text != TransformInclude || location == nil {
			next := t.include(e.Value, depth+1)
			changed = changed || next != e.Value
			out.Map = append(out.Map, Entry{e.Key, e.Pos, next})
			continue
		}
		got := t.readInclude(location, depth)
		if len(n.Map) == 1 {
			return got
		}
		changed = true
		for _, sub := range got.Map {
			if out.Get(sub.Key) == nil && n.Get(sub.Key) == nil {
				out.Map = append(out.Map, sub)
			}
		}
	}
	if !changed {
		return n
	}
	return &out
}

func (t *Template) readInclude(location *Node, depth int) *Node {
	if location.Kind != String || strings.HasPrefix(location.Text, "s3://") || strings.HasPrefix(location.Text, "https://") || t.bind.Read == nil {
		t.warnf(location.Pos, "unsupported-transform", "Name a local file instead.", "AWS::Include reads only local files here; what %s would add is missing.", quote(location.Text))
		return bad(location.Pos)
	}
	if t.included++; t.included > maxIncludes {
		if t.included == maxIncludes+1 {
			t.errorf(location.Pos, "template-too-large", "Does a file include itself?", "More than %d files are included.", maxIncludes)
		}
		return bad(location.Pos)
	}
	name, data, err := t.bind.Read(location.Text)
	if err != nil {
		t.errorf(location.Pos, "missing-file", "Paths are relative to the template.", "AWS::Include cannot read %s.", quote(location.Text))
		return bad(location.Pos)
	}
	got := parse(name, data, &t.report)
	if got == nil {
		return bad(location.Pos)
	}
	return t.include(got, depth+1)
}
