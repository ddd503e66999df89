package table

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// The parameters that expressions replaced: Expected, AttributeUpdates,
// KeyConditions, QueryFilter, ScanFilter (Developer Guide, "Legacy conditional
// parameters"). Old SDK code and old samples still send them.

// LegacyConditions is a map of conditions; List nil is absent.
type LegacyConditions struct {
	List     []LegacyCondition // by attribute name
	Operator string            // ConditionalOperator: "", AND, OR
}

// LegacyCondition is one attribute's condition.
type LegacyCondition struct {
	Name    string
	Exists  *bool
	Value   *attr.Value
	Op      string       // ComparisonOperator
	Values  []attr.Value // AttributeValueList; nil is absent
	Invalid error
}

// LegacyUpdates is AttributeUpdates; List nil is absent.
type LegacyUpdates struct{ List []LegacyUpdate }

// LegacyUpdate is one attribute's update. Action "" is PUT.
type LegacyUpdate struct {
	Name    string
	Action  string
	Value   *attr.Value
	Invalid error
}

// given names the parameters that are present, for the message about mixing.
func (l *LegacyConditions) given(name string) []string {
	var out []string
	if l.List != nil {
		out = append(out, name)
	}
	if l.Operator != "" {
		out = append(out, "ConditionalOperator")
	}
	return out
}

func (l *LegacyUpdates) given() []string {
	if l.List != nil {
		return []string{"AttributeUpdates"}
	}
	return nil
}

// legacyMatcher is a compiled map of conditions.
type legacyMatcher struct {
	list []LegacyCondition
	or   bool
}

// compile checks the conditions. In Expected (expected true) a bare Value means
// EQ and Exists is allowed.
func (l *LegacyConditions) compile(expected bool) (*legacyMatcher, error) {
	m := &legacyMatcher{or: l.Operator == "OR"}
	for _, c := range l.List {
		if c.Invalid != nil {
			return nil, c.Invalid
		}
		if expected {
			if err := c.normalise(); err != nil {
				return nil, err
			}
		}
		if err := c.check(); err != nil {
			return nil, err
		}
		m.list = append(m.list, c)
	}
	return m, nil
}

// normalise turns Expected's short forms into operators.
func (c *LegacyCondition) normalise() error {
	bad := func(text string) error {
		return invalid("One or more parameter values were invalid: %s for Attribute: %s", text, c.Name)
	}
	switch {
	case c.Op != "" && c.Exists != nil:
		return bad("Exists and ComparisonOperator cannot be used together")
	case c.Op != "" && c.Value != nil && c.Values != nil:
		return bad("Value and AttributeValueList cannot be used together")
	case c.Op != "":
		if c.Value != nil {
			c.Values = []attr.Value{*c.Value}
		}
		if c.Values == nil && c.Op != "NULL" && c.Op != "NOT_NULL" {
			return bad("Value or AttributeValueList must be used with ComparisonOperator: " + c.Op)
		}
		return nil
	case c.Values != nil:
		return bad("AttributeValueList can only be used with a ComparisonOperator")
	case c.Exists != nil && !*c.Exists && c.Value != nil:
		return bad("Value cannot be used when Exists is false")
	case c.Exists != nil && !*c.Exists:
		c.Op = "NULL"
		return nil
	case c.Value == nil && c.Exists == nil:
		return bad("Value must be provided when Exists is null")
	case c.Value == nil:
		return bad("Value must be provided when Exists is true")
	}
	c.Op, c.Values = "EQ", []attr.Value{*c.Value}
	return nil
}

// operands is how many values each operator takes; -1 is one or more.
var operands = map[string]int{
	"EQ": 1, "NE": 1, "LE": 1, "LT": 1, "GE": 1, "GT": 1, "CONTAINS": 1, "NOT_CONTAINS": 1,
	"BEGINS_WITH": 1, "BETWEEN": 2, "IN": -1, "NULL": 0, "NOT_NULL": 0,
}

var operatorNames = []string{"IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS"}

