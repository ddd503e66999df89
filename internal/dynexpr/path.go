package dynexpr

import (
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// Step is one element of a document path: a map key, or a list index.
type Step struct {
	Name  string // "" when it is an index
	Index int    // -1 when it is a name
}

// Path is a document path; its first step is the attribute's name.
type Path []Step

// String is the form DynamoDB's messages use: [a, b, [1]].
func (p Path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		if s.Index >= 0 {
			parts[i] = "[" + strconv.Itoa(s.Index) + "]"
		} else {
			parts[i] = s.Name
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Top is the attribute the path begins with.
func (p Path) Top() string { return p[0].Name }

// Lookup returns what the path leads to in an item.
func (p Path) Lookup(item attr.Map) (attr.Value, bool) {
	v, ok := item.Get(p[0].Name)
	for _, s := range p[1:] {
		if !ok {
			return attr.Value{}, false
		}
		v, ok = s.of(v)
	}
	return v, ok
}

func (s Step) of(v attr.Value) (attr.Value, bool) {
	switch {
	case s.Index < 0 && v.Kind == attr.M:
		return v.Map.Get(s.Name)
	case s.Index >= 0 && v.Kind == attr.L && s.Index < len(v.List):
		return v.List[s.Index], true
	}
	return attr.Value{}, false
}

// errPath is what an update says when it cannot walk to the place it names.
var errPath = attr.Invalid("The document path provided in the update expression is invalid for update")

// set returns item with v at the path. Everything but the last step must exist.
func (p Path) set(item attr.Map, v attr.Value) (attr.Map, error) {
	if len(p) == 1 {
		return item.With(p[0].Name, v), nil
	}
	top, ok := item.Get(p[0].Name)
	if !ok {
		return nil, errPath
	}
	changed, err := setIn(top, p[1:], v)
	if err != nil {
		return nil, err
	}
	return item.With(p[0].Name, changed), nil
}

func setIn(in attr.Value, rest Path, v attr.Value) (attr.Value, error) {
	if len(rest) == 0 {
		return v, nil
	}
	s := rest[0]
	child, exists := s.of(in)
	if !exists && len(rest) > 1 || s.Index < 0 && in.Kind != attr.M || s.Index >= 0 && in.Kind != attr.L {
		return in, errPath
	}
	child, err := setIn(child, rest[1:], v)
	if err != nil {
		return in, err
	}
	switch {
	case s.Index < 0:
		in.Map = in.Map.With(s.Name, child)
	case exists:
		in.List = slices.Clone(in.List)
		in.List[s.Index] = child
	default: // beyond the end: DynamoDB appends, whatever the index
		in.List = append(slices.Clip(in.List), child)
	}
	return in, nil
}

// remove returns item without what the path leads to. A missing last step is no
// error; a missing step before it is.
func (p Path) remove(item attr.Map) (attr.Map, error) {
	if len(p) == 1 {
		return item.Without(p[0].Name), nil
	}
	top, ok := item.Get(p[0].Name)
	if !ok {
		return nil, errPath
	}
	changed, err := removeIn(top, p[1:])
	if err != nil {
		return nil, err
	}
	return item.With(p[0].Name, changed), nil
}

func removeIn(in attr.Value, rest Path) (attr.Value, error) {
	s := rest[0]
	if s.Index < 0 && in.Kind != attr.M || s.Index >= 0 && in.Kind != attr.L {
		return in, errPath
	}
	child, exists := s.of(in)
	switch {
	case len(rest) > 1 && !exists:
		return in, errPath
	case len(rest) > 1:
		child, err := removeIn(child, rest[1:])
		if err != nil {
			return in, err
		}
		return setIn(in, rest[:1], child)
	case !exists:
	case s.Index < 0:
		in.Map = in.Map.Without(s.Name)
	default:
		in.List = slices.Delete(slices.Clone(in.List), s.Index, s.Index+1)
	}
	return in, nil
}

// overlap says whether one path is the other or leads through it; conflict,
// whether they part at a step that is a key in one and an index in the other.
func overlap(a, b Path) (overlap, conflict bool) {
	for i := range min(len(a), len(b)) {
		if (a[i].Index < 0) != (b[i].Index < 0) {
			return false, true
		}
		if a[i] != b[i] {
			return false, false
		}
	}
	return true, false
}

// checkPaths refuses paths that overlap or conflict.
func checkPaths(kind string, paths []Path) error {
	for i, p := range paths {
		for _, q := range paths[:i] {
			both, conflict := overlap(q, p)
			switch {
			case both:
				return attr.Invalid("Invalid %s: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", kind, q, p)
			case conflict:
				return attr.Invalid("Invalid %s: Two document paths conflict with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", kind, q, p)
			}
		}
	}
	return nil
}
