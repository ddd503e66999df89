package dynexpr

import (
	"fmt"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// op is what a node does.
type op uint8

const (
	opPath  op = iota // a document path
	opValue           // a :value
	opCall            // a function
	opPlus            // update arithmetic
	opMinus
	opEq // comparators
	opNe
	opLt
	opLe
	opGt
	opGe
	opBetween
	opIn
	opAnd
	opOr
	opNot
)

var opText = [...]string{opEq: "=", opNe: "<>", opLt: "<", opLe: "<=", opGt: ">", opGe: ">=", opBetween: "BETWEEN", opIn: "IN", opAnd: "AND", opOr: "OR", opNot: "NOT", opPlus: "+", opMinus: "-"}

// node is one node of a syntax tree.
type node struct {
	op    op
	path  Path
	value attr.Value
	fn    string // opCall
	args  []*node
	paren bool // stood in parentheses
}

// isOperand says whether the node yields a value; otherwise it yields a truth.
func (n *node) isOperand() bool {
	switch n.op {
	case opPath, opValue, opPlus, opMinus:
		return true
	case opCall:
		return n.fn == "size" || n.fn == "if_not_exists" || n.fn == "list_append"
	}
	return false
}

// maxNesting bounds the parser's recursion: 4 KB of "(" must not exhaust the stack.
const maxNesting = 256

// parser holds one expression. The first error sticks.
type parser struct {
	scope   *Scope
	kind    string // "ConditionExpression", … for messages
	text    string
	tokens  []token
	pos     int
	depth   int
	ops     int
	pending *node // parsed already, the next primary

	err  error // of the syntax: parsing has stopped
	flaw error // the first error of meaning: a syntax error further on comes before it
}

func (s *Scope) parser(kind, text string) (*parser, error) {
	p := &parser{scope: s, kind: kind, text: text}
	if strings.TrimSpace(text) == "" {
		return nil, p.fail("The expression can not be empty;")
	}
	if len(text) > MaxLength {
		return nil, p.fail("Expression size has exceeded the maximum allowed size; expression size: %d", len(text))
	}
	p.tokens = lex(text)
	return p, nil
}

func (p *parser) invalid(format string, args ...any) error {
	e := attr.Invalid(format, args...)
	e.Msg = "Invalid " + p.kind + ": " + e.Msg
	return e
}

// fail records an error of meaning, "Invalid <kind>: …"; parsing goes on.
func (p *parser) fail(format string, args ...any) error {
	if p.flaw == nil {
		p.flaw = p.invalid(format, args...)
	}
	return p.flaw
}

// stop records an error that parsing cannot go on after.
func (p *parser) stop(format string, args ...any) {
	if p.err == nil {
		p.err = p.invalid(format, args...)
	}
}

// finish checks that the expression ends here and returns what was wrong with it.
func (p *parser) finish() error {
	if p.err == nil && p.peek().kind != tokenEnd {
		p.syntax()
	}
	if p.err != nil {
		return p.err
	}
	return p.flaw
}

func (p *parser) syntax() {
	t := p.tokens[p.pos]
	from, to := t.from, t.to
	if p.pos > 0 {
		from = p.tokens[p.pos-1].from
	}
	if p.pos+1 < len(p.tokens) {
		to = p.tokens[p.pos+1].to
	}
	p.stop("Syntax error; token: %q, near: %q", noQuote(t.text), noQuote(p.text[from:to]))
}

// noQuote lets %q put plain quotes around text: DynamoDB does not escape.
type noQuote string

func (s noQuote) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(`"` + string(s) + `"`)) // a strings.Builder inside fmt never fails
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) isSymbol(s string) bool {
	t := p.peek()
	return p.err == nil && t.kind == tokenSymbol && t.text == s
}

func (p *parser) isWord(w string) bool {
	t := p.peek()
	return p.err == nil && t.kind == tokenWord && strings.EqualFold(t.text, w)
}

