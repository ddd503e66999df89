package vtl

import (
	"slices"
	"strings"
)

// directive reads the rest of "#name" at start; nil if it is plain text.
func (p *parser) directive(start int, name string) (node, error) {
	switch name {
	case "if":
		return p.ifDirective(start)
	case "stop":
		return &flowNode{err: errStop}, nil
	case "break":
		return p.breakDirective(start)
	case "return":
		if p.d == AppSync {
			return p.returnDirective(start)
		}
	case "foreach":
		return p.foreach(start)
	case "define":
		return p.define(start)
	case "macro":
		return p.macro(start)
	case "evaluate":
		return p.evaluate(start)
	case "literal":
		return p.literal(start)
	case "parse", "include":
		return nil, p.unsupportedAt(start, "#%s is not available: a mapping template stands alone", name)
	}
	return p.call(start, name)
}

// open consumes the parenthesis after a directive's name.
func (p *parser) open(name string) error {
	p.spaces()
	if !p.accept("(") {
		return p.unexpected(`"(" after #` + name)
	}
	return nil
}

// close consumes the closing parenthesis of a directive and the rest of its line.
func (p *parser) close() error {
	p.spaces()
	if err := p.expect(")"); err != nil {
		return err
	}
	p.lineEnd()
	return nil
}

// set reads #set(reference = expression); n bytes lead to behind its parenthesis.
func (p *parser) set(n int) (node, error) {
	start := p.pos + strings.IndexByte(p.src.text[p.pos:], '#')
	p.pos += n
	p.spaces()
	target, err := p.reference()
	if err != nil {
		return nil, err
	}
	if target == nil {
		return nil, p.unexpected("a reference such as $name")
	}
	if k := len(target.parts); k > 0 && target.parts[k-1].kind == methodPart {
		return nil, p.errorAt(target.at.off, "%s is a method call and cannot be assigned to", target.text)
	}
	p.spaces()
	if p.has("==") || !p.accept("=") {
		return nil, p.unexpected(`"="`)
	}
	value, err := p.expression()
	if err != nil {
		return nil, err
	}
	return &setNode{at: pos{p.src, start}, target: target, value: value}, p.close()
}

func (p *parser) ifDirective(start int) (node, error) {
	n := &ifNode{}
	name := "if"
	for {
		if err := p.open(name); err != nil {
			return nil, err
		}
		cond, err := p.expression()
		if err == nil {
			err = p.close()
		}
		if err != nil {
			return nil, err
		}
		body, end, err := p.block()
		if err != nil {
			return nil, err
		}
		n.arms = append(n.arms, ifArm{cond, body})
		switch end {
		case atEOF:
			return nil, p.errorAt(start, "#if has no #end")
		case atEnd:
			p.end()
			return n, nil
		case atElse:
			p.end()
			n.otherwise, err = p.body(start, "else")
			return n, err
		}
		name = "elseif"
		p.pos++
		p.directiveName()
	}
}

// foreach reads #foreach($name in list). Any word may stand for "in", as in
// Velocity.
func (p *parser) foreach(start int) (node, error) {
	if err := p.open("foreach"); err != nil {
		return nil, err
	}
	p.spaces()
	off := p.pos
	v, err := p.reference()
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, p.unexpected("the loop variable")
	}
	if len(v.parts) > 0 {
		return nil, p.errorAt(off, "the loop variable must be a plain name, not %s", v.text)
	}
	p.separator()
	if p.word() == "" {
		return nil, p.unexpected(`"in"`)
	}
	p.separator()
	list, err := p.operand("a list")
	if err == nil {
		err = p.close()
	}
	if err != nil {
		return nil, err
	}
	body, err := p.body(start, "foreach")
	return &foreachNode{at: pos{p.src, start}, name: v.root, list: list, body: body}, err
}

// separator skips what may stand between the arguments of a directive.
func (p *parser) separator() {
	p.spaces()
	if p.accept(",") {
		p.spaces()
	}
}

func (p *parser) breakDirective(start int) (node, error) {
	n := &flowNode{err: errBreak}
	args, ok, err := p.directiveArguments()
	if err != nil || !ok {
		return n, err
	}
	if len(args) == 1 {
		r, ok := args[0].(*ref)
		if ok && len(r.parts) == 0 && slices.Contains([]string{"foreach", "macro", "define", "evaluate", "template"}, r.root) {
			n.target = r.root
			return n, nil
		}
	}
	return nil, p.unsupportedAt(start, "#break takes nothing or one of $foreach, $macro, $define, $evaluate, $template")
}

