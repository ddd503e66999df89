package vtl

import (
	"errors"
	"strings"
)

// node is a piece of template that prints itself.
type node interface{ render(x *exec) error }

// expr is a piece of template with a value. truth is what #if makes of it, which
// is not the truth of the value: a literal other than true never holds. source
// is its text, which takes a null operand's place in a concatenation.
type expr interface {
	eval(x *exec) (any, error)
	truth(x *exec) (bool, error)
	source() string
}

// Signals that travel as errors to the construct they end.
var (
	errStop   = errors.New("vtl: #stop")
	errBreak  = errors.New("vtl: #break")
	errReturn = errors.New("vtl: #return")
)

type textNode struct{ text string }

func (n *textNode) render(x *exec) error { return x.print(n.text) }

// refNode is a reference in text, with the backslashes before it.
type refNode struct {
	ref     *ref
	escapes int
}

func (n *refNode) render(x *exec) error {
	v, err := n.ref.eval(x)
	if err != nil {
		return err
	}
	if b, ok := v.(*block); ok && b.exhausted() {
		v = nil
	}
	if n.escapes > 0 {
		return n.escaped(x, v)
	}
	if v == nil {
		return n.undefined(x)
	}
	return x.printValue(v)
}

func (n *refNode) undefined(x *exec) error {
	if n.ref.quiet {
		return nil
	}
	return x.print(x.sourceOf(n.ref))
}

// escaped prints half the backslashes if the reference is defined, and they stay
// (one of three goes, two of five) if not: \$a is "$a" only where $a would print
// something else.
func (n *refNode) escaped(x *exec, v any) error {
	count, odd := n.escapes, n.escapes%2 == 1
	switch {
	case v != nil:
		count /= 2
	case odd:
		count = count/2 + 1
	}
	if err := x.print(strings.Repeat(`\`, count)); err != nil {
		return err
	}
	switch {
	case odd:
		return x.print(x.sourceOf(n.ref))
	case v == nil:
		return n.undefined(x)
	}
	return x.printValue(v)
}

type setNode struct {
	at     pos
	target *ref
	value  expr
}

func (n *setNode) render(x *exec) error {
	if err := x.step(n.at, 1); err != nil {
		return err
	}
	v, err := n.value.eval(x)
	if err != nil || v == nil {
		return err // null leaves the variable alone
	}
	return n.target.assign(x, v)
}

type ifArm struct {
	cond expr
	body []node
}

type ifNode struct {
	arms      []ifArm
	otherwise []node
}

func (n *ifNode) render(x *exec) error {
	for i := range n.arms {
		if err := x.step(x.at, 1); err != nil {
			return err
		}
		ok, err := n.arms[i].cond.truth(x)
		if err != nil {
			return err
		}
		if ok {
			return x.block(n.arms[i].body)
		}
	}
	return x.block(n.otherwise)
}

// flowNode is #stop or #break.
type flowNode struct {
	err    error
	target string // #break($foreach)
}

func (n *flowNode) render(x *exec) error {
	x.breakTo = n.target
	return n.err
}

type returnNode struct {
	at    pos
	value expr // nil for a bare #return
}

func (n *returnNode) render(x *exec) error {
	if n.value != nil {
		v, err := n.value.eval(x)
		if err != nil {
			return err
		}
		x.returned = v
	}
	return errReturn
}

type foreachNode struct {
	at   pos
	name string
	list expr
	body []node
}

func (n *foreachNode) render(x *exec) error {
	if err := x.step(n.at, 1); err != nil {
		return err
	}
	v, err := n.list.eval(x)
	if err != nil {
		return err
	}
	it, err := x.iterate(v)
	if it == nil || err != nil {
		return err
	}
	outer := x.scope
	s := &scope{parent: outer, loop: true, name: n.name, index: -1}
	x.scope = s
	defer func() { x.scope = outer }()
	for more := it.more(); more; {
		if s.index++; s.index == x.limits.Loop {
			x.at = n.at
			return x.tooLarge("#foreach runs more than %d rounds", x.limits.Loop)
		}
		if err := x.step(n.at, 1); err != nil {
			return err
		}
		var ok bool
		if s.value, ok = it.next(); !ok {
			x.at = n.at
			return x.failf("what #foreach goes through changed meanwhile")
		}
		more = it.more()
		s.hasNext = more
		if err := x.block(n.body); err != nil {
			if x.caught(err, "foreach") {
				return nil
			}
			return err
		}
	}
	return nil
}

// block is the body of a #define, or what stands in #@macro(...)...#end.
// Each evaluation of the #define makes its own.
type block struct {
	body  []node
	depth int // how often it is being printed inside itself
}

// exhausted tells whether b may not print inside itself once more. Velocity
// allows two levels, and then treats the reference as undefined.
func (b *block) exhausted() bool { return b.depth >= 2 }

// defineNode assigns a block to a variable; nothing for a #macro, which took
// effect when it was compiled.
type defineNode struct {
	name  string
	block *block
}

func (n *defineNode) render(x *exec) error {
	if n.block != nil {
		x.setVar(n.name, &block{body: n.block.body})
	}
	return nil
}

type macro struct {
	name   string
	params []string
	body   []node
}

// maxMacroDepth is Velocity's own bound on macros in macros.
const maxMacroDepth = 20

type callNode struct {
	at      pos
	name    string
	args    []expr
	content *block
	text    string
}

func (n *callNode) render(x *exec) error {
	if err := x.step(n.at, 1); err != nil {
		return err
	}
	m := x.macro(n.name)
	if m == nil {
		return x.print(n.text)
	}
	if x.macros++; x.macros > maxMacroDepth {
		return x.tooLarge("macros call each other more than %d deep, here #%s", maxMacroDepth, n.name)
	}
	if err := x.enter(); err != nil {
		return err
	}
	outer := x.scope
	s := &scope{parent: outer, macro: m, args: n.args}
	if n.content != nil {
		s.name, s.value = "bodyContent", &block{body: n.content.body}
	}
	x.scope = s
	err := x.block(m.body)
	x.scope = outer
	x.macros--
	x.leave()
	if x.caught(err, "macro") {
		return nil
	}
	return err
}

type evaluateNode struct {
	at  pos
	arg expr
}

// maxEvaluate bounds the text that #evaluate compiles: API Gateway's own bound
// on a template.
const maxEvaluate = 300 << 10

func (n *evaluateNode) render(x *exec) error {
	if err := x.step(n.at, 1); err != nil {
		return err
	}
	v, err := n.arg.eval(x)
	if err != nil || v == nil {
		return err
	}
	text, err := x.text(v)
	if err != nil {
		return err
	}
	if len(text) > maxEvaluate {
		return x.tooLarge("#evaluate is given %d bytes, more than %d", len(text), maxEvaluate)
	}
	// A tree takes some ten times its text.
	if err := x.step(n.at, 1+len(text)/4); err != nil {
		return err
	}
	if err := x.charge(10 * len(text)); err != nil {
		return err
	}
	t, err := x.active[len(x.active)-1].d.Compile(n.at.src.name+" #evaluate", text)
	if err != nil {
		return x.fail(err)
	}
	if err := x.enter(); err != nil {
		return err
	}
	x.active = append(x.active, t)
	err = x.block(t.body)
	x.active = x.active[:len(x.active)-1]
	x.leave()
	if x.caught(err, "evaluate") {
		return nil
	}
	return err
}