// accept consumes a symbol if it comes next.
func (p *parser) accept(s string) bool {
	if p.isSymbol(s) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) acceptWord(w string) bool {
	if p.isWord(w) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.syntax()
	}
}

// dummy stands for a node after an error, so that callers need not check.
func dummy() *node { return &node{op: opValue} }

// condition parses OR, the weakest operator.
func (p *parser) condition() *node {
	left := p.conjunction()
	for p.acceptWord("OR") {
		p.operator()
		left = p.logical(opOr, left, p.conjunction())
	}
	return left
}

func (p *parser) conjunction() *node {
	left := p.negation()
	for p.acceptWord("AND") {
		p.operator()
		left = p.logical(opAnd, left, p.negation())
	}
	return left
}

func (p *parser) logical(o op, args ...*node) *node {
	for _, a := range args {
		if p.err == nil && a.isOperand() {
			p.syntax()
		}
	}
	return &node{op: o, args: args}
}

func (p *parser) operator() {
	if p.ops++; p.ops > MaxOperators {
		p.stop("The expression contains too many operators; operator count: %d", p.ops)
	}
}

// enter guards recursion; leave must follow.
func (p *parser) enter() {
	if p.depth++; p.depth > maxNesting {
		p.stop("The expression is nested too deeply; depth: %d", p.depth)
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) negation() *node {
	if p.pending == nil && p.acceptWord("NOT") {
		p.enter()
		defer p.leave()
		if p.err != nil {
			return dummy()
		}
		p.operator()
		return p.logical(opNot, p.negation())
	}
	return p.comparison()
}

var comparators = map[string]op{"=": opEq, "<>": opNe, "<": opLt, "<=": opLe, ">": opGt, ">=": opGe}

func (p *parser) comparison() *node {
	left := p.primary()
	if p.err != nil {
		return dummy()
	}
	t := p.peek()
	if o, ok := comparators[t.text]; ok && t.kind == tokenSymbol {
		p.pos++
		return p.compare(o, left, p.operand())
	}
	switch {
	case p.acceptWord("BETWEEN"):
		low := p.operand()
		if !p.acceptWord("AND") {
			p.syntax()
		}
		return p.compare(opBetween, left, low, p.operand())
	case p.acceptWord("IN"):
		args := []*node{left}
		p.expect("(")
		for p.err == nil {
			args = append(args, p.operand())
			if !p.accept(",") {
				break
			}
		}
		p.expect(")")
		return p.compare(opIn, args...)
	}
	if left.isOperand() && !left.paren && left.op != opCall {
		p.syntax() // a bare path or value is no condition
	}
	return left
}

func (p *parser) compare(o op, args ...*node) *node {
	p.operator()
	for _, a := range args {
		if p.err == nil && !a.isOperand() {
			if a.op == opCall {
				_ = p.fail("The function is not allowed to be used this way in an expression; function: %s", a.fn) // kept in p.flaw
			} else {
				p.syntax()
			}
		}
	}
	n := &node{op: o, args: args}
	if p.err == nil {
		p.checkComparison(n)
	}
	return n
}

// operand parses what must be a value.
func (p *parser) operand() *node {
	n := p.primary()
	if p.err == nil && !n.isOperand() && n.op != opCall {
		p.syntax()
	}
	return n
}

// primary parses a path, a value, a call, or anything in parentheses.
func (p *parser) primary() *node {
	if n := p.pending; n != nil {
		p.pending = nil
		return n
	}
	if p.err != nil {
		return dummy()
	}
	p.enter()
	defer p.leave()
	if p.err != nil {
		return dummy()
	}
	t := p.peek()
	switch {
	case p.accept("("):
		return p.parenthesised()
	case t.kind == tokenValue:
		return p.valueRef()
	case t.kind == tokenWord && p.tokens[p.pos+1].text == "(" && p.tokens[p.pos+1].kind == tokenSymbol && !isReservedOperator(t.text):
		return p.call()
	}
	return p.pathRef()
}

func isReservedOperator(word string) bool {
	switch strings.ToUpper(word) {
	case "AND", "OR", "NOT", "IN", "BETWEEN":
		return true
	}
	return false
}

func (p *parser) parenthesised() *node {
	n := p.parenContent()
	p.expect(")")
	if p.err == nil && n.paren {
		_ = p.fail("The expression has redundant parentheses;") // kept in p.flaw
	}
	n.paren = true
	return n
}

// parenContent parses a condition or an operand: which one is known at the end.
// An operand that turns out to begin a condition is handed on, not parsed again:
// going back would take time exponential in the depth of parentheses.
func (p *parser) parenContent() *node {
	t := p.peek()
	if (t.kind == tokenValue || t.kind == tokenName || t.kind == tokenWord) && !p.isWord("NOT") {
		n := p.primary()
		if p.isSymbol(")") {
			return n
		}
		p.pending = n
	}
	return p.condition()
}

func (p *parser) valueRef() *node {
	t := p.peek()
	p.pos++
	v, ok := p.scope.value(t.text)
	if !ok {
		_ = p.fail("An expression attribute value used in expression is not defined; attribute value: %s", t.text) // kept in p.flaw
	}
	return &node{op: opValue, value: v}
}

func (p *parser) pathRef() *node { return &node{op: opPath, path: p.path()} }

// path parses a.b[1].#c.
func (p *parser) path() Path {
	path := Path{{Name: p.pathName(), Index: -1}}
	for p.err == nil {
		switch {
		case p.accept("."):
			path = append(path, Step{Name: p.pathName(), Index: -1})
		case p.accept("["):
			path = append(path, Step{Index: p.index()})
			p.expect("]")
		default:
			return path
		}
	}
	return path
}

func (p *parser) index() int {
	t := p.peek()
	if t.kind != tokenNumber {
		p.syntax()
		return 0
	}
	p.pos++
	n := 0
	for i := range len(t.text) {
		if n = n*10 + int(t.text[i]-'0'); n > 1<<30 {
			_ = p.fail("List index is not within the allowable range; index: [%s]", t.text) // kept in p.flaw
			return 0
		}
	}
	return n
}

func (p *parser) pathName() string {
	if p.err != nil {
		return ""
	}
	t := p.peek()
	switch t.kind {
	case tokenName:
		p.pos++
		name, ok := p.scope.name(t.text)
		if !ok {
			_ = p.fail("An expression attribute name used in the document path is not defined; attribute name: %s", t.text) // kept in p.flaw
		}
		return name
	case tokenWord:
		if isReservedOperator(t.text) {
			break
		}
		p.pos++
		if isReserved(t.text) {
			_ = p.fail("Attribute name is a reserved keyword; reserved keyword: %s", t.text) // kept in p.flaw
		}
		return t.text
	}
	p.syntax()
	return ""
}

// functions and their numbers of operands.
var functions = map[string]int{
	"attribute_exists":     1,
	"attribute_not_exists": 1,
	"attribute_type":       2,
	"begins_with":          2,
	"contains":             2,
	"size":                 1,
	"if_not_exists":        2,
	"list_append":          2,
}

func (p *parser) call() *node {
	name := p.peek().text
	p.pos += 2 // name and "("
	n := &node{op: opCall, fn: name}
	if !p.isSymbol(")") {
		for p.err == nil {
			n.args = append(n.args, p.functionArgument())
			if !p.accept(",") {
				break
			}
		}
	}
	p.expect(")")
	if p.err != nil {
		return dummy()
	}
	want, ok := functions[name]
	switch {
	case !ok:
		_ = p.fail("Invalid function name; function: %s", name) // kept in p.flaw
	case len(n.args) != want:
		_ = p.fail("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(n.args)) // kept in p.flaw
	default:
		p.checkCall(n)
	}
	return n
}

func (p *parser) functionArgument() *node {
	n := p.operand()
	if p.err == nil && n.op == opCall && !n.isOperand() {
		_ = p.fail("The function is not allowed to be used this way in an expression; function: %s", n.fn) // kept in p.flaw
	}
	return n
}