func (p *parser) returnDirective(start int) (node, error) {
	n := &returnNode{at: pos{p.src, start}}
	if p.peek(0) != '(' {
		return n, nil
	}
	p.pos++
	p.spaces()
	if p.accept(")") {
		p.lineEnd()
		return n, nil
	}
	var err error
	if n.value, err = p.expression(); err != nil {
		return nil, err
	}
	return n, p.close()
}

func (p *parser) define(start int) (node, error) {
	if err := p.open("define"); err != nil {
		return nil, err
	}
	p.spaces()
	v, err := p.reference()
	if err != nil {
		return nil, err
	}
	if v == nil || len(v.parts) > 0 {
		return nil, p.unexpected("a plain reference such as $name")
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	body, err := p.body(start, "define")
	return &defineNode{name: v.root, block: &block{body: body}}, err
}

func (p *parser) literal(start int) (node, error) {
	if err := p.open("literal"); err != nil {
		return nil, err
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	from := p.pos
	_, end, err := p.block()
	if err != nil {
		return nil, err
	}
	if end != atEnd {
		return nil, p.unclosed(start, "literal", end)
	}
	text := p.src.text[from:p.pos]
	p.end()
	return &textNode{text}, nil
}

func (p *parser) evaluate(start int) (node, error) {
	if err := p.open("evaluate"); err != nil {
		return nil, err
	}
	p.spaces()
	arg, err := p.operand("a template text")
	if err == nil {
		err = p.close()
	}
	return &evaluateNode{at: pos{p.src, start}, arg: arg}, err
}

// macro reads a definition. The last of several with one name counts.
func (p *parser) macro(start int) (node, error) {
	if err := p.open("macro"); err != nil {
		return nil, err
	}
	p.spaces()
	m := &macro{name: p.word()}
	if m.name == "" {
		return nil, p.unexpected("the macro's name")
	}
	for {
		p.separator()
		r, err := p.reference()
		if err != nil {
			return nil, err
		}
		if r == nil {
			break
		}
		if len(r.parts) > 0 || slices.Contains(m.params, r.root) {
			return nil, p.errorAt(r.at.off, "parameter %s must be a plain name of its own", r.text)
		}
		if m.params = append(m.params, r.root); len(m.params) > maxNesting {
			return nil, p.errorAt(r.at.off, "a macro with more than %d parameters", maxNesting)
		}
	}
	if err := p.close(); err != nil {
		return nil, err
	}
	var err error
	if m.body, err = p.body(start, "macro"); err != nil {
		return nil, err
	}
	p.macros[m.name] = m
	return &defineNode{}, nil
}

// call reads the rest of "#name": a macro's use if a macro of that name turns
// up, and text if not. Which one is known when the template runs.
func (p *parser) call(start int, name string) (node, error) {
	n := &callNode{at: pos{p.src, start}, name: strings.TrimPrefix(name, "@")}
	args, ok, err := p.directiveArguments()
	if err != nil {
		return nil, err
	}
	n.args = args
	if name[0] == '@' && ok {
		body, err := p.body(start, name)
		if err != nil {
			return nil, err
		}
		n.content = &block{body: body}
	}
	n.text = p.src.text[start:p.pos]
	return n, nil
}

// directiveArguments reads "(a, b c)" if a parenthesis follows, blanks before it allowed.
func (p *parser) directiveArguments() (args []expr, ok bool, err error) {
	start := p.pos
	p.spaces()
	if !p.accept("(") {
		p.pos = start
		return nil, false, nil
	}
	for {
		p.separator()
		if p.peek(0) == ')' {
			return args, true, p.close()
		}
		off := p.pos
		if w := p.word(); w != "" && w != "true" && w != "false" {
			args = append(args, &constant{text: w}) // a bare word: schmoo unless a macro
			continue
		}
		p.pos = off
		arg, err := p.operand(`an argument or ")"`)
		if err != nil {
			return nil, false, err
		}
		args = append(args, arg)
	}
}
