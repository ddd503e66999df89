package dynexpr

import (
	"fmt"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

// MaxStatement is the longest PartiQL statement (API reference,
// ExecuteStatement).
const MaxStatement = 8192

// StatementKind is what a PartiQL statement does.
type StatementKind uint8

const (
	Select StatementKind = iota
	Insert
	Change // UPDATE, also in its FROM-first form
	Remove // DELETE
	Exists // EXISTS(SELECT …): a condition of a transaction
)

// IsRead reports whether the statement changes nothing and answers an item.
func (k StatementKind) IsRead() bool { return k == Select }

// Statement is a parsed PartiQL statement with its parameters filled in.
type Statement struct {
	Kind       StatementKind
	Table      string
	Index      string      // Select, Exists: "" is the table itself
	Projection *Projection // Select: nil is *
	Where      *Condition  // nil: none
	OrderBy    []Ordering  // Select
	Item       attr.Map    // Insert
	Update     *Update     // Change
	Returning  string      // Change, Remove: "" or "ALL OLD", "MODIFIED NEW", …
}

// Ordering is one key of ORDER BY.
type Ordering struct {
	Name       string
	Descending bool
}

// ParseStatement parses one statement of the PartiQL subset that DynamoDB takes
// (Developer Guide, "PartiQL statements"); params stand for its question marks.
// Errors have DynamoDB's texts; where in the statement they are is in the
// error's cause, since AWS does not say.
func ParseStatement(text string, params []attr.Value) (*Statement, error) {
	p := &statementParser{text: text, params: params}
	p.tokens = p.lex()
	s := p.statement()
	if p.err == nil && p.used != len(params) {
		p.refuse("%s", parameterCount)
	}
	if p.err != nil {
		return nil, p.err
	}
	return s, nil
}

const (
	malformed      = "Statement wasn't well formed, can't be processed: "
	leftover       = "Unexpected token after expression"
	noTerm         = "Unexpected term"
	noRightSide    = "Missing right-hand side expression of infix operator"
	noTable        = "Expected identifier for simple path"
	parameterCount = "Number of parameters in request and statement don't match."
)

// statementParser holds one statement. The first error sticks.
type statementParser struct {
	text   string
	tokens []sqlToken
	pos    int
	depth  int
	params []attr.Value
	used   int // parameters so far
	err    error
}

// refuse records an error at the present token.
func (p *statementParser) refuse(format string, args ...any) {
	at := len(p.text)
	if p.pos < len(p.tokens) {
		at = p.tokens[p.pos].from
	}
	p.refuseAt(at, format, args...)
}

func (p *statementParser) refuseAt(at int, format string, args ...any) {
	if p.err != nil {
		return
	}
	line, column := p.position(at)
	p.err = &fault.Error{
		Kind: fault.BadRequest, Type: "ValidationException", Msg: fmt.Sprintf(format, args...),
		Err: fmt.Errorf("line %d, column %d of the statement", line, column),
	}
}

// position turns an offset into a line and a column, both from 1.
func (p *statementParser) position(at int) (line, column int) {
	before := p.text[:at]
	return strings.Count(before, "\n") + 1, at - strings.LastIndexByte(before, '\n')
}

// broken refuses text that is no statement.
func (p *statementParser) broken(detail string) { p.refuse("%s%s", malformed, detail) }

func (p *statementParser) peek() sqlToken { return p.tokens[p.pos] }

func (p *statementParser) atEnd() bool { return p.peek().kind == sqlEnd }

// next consumes a token; the end stays.
func (p *statementParser) next() sqlToken {
	t := p.tokens[p.pos]
	if t.kind != sqlEnd {
		p.pos++
	}
	return t
}

func (p *statementParser) isWord(words ...string) bool {
	t := p.peek()
	for _, w := range words {
		if p.err == nil && t.kind == sqlWord && strings.EqualFold(t.text, w) {
			return true
		}
	}
	return false
}

func (p *statementParser) acceptWord(w string) bool {
	if p.isWord(w) {
		p.pos++
		return true
	}
	return false
}

func (p *statementParser) isSymbol(s string) bool {
	t := p.peek()
	return p.err == nil && t.kind == sqlSymbol && t.text == s
}

func (p *statementParser) accept(s string) bool {
	if p.isSymbol(s) {
		p.pos++
		return true
	}
	return false
}

func (p *statementParser) expect(s string) {
	if !p.accept(s) {
		p.broken("Expected " + s)
	}
}

// enter guards recursion; leave must follow.
func (p *statementParser) enter() bool {
	if p.depth++; p.depth > maxNesting {
		p.refuse("%sThe statement is nested too deeply", malformed)
		return false
	}
	return p.err == nil
}

func (p *statementParser) leave() { p.depth-- }

func (p *statementParser) statement() *Statement {
	s := &Statement{}
	switch {
	case p.err != nil:
	case p.acceptWord("SELECT"):
		p.selection(s)
	case p.acceptWord("INSERT"):
		p.insertion(s)
	case p.acceptWord("UPDATE"):
		s.Kind = Change
		p.source(s, noTable)
		s.Update = p.changes()
		s.Where = p.where()
		p.returning(s)
	case p.acceptWord("DELETE"):
		s.Kind = Remove
		p.keyword("FROM")
		p.source(s, noTable)
		s.Where = p.where()
		p.returning(s)
	case p.acceptWord("FROM"):
		s.Kind = Change
		p.source(s, noTerm)
		s.Where = p.where()
		s.Update = p.changes()
		p.returning(s)
	case p.acceptWord("EXISTS"):
		p.expect("(")
		p.keyword("SELECT")
		p.selection(s)
		p.expect(")")
		s.Kind = Exists
	default:
		p.broken("Expected data manipulation")
	}
	p.accept(";")
	if p.err == nil && !p.atEnd() {
		p.broken(leftover)
	}
	return s
}

func (p *statementParser) keyword(w string) {
	if !p.acceptWord(w) {
		p.broken("Expected " + w)
	}
}

// selection parses what follows SELECT.
func (p *statementParser) selection(s *Statement) {
	if !p.accept("*") {
		var paths []Path
		for p.err == nil {
			if p.atEnd() || p.isKeyword() {
				p.broken(noTerm)
				return
			}
			paths = append(paths, p.path())
			if !p.accept(",") {
				break
			}
		}
		s.Projection = newColumns(paths)
	}
	if !p.acceptWord("FROM") {
		p.broken(leftover)
		return
	}
	p.source(s, noTerm)
	s.Where = p.where()
	if p.err == nil && p.isWord("LIMIT", "OFFSET", "GROUP", "HAVING") {
		t := p.peek()
		line, column := p.position(t.from)
		p.refuse("Unsupported clause: %s at %d:%d:%d", strings.ToUpper(t.text), line, column, len(t.text))
	}
	if p.acceptWord("ORDER") {
		p.keyword("BY")
		p.ordering(s)
	}
}

func (p *statementParser) ordering(s *Statement) {
	for p.err == nil {
		path := p.path()
		if p.err == nil && len(path) > 1 {
			p.refuse("Variable reference %s in ORDER BY clause must be part of the primary key", path.Top())
		}
		o := Ordering{Name: path.Top()}
		if !p.acceptWord("ASC") {
			o.Descending = p.acceptWord("DESC")
		}
		s.OrderBy = append(s.OrderBy, o)
		if !p.accept(",") {
			return
		}
	}
}

// source parses the table, and the index a SELECT reads through. missing is the
// detail of the error when there is none.
func (p *statementParser) source(s *Statement, missing string) {
	var parts []string
	for p.err == nil {
		t := p.peek()
		if t.kind != sqlQuoted && (t.kind != sqlWord || p.isKeyword()) {
			p.broken(missing)
			return
		}
		if t.text == "" {
			p.refuse("Path component cannot be an empty string")
		}
		p.pos++
		parts = append(parts, t.text)
		if !p.accept(".") {
			break
		}
	}
	if p.err != nil {
		return
	}
	s.Table = parts[0]
	if len(parts) > 1 {
		s.Index = parts[1]
	}
	switch t := p.peek(); {
	case len(parts) > 2:
		p.refuse("A path may contain at most 2 components in the FROM clause")
	case len(parts) > 1 && s.Kind != Select:
		p.refuse("%sAn index can only be read: %s names one in a statement that writes", malformed, s.Index)
	case s.Kind == Insert:
	case t.kind == sqlQuoted, t.kind == sqlWord && (!p.isKeyword() || p.isWord("AS")):
		p.refuse("Aliasing is not supported")
	}
}

// where parses an optional WHERE clause.
func (p *statementParser) where() *Condition {
	if !p.acceptWord("WHERE") {
		return nil
	}
	root := p.condition()
	if p.err == nil && root.isOperand() {
		p.broken("Expected condition")
	}
	return &Condition{root}
}

// returning parses an optional RETURNING clause.
func (p *statementParser) returning(s *Statement) {
	at := p.peek().from
	if !p.acceptWord("RETURNING") {
		return
	}
	which, image := strings.ToUpper(p.next().text), strings.ToUpper(p.next().text)
	if p.err == nil && (which != "ALL" && which != "MODIFIED" || image != "OLD" && image != "NEW") {
		p.broken("Expected ALL OLD *, ALL NEW *, MODIFIED OLD * or MODIFIED NEW * after RETURNING")
	}
	p.expect("*")
	s.Returning = which + " " + image
	if s.Kind == Remove && s.Returning != "ALL OLD" {
		p.refuseAt(at, "Invalid returning clause: RETURNING %s *. Only RETURNING ALL OLD * is allowed in DELETE statements.", s.Returning)
	}
}

// insertion parses what follows INSERT.
func (p *statementParser) insertion(s *Statement) {
	s.Kind = Insert
	p.keyword("INTO")
	p.source(s, noTable)
	if p.err == nil && !p.acceptWord("VALUE") {
		p.broken(leftover)
		return
	}
	at := p.peek().from
	if v := p.value("root", -1); p.err == nil && v.Kind != attr.M {
		p.refuseAt(at, "%sExpected a tuple after VALUE", malformed)
	} else {
		s.Item = v.Map
	}
}

// changes parses the SET and REMOVE clauses of an UPDATE.
func (p *statementParser) changes() *Update {
	u := &Update{}
	begun := p.peek().from
	for p.err == nil {
		set := p.isWord("SET")
		if !set && !p.isWord("REMOVE") {
			break
		}
		p.pos++
		for p.err == nil {
			path := p.path()
			if set {
				p.expect("=")
				p.assignment(u, path)
			} else {
				u.removes = append(u.removes, path)
			}
			if !p.accept(",") {
				break
			}
		}
	}
	if p.err != nil {
		return u
	}
	if len(u.Paths()) == 0 {
		p.broken("Expected SET or REMOVE")
		return u
	}
	if err := checkPaths("UpdateExpression", u.Paths()); err != nil {
		p.refuseAt(begun, "%s", fault.Message(err))
	}
	return u
}

// assignment parses the right side of SET. set_add and set_delete on the
// attribute itself are what ADD and DELETE are in an update expression.
func (p *statementParser) assignment(u *Update, path Path) {
	at := p.peek().from
	if p.isCall() && p.isWord("set_add", "set_delete") {
		name := strings.ToLower(p.next().text)
		p.pos++ // "("
		target := p.path()
		p.expect(",")
		n := p.operand()
		p.expect(")")
		switch {
		case p.err != nil:
			return
		case target.String() != path.String():
			p.refuseAt(at, "%s%s must name the attribute that it is assigned to", malformed, name)
		case n.op != opValue || !n.value.Kind.IsSet():
			p.refuseAt(at, "Incorrect operand type for operator or function; operator or function: %s, operand type: %s", name, n.value.Kind)
		case name == "set_add":
			u.adds = append(u.adds, change{path, n.value})
		default:
			u.deletes = append(u.deletes, change{path, n.value})
		}
		return
	}
	left := p.operand()
	o := opPlus
	switch {
	case p.accept("+"):
	case p.accept("-"):
		o = opMinus
	default:
		p.mustYield(left, at)
		u.sets = append(u.sets, assignment{path, left})
		return
	}
	n := &node{op: o, args: []*node{left, p.operand()}}
	for _, a := range n.args {
		if p.err == nil && a.op == opValue && a.value.Kind != attr.N {
			p.refuseAt(at, "Incorrect operand type for operator or function; operator or function: %s, operand type: %s", opText[o], a.value.Kind)
		}
		p.mustYield(a, at)
	}
	u.sets = append(u.sets, assignment{path, n})
}

// mustYield refuses what an UPDATE cannot compute: conditions, and size.
func (p *statementParser) mustYield(n *node, at int) {
	if p.err == nil && (!n.isOperand() || n.op == opCall && n.fn == "size") {
		p.refuseAt(at, "%sExpected a value", malformed)
	}
}
