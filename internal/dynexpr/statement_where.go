package dynexpr

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// condition parses OR, the weakest operator.
func (p *statementParser) condition() *node {
	left := p.conjunction()
	for p.acceptWord("OR") {
		left = p.logical(opOr, left, p.conjunction)
	}
	return left
}

func (p *statementParser) conjunction() *node {
	left := p.negation()
	for p.acceptWord("AND") {
		left = p.logical(opAnd, left, p.negation)
	}
	return left
}

func (p *statementParser) logical(o op, left *node, right func() *node) *node {
	p.needRight()
	n := &node{op: o, args: []*node{left, right()}}
	for _, a := range n.args {
		if p.err == nil && a.isOperand() {
			p.broken("Expected condition")
		}
	}
	return n
}

// needRight refuses an infix operator with nothing behind it.
func (p *statementParser) needRight() {
	if p.err == nil && (p.atEnd() || p.isSymbol(";")) {
		p.broken(noRightSide)
	}
}

func (p *statementParser) negation() *node {
	if !p.acceptWord("NOT") {
		return p.predicate()
	}
	if !p.enter() {
		return dummy()
	}
	defer p.leave()
	n := p.negation()
	if p.err == nil && n.isOperand() {
		p.broken("Expected condition")
	}
	return &node{op: opNot, args: []*node{n}}
}

func not(n *node, negated bool) *node {
	if negated {
		return &node{op: opNot, args: []*node{n}}
	}
	return n
}

func (p *statementParser) predicate() *node {
	left := p.operand()
	if p.err != nil {
		return dummy()
	}
	at := p.peek()
	name := at.text
	if name == "!=" {
		name = "<>"
	}
	if o, ok := comparators[name]; ok && at.kind == sqlSymbol {
		p.pos++
		p.needRight()
		return p.compare(o, at.from, left, p.operand())
	}
	if p.acceptWord("IS") {
		return p.is(left)
	}
	negated := p.acceptWord("NOT")
	switch {
	case p.acceptWord("BETWEEN"):
		p.needRight()
		low := p.operand()
		p.keyword("AND")
		return not(p.compare(opBetween, at.from, left, low, p.operand()), negated)
	case p.acceptWord("IN"):
		p.needRight()
		return not(p.membership(left, at.from), negated)
	case negated:
		p.broken(leftover)
	}
	return left
}

// is parses IS [NOT] MISSING and IS [NOT] NULL.
func (p *statementParser) is(left *node) *node {
	negated := p.acceptWord("NOT")
	switch {
	case left.op != opPath:
		p.broken("Expected a path before IS")
	case p.acceptWord("MISSING"):
		return not(&node{op: opCall, fn: "attribute_not_exists", args: []*node{left}}, negated)
	case p.acceptWord("NULL"):
		name := &node{op: opValue, value: attr.String(attr.NULL.String())}
		return not(&node{op: opCall, fn: "attribute_type", args: []*node{left, name}}, negated)
	default:
		p.broken("Expected type name")
	}
	return dummy()
}

// membership parses the list of IN, in brackets or parentheses or as one
// parameter.
func (p *statementParser) membership(left *node, at int) *node {
	args := []*node{left}
	end := ""
	switch {
	case p.accept("("):
		end = ")"
	case p.accept("["):
		end = "]"
	case p.peek().kind != sqlParam:
		p.broken("Expected a list after IN")
		return dummy()
	}
	for p.err == nil {
		args = append(args, p.operand())
		if end == "" || !p.accept(",") {
			break
		}
	}
	if end != "" {
		p.expect(end)
	}
	if len(args) == 2 && args[1].op == opValue && args[1].value.Kind == attr.L && end != "]" {
		list := args[1].value.List
		args = args[:1]
		for _, v := range list {
			args = append(args, &node{op: opValue, value: v})
		}
	}
	return p.compare(opIn, at, args...)
}

// compare builds a comparison and refuses operands that have no order.
func (p *statementParser) compare(o op, at int, args ...*node) *node {
	for _, a := range args {
		if p.err == nil && !a.isOperand() {
			p.broken("Expected a value")
		}
	}
	switch o {
	case opLt, opLe, opGt, opGe, opBetween:
		for _, a := range args {
			if p.err == nil && a.op == opValue && !isOrdered(a.value.Kind) {
				p.badOperand(at, opText[o], a.value.Kind)
			}
		}
	}
	return &node{op: o, args: args}
}

