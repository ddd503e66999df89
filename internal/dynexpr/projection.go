package dynexpr

import (
	"slices"
	"strconv"

	"github.com/livegate/livegate/internal/attr"
)

// Projection is a parsed projection expression, or the columns of a SELECT.
type Projection struct {
	root    *tree
	columns []Path // of a SELECT; nil otherwise
}

// tree is the projected paths merged: a leaf takes everything below it.
type tree struct {
	leaf    bool
	names   map[string]*tree
	indexes map[int]*tree
}

// Projection parses a ProjectionExpression.
func (s *Scope) Projection(text string) (*Projection, error) {
	p, err := s.parser("ProjectionExpression", text)
	if err != nil {
		return nil, err
	}
	var paths []Path
	for {
		paths = append(paths, p.path())
		if p.err != nil || !p.accept(",") {
			break
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if err := checkPaths("ProjectionExpression", paths); err != nil {
		return nil, err
	}
	return NewProjection(paths...), nil
}

// NewProjection projects paths that are known not to overlap, such as the
// attributes of an index.
func NewProjection(paths ...Path) *Projection {
	root := &tree{}
	for _, path := range paths {
		t := root
		for _, s := range path {
			t = t.child(s)
		}
		t.leaf = true
	}
	return &Projection{root: root}
}

// newColumns projects as SELECT does: what a path leads to stands at the top of
// the result, under the path's last name.
func newColumns(paths []Path) *Projection { return &Projection{columns: paths} }

// columnName is the last name of a path; a list element has none, and gets the
// column's position, as PartiQL has it (PartiQL specification, "SELECT clause").
func columnName(p Path, column int) string {
	if last := p[len(p)-1]; last.Index < 0 {
		return last.Name
	}
	return "_" + strconv.Itoa(column+1)
}

// Attributes projects whole attributes.
func Attributes(names ...string) *Projection {
	paths := make([]Path, len(names))
	for i, name := range names {
		paths[i] = Path{{Name: name, Index: -1}}
	}
	return NewProjection(paths...)
}

func (t *tree) child(s Step) *tree {
	if s.Index >= 0 {
		if t.indexes == nil {
			t.indexes = map[int]*tree{}
		}
		if t.indexes[s.Index] == nil {
			t.indexes[s.Index] = &tree{}
		}
		return t.indexes[s.Index]
	}
	if t.names == nil {
		t.names = map[string]*tree{}
	}
	if t.names[s.Name] == nil {
		t.names[s.Name] = &tree{}
	}
	return t.names[s.Name]
}

// Apply returns what the projection selects, possibly an empty map. Elements
// picked from a list keep their order and close up.
func (p *Projection) Apply(item attr.Map) attr.Map {
	if p.columns == nil {
		return p.root.fromMap(item)
	}
	out := attr.Map{}
	for i, path := range p.columns {
		if v, ok := path.Lookup(item); ok {
			out = out.With(columnName(path, i), v)
		}
	}
	return out
}

// Tops returns the attributes the projection touches.
func (p *Projection) Tops() []string {
	var tops []string
	if p.columns == nil {
		for name := range p.root.names {
			tops = append(tops, name)
		}
	}
	for _, path := range p.columns {
		tops = append(tops, path.Top())
	}
	slices.Sort(tops)
	return slices.Compact(tops)
}

func (t *tree) fromMap(m attr.Map) attr.Map {
	out := make(attr.Map, 0, min(len(m), len(t.names)))
	for i := range m {
		if sub := t.names[m[i].Name]; sub != nil {
			if v, ok := sub.from(m[i].Value); ok {
				out = append(out, attr.Member{Name: m[i].Name, Value: v})
			}
		}
	}
	return out
}

func (t *tree) from(v attr.Value) (attr.Value, bool) {
	switch {
	case t.leaf:
		return v, true
	case v.Kind == attr.M && t.names != nil:
		m := t.fromMap(v.Map)
		return attr.Value{Kind: attr.M, Map: m}, len(m) > 0
	case v.Kind == attr.L && t.indexes != nil:
		list := []attr.Value{}
		for i, e := range v.List {
			if sub := t.indexes[i]; sub != nil {
				if picked, ok := sub.from(e); ok {
					list = append(list, picked)
				}
			}
		}
		return attr.Value{Kind: attr.L, List: list}, len(list) > 0
	}
	return v, false
}
