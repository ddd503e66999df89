package vtl

import (
	"github.com/livegate/livegate/internal/fault"
)

// exec is one execution: owned by the goroutine that runs it.
type exec struct {
	out    []byte
	base   int // where this execution's output begins in out
	vars   map[string]any
	local  map[string]any // what #set and #define assigned; made when needed
	scope  *scope         // innermost loop or macro, nil outside
	limits Limits
	at     pos // of the construct being evaluated, for errors

	steps, data, depth, macros int

	returned any
	breakTo  string
	active   []*Template // the template and the #evaluate texts inside it
	active0  [2]*Template
	patterns map[string]*pattern
}

// scope is a loop's round or a macro's call. Names are looked up from the
// innermost outwards, then among the variables.
type scope struct {
	parent *scope

	// of a loop; name and value also hold a macro's $bodyContent
	loop    bool
	name    string
	value   any
	index   int
	hasNext bool

	// of a macro
	macro *macro
	args  []expr
	own   map[string]any // parameters that the macro assigned to
}

// param finds name among the macro's parameters: its argument, nil if the call
// gave too few.
func (s *scope) param(name string) (arg expr, ok bool) {
	if s.macro == nil {
		return nil, false
	}
	for i, p := range s.macro.params {
		if p == name {
			if i < len(s.args) {
				return s.args[i], true
			}
			return nil, true
		}
	}
	return nil, false
}

// step counts work at a place.
func (x *exec) step(at pos, n int) error {
	x.at = at
	if x.steps += n; x.steps > x.limits.Steps {
		return x.tooLarge("the template takes more than %d steps", x.limits.Steps)
	}
	return nil
}

// work counts the bytes that a method goes through.
func (x *exec) work(bytes int) error { return x.step(x.at, bytes/64) }

// charge counts the bytes of a value about to be built.
func (x *exec) charge(bytes int) error {
	if x.data += bytes; x.data > x.limits.Data || bytes < 0 {
		return x.tooLarge("the template builds more than %d bytes of values", x.limits.Data)
	}
	return nil
}

func (x *exec) enter() error {
	if x.depth++; x.depth > x.limits.Depth {
		return x.tooLarge("nested more than %d deep", x.limits.Depth)
	}
	return nil
}

func (x *exec) leave() { x.depth-- }

// fail gives err the place of the construct being evaluated.
func (x *exec) fail(err error) error {
	if _, ok := err.(*RunError); ok { //nolint:errorlint // one that an object wrapped is of another template
		return err
	}
	line, col := x.at.lineCol()
	return &RunError{Name: x.at.src.name, Line: line, Col: col, Err: err}
}

// failf is for what Java answers with an exception.
func (x *exec) failf(format string, args ...any) error {
	return x.fail(fault.New(fault.Upstream, format, args...))
}

func (x *exec) tooLarge(format string, args ...any) error {
	return x.fail(fault.New(fault.TooLarge, format, args...))
}

func (x *exec) block(nodes []node) error {
	for _, n := range nodes {
		if err := x.step(x.at, 1); err != nil {
			return err
		}
		if err := n.render(x); err != nil {
			return err
		}
	}
	return nil
}

// caught tells whether err is a #break that ends a construct of this kind.
func (x *exec) caught(err error, kind string) bool {
	return err == errBreak && (x.breakTo == "" || x.breakTo == kind) //nolint:errorlint // a signal, never wrapped
}

func (x *exec) print(s string) error {
	x.out = append(x.out, s...)
	return x.checkOutput()
}

func (x *exec) checkOutput() error {
	if len(x.out)-x.base > x.limits.Output {
		return x.tooLarge("the output is more than %d bytes", x.limits.Output)
	}
	return nil
}

// printValue appends v as Java prints it. v is not nil.
func (x *exec) printValue(v any) error {
	if b, ok := v.(*block); ok {
		return x.printBlock(b)
	}
	w := writer{buf: x.out, max: x.base + x.limits.Output}
	w.value(v, 0)
	x.out = w.buf
	if w.err != nil {
		return x.tooLarge("the output is more than %d bytes, or a value contains itself", x.limits.Output)
	}
	return x.checkOutput()
}

func (x *exec) printBlock(b *block) error {
	if b.exhausted() {
		return nil
	}
	if err := x.enter(); err != nil {
		return err
	}
	b.depth++
	err := x.block(b.body)
	b.depth--
	x.leave()
	if x.caught(err, "define") {
		return nil
	}
	return err
}

