package dynexpr

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/livegate/livegate/internal/attr"
)

// Condition is a parsed condition or filter expression.
type Condition struct{ root *node }

// Condition parses text; kind is the parameter's name, for messages
// ("ConditionExpression", "FilterExpression").
func (s *Scope) Condition(kind, text string) (*Condition, error) {
	p, err := s.parser(kind, text)
	if err != nil {
		return nil, err
	}
	root, err := p.whole()
	if err != nil {
		return nil, err
	}
	return &Condition{root}, nil
}

// whole parses a condition that is the whole expression.
func (p *parser) whole() (*node, error) {
	root := p.condition()
	if p.err == nil && root.isOperand() {
		if root.op == opCall {
			_ = p.fail("The function is not allowed to be used this way in an expression; function: %s", root.fn) // kept in p.flaw
		} else {
			p.syntax()
		}
	}
	return root, p.finish()
}

// Match evaluates the condition on an item; nil stands for an item that does
// not exist.
func (c *Condition) Match(item attr.Map) bool { return c.root.truth(item) }

// Tops returns the attributes the expression names, each once.
func (c *Condition) Tops() []string {
	var tops []string
	c.root.walk(func(n *node) {
		if n.op == opPath && !slices.Contains(tops, n.path.Top()) {
			tops = append(tops, n.path.Top())
		}
	})
	return tops
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, a := range n.args {
		a.walk(visit)
	}
}

func (n *node) truth(item attr.Map) bool {
	switch n.op {
	case opAnd:
		return n.args[0].truth(item) && n.args[1].truth(item)
	case opOr:
		return n.args[0].truth(item) || n.args[1].truth(item)
	case opNot:
		return !n.args[0].truth(item)
	case opCall:
		return n.callTruth(item)
	}
	left, ok := n.args[0].eval(item)
	if !ok {
		// An operand that is missing makes every comparison false but <>.
		_, ok := n.args[1].eval(item)
		return n.op == opNe && ok
	}
	switch n.op {
	case opBetween:
		low, okLow := n.args[1].eval(item)
		high, okHigh := n.args[2].eval(item)
		return okLow && okHigh && ordered(opGe, left, low) && ordered(opLe, left, high)
	case opIn:
		for _, a := range n.args[1:] {
			if v, ok := a.eval(item); ok && attr.Equal(left, v) {
				return true
			}
		}
		return false
	}
	right, ok := n.args[1].eval(item)
	switch {
	case !ok:
		return n.op == opNe
	case n.op == opEq:
		return attr.Equal(left, right)
	case n.op == opNe:
		return !attr.Equal(left, right)
	}
	return ordered(n.op, left, right)
}

func ordered(o op, a, b attr.Value) bool {
	order, ok := attr.Compare(a, b)
	if !ok {
		return false
	}
	switch o {
	case opLt:
		return order < 0
	case opLe:
		return order <= 0
	case opGt:
		return order > 0
	}
	return order >= 0
}

// eval is the operand's value; false when it has none in this item.
func (n *node) eval(item attr.Map) (attr.Value, bool) {
	switch n.op {
	case opPath:
		return n.path.Lookup(item)
	case opValue:
		return n.value, true
	}
	v, ok := n.args[0].eval(item) // size is the only function that yields a value here
	if !ok {
		return v, false
	}
	size, ok := sizeOf(v)
	if !ok {
		return v, false
	}
	return attr.Value{Kind: attr.N, Str: strconv.Itoa(size)}, true
}

// sizeOf is the size function: characters of a string (in UTF-16, as DynamoDB
// counts them), bytes of a binary, elements of the rest.
func sizeOf(v attr.Value) (int, bool) {
	switch v.Kind {
	case attr.S:
		return len(utf16.Encode([]rune(v.Str))), true
	case attr.B:
		return len(v.Str), true
	case attr.SS, attr.NS, attr.BS:
		return len(v.Set), true
	case attr.L:
		return len(v.List), true
	case attr.M:
		return len(v.Map), true
	}
	return 0, false
}

func (n *node) callTruth(item attr.Map) bool {
	v, ok := n.args[0].eval(item)
	switch n.fn {
	case "attribute_exists":
		return ok
	case "attribute_not_exists":
		return !ok
	}
	other, okOther := n.args[1].eval(item)
	if !ok || !okOther {
		return false
	}
	switch n.fn {
	case "attribute_type":
		return other.Kind == attr.S && v.Kind.String() == other.Str
	case "begins_with":
		return v.Kind == other.Kind && (v.Kind == attr.S || v.Kind == attr.B) && strings.HasPrefix(v.Str, other.Str)
	case "contains":
		return Contains(v, other)
	}
	return false
}

// Contains is the contains function: a substring, a member of a set, an element
// of a list.
func Contains(v, part attr.Value) bool {
	switch v.Kind {
	case attr.S, attr.B:
		return v.Kind == part.Kind && strings.Contains(v.Str, part.Str)
	case attr.SS, attr.NS, attr.BS:
		return part.Kind == v.Kind.Element() && slices.Contains(v.Set, part.Str)
	case attr.L:
		return slices.ContainsFunc(v.List, func(e attr.Value) bool { return attr.Equal(e, part) })
	}
	return false
}
