// Package attr is the values DynamoDB stores: their ten types, the JSON they
// travel in, exact decimal numbers, sizes as DynamoDB counts them, and a key
// encoding whose byte order is the order of the values.
//
// A [Value] is immutable by convention: functions that change one return a copy
// that shares what did not change, so an old image stays valid beside the new.
// Maps are sorted by name, numbers are in canonical text; equal values therefore
// have equal encodings (sets aside, whose order is the client's).
//
// Errors are DynamoDB's: ValidationException with its texts, or
// SerializationException when the JSON itself is of the wrong form. The package
// knows no tables and does no I/O.
package attr

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Kind is a value's type.
type Kind uint8

const (
	None Kind = iota
	S         // string
	N         // number
	B         // binary
	BOOL
	NULL
	M  // map
	L  // list
	SS // string set
	NS // number set
	BS // binary set
)

var kindNames = [...]string{"", "S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"}

func (k Kind) String() string { return kindNames[k] }

// ParseKind reads a type name as attribute_type and AttributeDefinitions spell it.
func ParseKind(s string) (Kind, bool) {
	i := slices.Index(kindNames[1:], s)
	return Kind(i + 1), i >= 0
}

// IsSet reports whether k is one of the three set types.
func (k Kind) IsSet() bool { return k >= SS }

// Element is the type of a set's members.
func (k Kind) Element() Kind {
	switch k {
	case SS:
		return S
	case NS:
		return N
	case BS:
		return B
	}
	return None
}

// MaxDepth is how deep lists and maps may nest. Documents from outside are
// checked as they are read; whoever builds new ones asks [Map.Depth].
const MaxDepth = 32

// Value is one attribute value. Which field holds it depends on Kind.
type Value struct {
	Kind Kind
	Bool bool
	Str  string   // S: text; N: canonical decimal; B: the bytes
	Set  []string // SS, NS, BS: members in the form of Str, in the client's order
	List []Value  // L
	Map  Map      // M
}

// Member is one named value of a map or item.
type Member struct {
	Name  string
	Value Value
}

// Map is a map value or an item: members sorted by name, names unique.
type Map []Member

func (m Map) search(name string) (int, bool) {
	return slices.BinarySearchFunc(m, name, func(e Member, name string) int { return strings.Compare(e.Name, name) })
}

// Get returns the named value and whether it is there.
func (m Map) Get(name string) (Value, bool) {
	if i, ok := m.search(name); ok {
		return m[i].Value, true
	}
	return Value{}, false
}

// With returns a copy of m in which name is v.
func (m Map) With(name string, v Value) Map {
	i, ok := m.search(name)
	if ok {
		out := slices.Clone(m)
		out[i].Value = v
		return out
	}
	out := make(Map, 0, len(m)+1)
	out = append(out, m[:i]...)
	out = append(out, Member{name, v})
	return append(out, m[i:]...)
}

// Without returns a copy of m that lacks name; m itself if it never had it.
func (m Map) Without(name string) Map {
	i, ok := m.search(name)
	if !ok {
		return m
	}
	out := make(Map, 0, len(m)-1)
	out = append(out, m[:i]...)
	return append(out, m[i+1:]...)
}

// Depth is how many lists and maps of m stand inside each other: 0 when all its
// values are scalars or sets.
func (m Map) Depth() int {
	n := 0
	for i := range m {
		n = max(n, m[i].Value.depth())
	}
	return n
}

func (v Value) depth() int {
	switch v.Kind {
	case M:
		return 1 + v.Map.Depth()
	case L:
		n := 0
		for i := range v.List {
			n = max(n, v.List[i].depth())
		}
		return 1 + n
	}
	return 0
}

// Document is a map of values as a request gave it. A value that breaks
// DynamoDB's rules is not an error of the JSON: a request has other checks that
// come first, so the finding is kept until its turn.
type Document struct {
	Map     Map    // nil: the request has no such member
	Invalid error  // the first value that breaks a rule, nil if none does
	At      string // the member it is in
}

// Item builds a map from pairs, for code and tests that have values at hand.
func Item(members ...Member) Map {
	m := Map(members)
	slices.SortFunc(m, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return m
}

// String, Binary and Bool are values of those types; Number panics unless s is a
// number, so it is for constants.
func String(s string) Value { return Value{Kind: S, Str: s} }
func Binary(s string) Value { return Value{Kind: B, Str: s} }
func Bool(b bool) Value     { return Value{Kind: BOOL, Bool: b} }
func Null() Value           { return Value{Kind: NULL, Bool: true} }
func Number(s string) Value {
	n, err := ParseNumber(s)
	if err != nil {
		panic(err)
	}
	return Value{Kind: N, Str: n.String()}
}

// NewSet makes a set of values of one type, which must be S, N or B. It fails, as
// a request would, on an empty or mixed list and on duplicates.
func NewSet(values []Value) (Value, error) {
	if len(values) == 0 {
		return Value{}, Invalid("One or more parameter values were invalid: An string set  may not be empty")
	}
	set := Value{Set: make([]string, len(values))}
	for i, v := range values {
		switch {
		case v.Kind != S && v.Kind != N && v.Kind != B:
			return set, Invalid("One or more parameter values were invalid: A set holds strings, numbers or binaries, not %s", v.Kind)
		case v.Kind != values[0].Kind:
			return set, Invalid("One or more parameter values were invalid: A set holds values of one type, not %s and %s", values[0].Kind, v.Kind)
		}
		set.Set[i] = v.Str
	}
	set.Kind = values[0].Kind + SS - S
	return set, checkSet(set)
}

// Equal compares as DynamoDB's "=" does: same type and same content; sets
// without regard to order.
func Equal(a, b Value) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case BOOL:
		return a.Bool == b.Bool
	case NULL:
		return true
	case L:
		return slices.EqualFunc(a.List, b.List, Equal)
	case M:
		return slices.EqualFunc(a.Map, b.Map, func(x, y Member) bool { return x.Name == y.Name && Equal(x.Value, y.Value) })
	case SS, NS, BS:
		if len(a.Set) != len(b.Set) {
			return false
		}
		x, y := slices.Clone(a.Set), slices.Clone(b.Set)
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	}
	return a.Str == b.Str // S, B, and N in canonical form
}

// Compare orders two values of the same scalar type: strings and binaries
// bytewise, numbers by value. ok is false when they have no order.
func Compare(a, b Value) (order int, ok bool) {
	if a.Kind != b.Kind {
		return 0, false
	}
	switch a.Kind {
	case S, B:
		return strings.Compare(a.Str, b.Str), true
	case N:
		return compareText(a.Str, b.Str), true
	}
	return 0, false
}

// Invalid is a ValidationException.
func Invalid(format string, args ...any) *fault.Error {
	return fault.Typed(fault.BadRequest, "ValidationException", format, args...)
}

// unserializable is a SerializationException: the request's JSON does not have
// the form of the request.
func unserializable(format string, args ...any) *fault.Error {
	return fault.Typed(fault.BadRequest, "SerializationException", format, args...)
}