// text is v as Java prints it. v is not nil.
func (x *exec) text(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return x.captured(func() error { return x.printValue(v) })
}

// captured is what print would have appended to the output.
func (x *exec) captured(print func() error) (string, error) {
	n := len(x.out)
	err := print()
	s := string(x.out[n:])
	x.out = x.out[:n]
	if err != nil {
		return "", err
	}
	return s, x.charge(len(s))
}

// lookup finds a variable.
func (x *exec) lookup(name string) (any, error) {
	for s := x.scope; s != nil; s = s.parent {
		if s.name == name {
			return s.value, nil
		}
		if s.loop {
			if v, ok := s.loopVar(name); ok {
				return v, nil
			}
			continue
		}
		if v, ok := s.own[name]; ok {
			return v, nil
		}
		if arg, ok := s.param(name); ok {
			return x.argument(s, arg)
		}
	}
	if v, ok := x.local[name]; ok {
		return v, nil
	}
	v := x.vars[name]
	if i, ok := v.(int); ok {
		return int64(i), nil
	}
	return v, nil
}

// argument evaluates a macro's argument where the macro was called.
func (x *exec) argument(s *scope, arg expr) (any, error) {
	if arg == nil {
		return nil, nil
	}
	if err := x.enter(); err != nil {
		return nil, err
	}
	inner := x.scope
	x.scope = s.parent
	v, err := arg.eval(x)
	x.scope = inner
	x.leave()
	return v, err
}

// setVar assigns a variable: the innermost loop variable or macro parameter of
// that name, else a variable of the template.
func (x *exec) setVar(name string, v any) {
	for s := x.scope; s != nil; s = s.parent {
		if s.name == name {
			s.value = v
			return
		}
		if _, ok := s.param(name); !ok {
			continue
		}
		if s.own == nil {
			s.own = map[string]any{}
		}
		s.own[name] = v
		return
	}
	if x.local == nil {
		x.local = map[string]any{}
	}
	x.local[name] = v
}

func (x *exec) macro(name string) *macro {
	for i := len(x.active) - 1; i >= 0; i-- {
		if m := x.active[i].macros[name]; m != nil {
			return m
		}
	}
	return nil
}

// sourceOf is how an undefined reference prints: its text, and for a macro's
// parameter the text of the caller's argument.
func (x *exec) sourceOf(r *ref) string {
	if len(r.parts) > 0 {
		return r.text
	}
	for s := x.scope; s != nil; s = s.parent {
		if s.name == r.root {
			break
		}
		if arg, ok := s.param(r.root); ok {
			switch a := arg.(type) {
			case nil:
				return r.text
			case *ref:
				inner := x.scope
				x.scope = s.parent
				text := x.sourceOf(a)
				x.scope = inner
				return text
			default:
				return a.source()
			}
		}
	}
	return r.text
}

// loopVar answers $foreach and the older names of a loop's state.
func (s *scope) loopVar(name string) (any, bool) {
	switch name {
	case "foreach":
		return (*loopState)(s), true
	case "velocityCount":
		return int64(s.index + 1), true
	case "velocityHasNext":
		return s.hasNext, true
	}
	return nil, false
}

// loopState is $foreach.
type loopState scope

func (s *loopState) Get(name string) (any, bool) {
	switch name {
	case "index":
		return int64(s.index), true
	case "count":
		return int64(s.index + 1), true
	case "hasNext":
		return s.hasNext, true
	case "first":
		return s.index == 0, true
	case "last":
		return !s.hasNext, true
	case "parent":
		for p := s.parent; p != nil; p = p.parent {
			if p.loop {
				return (*loopState)(p), true
			}
		}
	}
	return nil, false
}

func (s *loopState) Call(name string, args []any) (any, error) {
	if len(args) == 0 {
		switch name {
		case "getIndex":
			return int64(s.index), nil
		case "getCount":
			return int64(s.index + 1), nil
		case "hasNext", "isHasNext", "getHasNext":
			return s.hasNext, nil
		case "isFirst", "getFirst":
			return s.index == 0, nil
		case "isLast", "getLast":
			return !s.hasNext, nil
		}
	}
	return nil, ErrNoMethod
}

var _ Object = (*loopState)(nil)
