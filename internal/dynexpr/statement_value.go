package dynexpr

import (
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

// value parses a literal or parameter. at is its path within the whole value, as
// messages about numbers give it; depth, how many containers it is in (-1 for an
// item, which does not count as one).
func (p *statementParser) value(at string, depth int) attr.Value {
	if !p.enter() {
		return attr.Value{}
	}
	defer p.leave()
	if depth > attr.MaxDepth {
		p.refuse("Nesting Levels have exceeded supported limits")
		return attr.Value{}
	}
	switch t := p.peek(); {
	case t.kind == sqlString:
		p.pos++
		return attr.String(t.text)
	case t.kind == sqlNumber:
		return p.number("", at)
	case t.kind == sqlParam:
		return p.parameter()
	case p.accept("-"):
		return p.number("-", at)
	case p.accept("+"):
		return p.number("", at)
	case p.acceptWord("TRUE"):
		return attr.Bool(true)
	case p.acceptWord("FALSE"):
		return attr.Bool(false)
	case p.acceptWord("NULL"):
		return attr.Null()
	case p.accept("["):
		return attr.Value{Kind: attr.L, List: p.elements("]", at, depth)}
	case p.accept("{"):
		return attr.Value{Kind: attr.M, Map: p.tuple(at, depth)}
	case p.accept("<<"):
		return p.bag(at, depth)
	}
	p.unexpected()
	return attr.Value{}
}

// unexpected refuses a token where a term should stand.
func (p *statementParser) unexpected() {
	switch {
	case p.isWord("IS", "LIKE", "IN", "BETWEEN", "AND", "OR"):
		p.broken("Unexpected operator")
	case p.isKeyword():
		p.broken("Unexpected keyword")
	default:
		p.broken(noTerm)
	}
}

func (p *statementParser) parameter() attr.Value {
	if p.used >= len(p.params) {
		p.refuse("%s", parameterCount)
		return attr.Value{}
	}
	p.pos++
	p.used++
	return p.params[p.used-1]
}

// maxLiteralExponent bounds what a number literal of PartiQL may say; DynamoDB's
// own bounds are far narrower.
const (
	maxLiteralExponent = 1<<31 - 1
)

func (p *statementParser) number(sign, at string) attr.Value {
	t := p.peek()
	if t.kind != sqlNumber {
		p.unexpected()
		return attr.Value{}
	}
	text := sign + t.text
	if mantissa, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		_, fraction, _ := strings.Cut(mantissa, ".")
		e, err := strconv.ParseInt(exponent, 10, 64)
		if err != nil || e > maxLiteralExponent || int64(len(fraction))-e > maxLiteralExponent {
			p.broken("")
			return attr.Value{}
		}
		text = mantissa + "e" + strconv.FormatInt(max(min(e, 99_999_999), -99_999_999), 10)
	}
	d, err := attr.ParseNumber(text)
	if err != nil {
		p.refuse("%s under %s", fault.Message(err), at)
		return attr.Value{}
	}
	p.pos++
	return attr.Value{Kind: attr.N, Str: d.String()}
}

// elements parses values up to the closing symbol.
func (p *statementParser) elements(end, at string, depth int) []attr.Value {
	list := []attr.Value{}
	if p.accept(end) {
		return list
	}
	for p.err == nil {
		list = append(list, p.value(at+"["+strconv.Itoa(len(list))+"]", depth+1))
		if !p.accept(",") {
			break
		}
	}
	p.expect(end)
	return list
}

// tuple parses the members of a map up to the closing brace.
func (p *statementParser) tuple(at string, depth int) attr.Map {
	m := attr.Map{}
	if p.accept("}") {
		return m
	}
	for p.err == nil {
		name := p.peek()
		if name.kind != sqlString {
			p.broken("Expected a string as the name of a tuple's member")
			return m
		}
		p.pos++
		p.expect(":")
		inner := at
		if depth >= 0 { // paths begin inside an attribute's value
			inner += "." + name.text
		}
		m = m.With(name.text, p.value(inner, depth+1))
		if !p.accept(",") {
			break
		}
	}
	p.expect("}")
	return m
}

// bag parses a set.
func (p *statementParser) bag(at string, depth int) attr.Value {
	from := p.peek().from
	v, err := attr.NewSet(p.elements(">>", at, depth))
	if err != nil {
		p.refuseAt(from, "%s", fault.Message(err))
	}
	return v
}

// path parses a.b[1]."c".
func (p *statementParser) path() Path {
	path := Path{{Name: p.pathName(), Index: -1}}
	for p.err == nil {
		switch {
		case p.accept("."):
			path = append(path, Step{Name: p.pathName(), Index: -1})
		case p.accept("["):
			path = append(path, p.subscript())
			p.expect("]")
		default:
			return path
		}
	}
	return path
}

func (p *statementParser) pathName() string {
	t := p.peek()
	if t.kind != sqlQuoted && (t.kind != sqlWord || p.isKeyword()) {
		p.unexpected()
		return ""
	}
	if t.text == "" {
		p.refuse("Path component cannot be an empty string")
	}
	p.pos++
	return t.text
}

// subscript is a list index, or a name in quotes.
func (p *statementParser) subscript() Step {
	t := p.next()
	if t.kind == sqlString && t.text != "" {
		return Step{Name: t.text, Index: -1}
	}
	i, err := strconv.Atoi(t.text)
	if t.kind != sqlNumber || err != nil || i > 1<<30 {
		p.broken("Expected a list index")
		return Step{}
	}
	return Step{Index: i}
}
