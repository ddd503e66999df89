package dynexpr

import (
	"encoding/base64"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// What can be refused without an item: operand types that are known, operands
// that are the same, functions where they do not belong.

// checkComparison checks a comparator, BETWEEN or IN.
func (p *parser) checkComparison(n *node) {
	if !p.checkUse(n.args...) {
		return
	}
	switch n.op {
	case opLt, opLe, opGt, opGe, opBetween:
		for _, a := range n.args {
			if a.op == opValue && !isOrdered(a.value.Kind) {
				p.badOperand(opText[n.op], a.value)
				return
			}
		}
	}
	if n.op == opBetween {
		p.checkBounds(n)
		return
	}
	if n.op == opIn {
		return
	}
	if a, b := n.args[0], n.args[1]; a.op == opPath && b.op == opPath && a.path.String() == b.path.String() {
		_ = p.fail("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", opText[n.op], a.path) // kept in p.flaw
	}
}

func isOrdered(k attr.Kind) bool { return k == attr.S || k == attr.N || k == attr.B }

func (p *parser) badOperand(operator string, v attr.Value) {
	_ = p.fail("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, v.Kind) // kept in p.flaw
}

// checkUse refuses update functions inside conditions.
func (p *parser) checkUse(args ...*node) bool {
	for _, a := range args {
		if a.op == opCall && a.fn != "size" {
			_ = p.fail("The function is not allowed to be used this way in an expression; function: %s", a.fn) // kept in p.flaw
			return false
		}
	}
	return true
}

func (p *parser) checkBounds(n *node) {
	low, high := n.args[1], n.args[2]
	if low.op != opValue || high.op != opValue {
		return
	}
	shown := []any{shownValue(low.value), shownValue(high.value)}
	order, ok := attr.Compare(low.value, high.value)
	switch {
	case !ok:
		_ = p.fail("The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s", shown...) // kept in p.flaw
	case order > 0:
		_ = p.fail("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s", shown...) // kept in p.flaw
	}
}

// shownValue is a value in messages: {S:text}.
func shownValue(v attr.Value) string {
	text := v.Str
	if v.Kind == attr.B {
		text = base64.StdEncoding.EncodeToString([]byte(v.Str))
	}
	return "{" + v.Kind.String() + ":" + text + "}"
}

// checkCall checks a function's operands.
func (p *parser) checkCall(n *node) {
	inUpdate := p.kind == "UpdateExpression"
	updateOnly := n.fn == "if_not_exists" || n.fn == "list_append"
	if inUpdate != updateOnly {
		if inUpdate {
			_ = p.fail("Invalid function name; function: %s", n.fn) // kept in p.flaw
		} else {
			_ = p.fail("The function is not allowed in a condition expression; function: %s", n.fn) // kept in p.flaw
		}
		return
	}
	first := n.args[0]
	switch n.fn {
	case "attribute_exists", "attribute_not_exists", "if_not_exists":
		if first.op != opPath {
			_ = p.fail("Operator or function requires a document path; operator or function: %s", n.fn) // kept in p.flaw
		}
	case "attribute_type":
		p.checkTypeName(n)
	case "begins_with":
		for _, a := range n.args {
			if a.op == opValue && a.value.Kind != attr.S && a.value.Kind != attr.B {
				p.badOperand(n.fn, a.value)
				return
			}
		}
		p.checkDistinct(n)
	case "contains":
		p.checkDistinct(n)
	case "size":
		if k := first.value.Kind; first.op == opValue && (k == attr.N || k == attr.BOOL || k == attr.NULL) {
			p.badOperand(n.fn, first.value)
		}
	case "list_append":
		for _, a := range n.args {
			if a.op == opValue && a.value.Kind != attr.L {
				p.badOperand(n.fn, a.value)
				return
			}
		}
	}
}

func (p *parser) checkDistinct(n *node) {
	if a, b := n.args[0], n.args[1]; a.op == opPath && b.op == opPath && a.path.String() == b.path.String() {
		_ = p.fail("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", n.fn, a.path) // kept in p.flaw
	}
}

func (p *parser) checkTypeName(n *node) {
	name := n.args[1]
	if name.op != opValue {
		return
	}
	if name.value.Kind != attr.S {
		p.badOperand(n.fn, name.value)
		return
	}
	if _, ok := attr.ParseKind(name.value.Str); !ok {
		_ = p.fail("Invalid attribute type name found; type: %s, valid types: {%s}", name.value.Str, strings.Join([]string{"B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M"}, ",")) // kept in p.flaw
	}
}
