package vtl

// reference reads $a, $!a, ${a}, $!{a} with properties, indexes and calls. It
// returns nil, with the cursor unmoved, if no reference stands there.
func (p *parser) reference() (*ref, error) {
	start := p.pos
	if p.peek(0) != '$' {
		return nil, nil
	}
	if err := p.nest(start); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.pos++
	r := &ref{at: pos{p.src, start}, quiet: p.accept("!")}
	r.formal = p.accept("{")
	if r.root = p.identifier(); r.root == "" {
		p.pos = start
		return nil, nil
	}
	for more := true; more; {
		var err error
		if more, err = p.part(r); err != nil {
			return nil, err
		}
	}
	if r.formal && !p.accept("}") {
		return nil, p.unexpected(`"}" of ` + p.src.text[start:p.pos])
	}
	r.text = p.src.text[start:p.pos]
	return r, nil
}

// part reads one .property, .method(...) or [index]; false if none follows.
func (p *parser) part(r *ref) (bool, error) {
	off := p.pos
	switch {
	case p.peek(0) == '[':
		p.pos++
		p.spaces()
		outer := p.inCall
		p.inCall = false
		index, err := p.index()
		p.inCall = outer
		if err != nil {
			return false, err
		}
		p.spaces()
		if err := p.expect("]"); err != nil {
			return false, err
		}
		r.parts = append(r.parts, part{kind: indexPart, at: off, args: []expr{index}})
		return true, nil
	case p.peek(0) == '.' && isLetter(p.peek(1)):
		p.pos++
		name := p.identifier()
		if p.peek(0) != '(' || p.pos+1 == len(p.src.text) {
			r.parts = append(r.parts, part{kind: propertyPart, at: off, name: name})
			return true, nil
		}
		p.pos++
		args, err := p.arguments()
		if err != nil {
			return false, err
		}
		r.parts = append(r.parts, part{kind: methodPart, at: off, name: name, args: args})
		return true, nil
	}
	return false, nil
}

// index reads what may stand in brackets: text, an integer, true, false or a
// reference.
func (p *parser) index() (expr, error) {
	const want = "an index: a number, a text or a reference"
	switch c := p.peek(0); {
	case c == '[' || c == '{' || c == '.':
		return nil, p.unexpected(want)
	default:
		off := p.pos
		e, err := p.operand(want)
		if err != nil {
			return nil, err
		}
		if k, ok := e.(*constant); ok {
			if _, float := k.value.(float64); float {
				return nil, p.errorAt(off, "%s is no index: use a whole number, a text or a reference", k.text)
			}
		}
		return e, nil
	}
}

// arguments reads a method's arguments and the closing parenthesis.
func (p *parser) arguments() ([]expr, error) {
	outer := p.inCall
	p.inCall = true
	defer func() { p.inCall = outer }()
	p.spaces()
	if p.accept(")") {
		return nil, nil
	}
	first, err := p.operand(`an argument or ")"`)
	if err != nil {
		return nil, err
	}
	return p.more([]expr{first}, ")")
}

// more reads the operands that follow the first, and the closing text.
func (p *parser) more(out []expr, closing string) ([]expr, error) {
	for {
		p.spaces()
		if p.accept(closing) {
			return out, nil
		}
		if !p.accept(",") {
			return nil, p.unexpected(`"," or "` + closing + `" (compute it with #set first: Velocity takes no expression here)`)
		}
		p.spaces()
		e, err := p.operand("another one after the comma")
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
}

// operators by level, weakest first. Longer spellings come first: "<=" before "<".
var levels = [...][]struct {
	spell string
	op    operator
}{
	{{"||", opOr}, {"or", opOr}},
	{{"&&", opAnd}, {"and", opAnd}},
	{{"==", opEq}, {"!=", opNe}, {"eq", opEq}, {"ne", opNe}},
	{{"<=", opLe}, {">=", opGe}, {"<", opLt}, {">", opGt}, {"lt", opLt}, {"gt", opGt}, {"le", opLe}, {"ge", opGe}},
	{{"+", opAdd}, {"-", opSub}},
	{{"*", opMul}, {"/", opDiv}, {"%", opMod}},
}

func (p *parser) expression() (expr, error) {
	if err := p.nest(p.pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	return p.binary(0)
}

func (p *parser) binary(level int) (expr, error) {
	if level == len(levels) {
		return p.unary()
	}
	left, err := p.binary(level + 1)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		off := p.pos
		op := p.operator(level)
		if op == opNone {
			return left, nil
		}
		if n == maxNesting { // a chain is a left-leaning tree as deep as it is long
			return nil, p.errorAt(off, "more than %d operators in a row", maxNesting)
		}
		right, err := p.binary(level + 1)
		if err != nil {
			return nil, err
		}
		left = &binaryNode{at: pos{p.src, off}, op: op, left: left, right: right}
	}
}

func (p *parser) operator(level int) operator {
	for _, o := range levels[level] {
		if !p.has(o.spell) {
			continue
		}
		if isLetter(o.spell[0]) {
			start := p.pos
			if p.word() == o.spell {
				return o.op
			}
			p.pos = start
			continue
		}
		// "-1" behind an operand is a literal to Velocity, and an error: a minus
		// needs a blank after it.
		if o.op == opSub && (isDigit(p.peek(1)) || p.peek(1) == '.') {
			continue
		}
		p.pos += len(o.spell)
		return o.op
	}
	return opNone
}

func (p *parser) unary() (expr, error) {
	p.spaces()
	start := p.pos
	if err := p.nest(start); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.has("!=") || !p.accept("!") {
		if p.word() != "not" {
			p.pos = start
			return p.primary()
		}
	}
	e, err := p.unary()
	return &notNode{e}, err
}

func (p *parser) primary() (expr, error) {
	if p.peek(0) == '(' {
		p.pos++
		e, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		p.spaces()
		return e, nil
	}
	e, err := p.operand("a value")
	p.spaces()
	return e, err
}