// check checks the operator and its values.
func (c *LegacyCondition) check() error {
	want, known := operands[c.Op]
	if !known {
		var k constraints
		k.enum(c.Op, "comparisonOperator", operatorNames...)
		if c.Op == "" {
			k.present(false, "comparisonOperator")
		}
		return k.err()
	}
	if n := len(c.Values); want >= 0 && n != want || want < 0 && n == 0 {
		return invalid("One or more parameter values were invalid: Invalid number of argument(s) for the %s ComparisonOperator", c.Op)
	}
	for _, v := range c.Values {
		if v.Kind != c.Values[0].Kind {
			return invalid("One or more parameter values were invalid: AttributeValues inside AttributeValueList must be of same type")
		}
		if !allowedOperand(c.Op, v.Kind) {
			return invalid("One or more parameter values were invalid: ComparisonOperator %s is not valid for %s AttributeValue type", c.Op, v.Kind)
		}
	}
	if c.Op == "BETWEEN" {
		if order, _ := attr.Compare(c.Values[0], c.Values[1]); order > 0 {
			return invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	}
	return nil
}

func allowedOperand(op string, k attr.Kind) bool {
	switch op {
	case "LE", "LT", "GE", "GT", "BETWEEN", "IN":
		return k == attr.S || k == attr.N || k == attr.B
	case "BEGINS_WITH":
		return k == attr.S || k == attr.B
	case "CONTAINS", "NOT_CONTAINS":
		return !k.IsSet() && k != attr.M && k != attr.L
	}
	return true
}

// Match implements matcher.
func (m *legacyMatcher) Match(item attr.Map) bool {
	for i := range m.list {
		if m.list[i].holds(item) == m.or {
			return m.or
		}
	}
	return !m.or
}

func (c *LegacyCondition) holds(item attr.Map) bool {
	v, ok := item.Get(c.Name)
	switch c.Op {
	case "NULL":
		return !ok
	case "NOT_NULL":
		return ok
	case "NE":
		return !ok || !attr.Equal(v, c.Values[0])
	}
	if !ok {
		return false
	}
	first := c.Values[0]
	switch c.Op {
	case "EQ":
		return attr.Equal(v, first)
	case "IN":
		return slices.ContainsFunc(c.Values, func(o attr.Value) bool { return attr.Equal(v, o) })
	case "CONTAINS":
		return dynexpr.Contains(v, first)
	case "NOT_CONTAINS":
		return !dynexpr.Contains(v, first)
	case "BEGINS_WITH":
		return v.Kind == first.Kind && strings.HasPrefix(v.Str, first.Str)
	}
	low, comparable := attr.Compare(v, first)
	if !comparable {
		return false
	}
	switch c.Op {
	case "LE":
		return low <= 0
	case "LT":
		return low < 0
	case "GE":
		return low >= 0
	case "GT":
		return low > 0
	}
	high, comparable := attr.Compare(v, c.Values[1]) // BETWEEN
	return comparable && low >= 0 && high <= 0
}

// keyOps are the operators a sort key condition may have, as expressions spell
// them.
var keyOps = map[string]string{"EQ": "=", "LE": "<=", "LT": "<", "GE": ">=", "GT": ">", "BEGINS_WITH": "begins_with", "BETWEEN": "BETWEEN"}

// keyCondition fits KeyConditions to the keys of a table or index.
func (l *LegacyConditions) keyCondition(k keySpec) (*dynexpr.KeyCondition, error) {
	var hash, rng *LegacyCondition
	for i := range l.List {
		switch l.List[i].Name {
		case k.hash:
			hash = &l.List[i]
		case k.rng:
			rng = &l.List[i]
		}
	}
	switch {
	case len(l.List) > 2:
		return nil, invalid("Conditions can be of length 1 or 2 only")
	case hash == nil:
		return nil, invalid("Query condition missed key schema element: %s", k.hash)
	case rng == nil && len(l.List) == 2:
		if k.rng == "" {
			return nil, invalid("Query key condition not supported")
		}
		return nil, invalid("Query condition missed key schema element: %s", k.rng)
	case hash.Op != "EQ":
		return nil, invalid("Query key condition not supported")
	}
	kc := &dynexpr.KeyCondition{Hash: hash.Values[0]}
	if rng != nil {
		op, ok := keyOps[rng.Op]
		if !ok {
			return nil, invalid("Attempted conditional constraint is not an indexable operation")
		}
		kc.Op, kc.Range = op, rng.Values
	}
	return kc, nil
}

// legacyUpdater is compiled AttributeUpdates.
type legacyUpdater struct{ list []LegacyUpdate }

func (l *LegacyUpdates) compile() (*legacyUpdater, error) {
	for i := range l.List {
		u := &l.List[i]
		var c constraints
		c.enum(u.Action, "attributeUpdates."+u.Name+".member.action", "ADD", "PUT", "DELETE")
		if err := c.err(); err != nil {
			return nil, err
		}
		if u.Action == "" {
			u.Action = "PUT"
		}
		switch {
		case u.Invalid != nil:
			return nil, u.Invalid
		case u.Value == nil && u.Action != "DELETE":
			return nil, invalid("One or more parameter values were invalid: Only DELETE action is allowed when no attribute value is specified")
		case u.Value != nil && u.Action == "DELETE" && !u.Value.Kind.IsSet():
			return nil, invalid("One or more parameter values were invalid: DELETE action with value is not supported for the type %s", u.Value.Kind)
		case u.Action == "ADD" && !u.Value.Kind.IsSet() && u.Value.Kind != attr.N && u.Value.Kind != attr.L:
			return nil, invalid("One or more parameter values were invalid: ADD action is not supported for the type %s", u.Value.Kind)
		}
	}
	return &legacyUpdater{l.List}, nil
}

// Paths implements updater.
func (l *legacyUpdater) Paths() []dynexpr.Path {
	paths := make([]dynexpr.Path, len(l.list))
	for i := range l.list {
		paths[i] = dynexpr.Path{{Name: l.list[i].Name, Index: -1}}
	}
	return paths
}

// Apply implements updater.
func (l *legacyUpdater) Apply(item attr.Map) (attr.Map, error) {
	for i := range l.list {
		u := &l.list[i]
		old, ok := item.Get(u.Name)
		if ok && u.Action != "PUT" && u.Value != nil && old.Kind != u.Value.Kind {
			return nil, invalid("Type mismatch for attribute to update")
		}
		var err error
		if item, err = u.apply(item, old, ok); err != nil {
			return nil, err
		}
	}
	return item, nil
}

func (u *LegacyUpdate) apply(item attr.Map, old attr.Value, exists bool) (attr.Map, error) {
	switch {
	case u.Value == nil:
		return item.Without(u.Name), nil
	case u.Action == "DELETE":
		if !exists {
			return item, nil
		}
		if old.Set = dynexpr.Difference(old.Set, u.Value.Set); len(old.Set) == 0 {
			return item.Without(u.Name), nil
		}
		return item.With(u.Name, old), nil
	case u.Action == "PUT" || !exists:
		return item.With(u.Name, *u.Value), nil
	case old.Kind == attr.N:
		sum, err := attr.Add(old, *u.Value, false)
		if err != nil {
			return nil, err
		}
		return item.With(u.Name, sum), nil
	case old.Kind == attr.L:
		old.List = append(slices.Clip(old.List), u.Value.List...)
		return item.With(u.Name, old), nil
	}
	old.Set = dynexpr.Union(old.Set, u.Value.Set)
	return item.With(u.Name, old), nil
}