func (p *statementParser) badOperand(at int, operator string, k attr.Kind) {
	p.refuseAt(at, "Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, k)
}

// operand parses a path, a value, a call, or anything in parentheses.
func (p *statementParser) operand() *node {
	if !p.enter() {
		return dummy()
	}
	defer p.leave()
	t := p.peek()
	switch {
	case p.accept("("):
		n := p.condition()
		p.expect(")")
		return n
	case p.isCall() && !p.isKeyword():
		return p.call()
	case t.kind == sqlQuoted, t.kind == sqlWord && !p.isKeyword():
		return &node{op: opPath, path: p.path()}
	case p.isWord("EXISTS"):
		p.refuse("EXISTS() can only be used as a statement of its own, in a transaction")
		return dummy()
	}
	return &node{op: opValue, value: p.value("root", 0)}
}

// call parses a function; its name may be in any case.
func (p *statementParser) call() *node {
	t := p.next()
	p.pos++ // "("
	n := &node{op: opCall, fn: strings.ToLower(t.text)}
	for p.err == nil && !p.isSymbol(")") {
		n.args = append(n.args, p.operand())
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	if p.err != nil {
		return dummy()
	}
	want := map[string]int{"begins_with": 2, "contains": 2, "attribute_type": 2, "size": 1, "list_append": 2}[n.fn]
	switch {
	case want == 0:
		p.refuseAt(t.from, "%sUnsupported function: %s", malformed, t.text)
	case len(n.args) != want:
		p.refuseAt(t.from, "Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", n.fn, len(n.args))
	default:
		p.checkArguments(n, t.from)
	}
	return n
}

func (p *statementParser) checkArguments(n *node, at int) {
	for _, a := range n.args {
		if !a.isOperand() {
			p.refuseAt(at, "%sExpected a value", malformed)
			return
		}
	}
	last := n.args[len(n.args)-1]
	switch n.fn {
	case "begins_with":
		if k := last.value.Kind; last.op == opValue && k != attr.S && k != attr.B {
			p.badOperand(at, n.fn, k)
		}
	case "attribute_type":
		_, known := attr.ParseKind(last.value.Str)
		if last.op != opValue || last.value.Kind != attr.S || !known {
			p.refuseAt(at, "Invalid attribute type name found; type: %s", last.value.Str)
		}
	case "size":
		if k := last.value.Kind; last.op == opValue && (k == attr.N || k == attr.BOOL || k == attr.NULL) {
			p.badOperand(at, n.fn, k)
		}
	case "list_append":
		for _, a := range n.args {
			if a.op == opValue && a.value.Kind != attr.L {
				p.badOperand(at, n.fn, a.value.Kind)
				return
			}
		}
	}
}

// terms are the parts of a conjunction: all of them must hold.
func (n *node) terms() []*node {
	if n.op != opAnd {
		return []*node{n}
	}
	return append(n.args[0].terms(), n.args[1].terms()...)
}

// about turns a term into one on the attribute name: "5 < sk" into "sk > 5". nil
// when it is not about that attribute alone.
func (n *node) about(name string) *node {
	isName := func(a *node) bool { return a.op == opPath && len(a.path) == 1 && a.path.Top() == name }
	if len(n.args) == 0 {
		return nil
	}
	if flipped, ok := map[op]op{opEq: opEq, opLt: opGt, opLe: opGe, opGt: opLt, opGe: opLe}[n.op]; ok && n.args[0].op == opValue && isName(n.args[1]) {
		return &node{op: flipped, args: []*node{n.args[1], n.args[0]}}
	}
	if !isName(n.args[0]) || slices.ContainsFunc(n.args[1:], func(a *node) bool { return a.op != opValue }) {
		return nil
	}
	return n
}

// Equalities are the values that the condition gives to attributes: terms of its
// conjunction of the form name = value. ok is false unless all names have one.
func (c *Condition) Equalities(names []string) (values attr.Map, ok bool) {
	if c == nil {
		return nil, false
	}
	terms := c.root.terms()
	for _, name := range names {
		for _, t := range terms {
			if t = t.about(name); t != nil && t.op == opEq {
				values = values.With(name, t.args[1].value)
				break
			}
		}
	}
	return values, len(values) == len(names)
}

// KeyConditions fits the condition to a key: one key condition for each value
// that it allows the partition key. None means that a scan is needed. exact is
// true when the key conditions say all that the condition says.
func (c *Condition) KeyConditions(key Key) (list []*KeyCondition, exact bool) {
	if c == nil {
		return nil, false
	}
	terms := c.root.terms()
	hash, rng := -1, -1
	var hashTerm, rngTerm *node
	for i, t := range terms {
		if about := t.about(key.Hash); hashTerm == nil && about != nil && (about.op == opEq || about.op == opIn) {
			hash, hashTerm = i, about
			continue
		}
		if key.Range == "" || rngTerm != nil {
			continue
		}
		if about := t.about(key.Range); about != nil && about.fitsRange() {
			rng, rngTerm = i, about
		}
	}
	if hash < 0 {
		return nil, false
	}
	for _, a := range hashTerm.args[1:] {
		if slices.ContainsFunc(list, func(k *KeyCondition) bool { return attr.Equal(k.Hash, a.value) }) {
			continue
		}
		kc := &KeyCondition{Hash: a.value}
		if rngTerm != nil {
			kc.Op = rngTerm.fn
			if rngTerm.op != opCall {
				kc.Op = opText[rngTerm.op]
			}
			for _, v := range rngTerm.args[1:] {
				kc.Range = append(kc.Range, v.value)
			}
		}
		list = append(list, kc)
	}
	used := 1
	if rng >= 0 {
		used = 2
	}
	return list, used == len(terms)
}

// fitsRange reports whether a term can be a key condition on a sort key.
func (n *node) fitsRange() bool {
	switch n.op {
	case opEq, opLt, opLe, opGt, opGe, opBetween:
		return true
	case opCall:
		return n.fn == "begins_with"
	}
	return false
}
