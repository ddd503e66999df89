package vtl

import (
	"errors"
	"strings"
)

// constant is a literal. value is nil for a bare word in a macro call.
type constant struct {
	value any
	text  string
}

func (c *constant) eval(*exec) (any, error)   { return c.value, nil }
func (c *constant) truth(*exec) (bool, error) { return c.value == true, nil }
func (c *constant) source() string            { return c.text }

// interpolation is a double-quoted literal with references or directives in it.
type interpolation struct {
	at   pos
	body []node
	text string
}

func (n *interpolation) eval(x *exec) (any, error) {
	if err := x.step(n.at, 1); err != nil {
		return nil, err
	}
	s, err := x.captured(func() error { return x.block(n.body) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (n *interpolation) truth(*exec) (bool, error) { return false, nil }
func (n *interpolation) source() string            { return n.text }

type listNode struct {
	at    pos
	items []expr
	text  string
}

// slot is what one element of a list or a map costs.
const slot = 16

func (n *listNode) eval(x *exec) (any, error) {
	if err := x.step(n.at, 1); err != nil {
		return nil, err
	}
	if err := x.charge(slot * (1 + len(n.items))); err != nil {
		return nil, err
	}
	l := &List{items: make([]any, len(n.items))}
	for i, e := range n.items {
		v, err := e.eval(x)
		if err != nil {
			return nil, err
		}
		l.items[i] = v
	}
	return l, nil
}

func (n *listNode) truth(*exec) (bool, error) { return false, nil }
func (n *listNode) source() string            { return n.text }

type mapNode struct {
	at           pos
	keys, values []expr
	text         string
}

func (n *mapNode) eval(x *exec) (any, error) {
	if err := x.step(n.at, 1); err != nil {
		return nil, err
	}
	if err := x.charge(slot * 2 * (1 + len(n.keys))); err != nil {
		return nil, err
	}
	m := NewMap()
	for i := range n.keys {
		k, err := n.keys[i].eval(x)
		if err != nil {
			return nil, err
		}
		v, err := n.values[i].eval(x)
		if err != nil {
			return nil, err
		}
		key, err := x.keyText(k)
		if err != nil {
			return nil, err
		}
		m.Set(key, v)
	}
	return m, nil
}

func (n *mapNode) truth(*exec) (bool, error) { return false, nil }
func (n *mapNode) source() string            { return n.text }

// keyText is a map key: the value's text, "null" for null.
func (x *exec) keyText(k any) (string, error) {
	switch k := k.(type) {
	case nil:
		return "null", nil
	case string:
		return k, x.work(len(k)) // of hashing it
	}
	return x.text(k)
}

type rangeNode struct {
	at          pos
	first, last expr
	text        string
}

func (n *rangeNode) eval(x *exec) (any, error) {
	if err := x.step(n.at, 1); err != nil {
		return nil, err
	}
	a, err := n.first.eval(x)
	if err != nil {
		return nil, err
	}
	b, err := n.last.eval(x)
	if err != nil {
		return nil, err
	}
	from, ok1 := a.(int64)
	to, ok2 := b.(int64)
	if !ok1 || !ok2 {
		return nil, nil
	}
	dir := int64(1)
	if to < from {
		dir = -1
	}
	// The bounds may be 2^64 apart: compare before subtracting could wrap.
	width := uint64(to-from) * uint64(dir)
	if width > uint64(x.limits.Data/slot) {
		return nil, x.charge(x.limits.Data + 1)
	}
	if err := x.charge(slot * (int(width) + 1)); err != nil {
		return nil, err
	}
	l := &List{items: make([]any, 0, width+1)}
	for i := from; ; i += dir {
		l.items = append(l.items, i)
		if i == to {
			return l, nil
		}
	}
}

func (n *rangeNode) truth(*exec) (bool, error) { return false, nil }
func (n *rangeNode) source() string            { return n.text }

type partKind uint8

const (
	propertyPart partKind = iota
	methodPart
	indexPart
)

type part struct {
	kind partKind
	at   int // offset in the reference's source
	name string
	args []expr // a method's arguments; an index in [0]
}

// ref is a reference: a variable and the way from it to a value.
type ref struct {
	at     pos
	text   string
	quiet  bool
	formal bool // in braces
	root   string
	parts  []part
}

func (r *ref) source() string { return r.text }

// truth: everything but null and false holds.
func (r *ref) truth(x *exec) (bool, error) {
	v, err := r.eval(x)
	return v != nil && v != false, err
}

func (r *ref) eval(x *exec) (any, error) { return r.walk(x, len(r.parts)) }

// walk evaluates the reference with its first n parts; nil wherever one is
// missing.
func (r *ref) walk(x *exec, n int) (any, error) {
	if err := x.step(r.at, 1+n); err != nil {
		return nil, err
	}
	v, err := x.lookup(r.root)
	for i := 0; i < n && v != nil && err == nil; i++ {
		x.at = pos{r.at.src, r.parts[i].at}
		v, err = r.parts[i].of(x, v)
	}
	return v, err
}

// of takes the part of v, which is not nil.
func (p *part) of(x *exec, v any) (any, error) {
	switch p.kind {
	case propertyPart:
		return property(v, p.name), nil
	case indexPart:
		i, err := p.args[0].eval(x)
		if err != nil || i == nil {
			return nil, err
		}
		return x.element(v, i)
	}
	at := x.at
	var few [4]any
	args := few[:0]
	for _, a := range p.args {
		v, err := a.eval(x)
		if err != nil {
			return nil, err
		}
		if b, ok := v.(*block); ok {
			if v, err = x.text(b); err != nil {
				return nil, err
			}
		}
		args = append(args, v)
	}
	x.at = at
	out, err := x.call(v, p.name, args)
	if errors.Is(err, ErrNoMethod) {
		return nil, nil
	}
	if err != nil {
		return nil, x.fail(err)
	}
	return out, nil
}

// property is v.name, nil if there is none.
func property(v any, name string) any {
	switch v := v.(type) {
	case *Map:
		out, _ := v.Get(name)
		return out
	case Object:
		out, _ := v.Get(name)
		return out
	case string:
		if name == "empty" {
			return v == ""
		}
	case *List:
		if name == "empty" {
			return v.Len() == 0
		}
	}
	return nil
}

// element is v[i]. A list's negative index counts from its end.
func (x *exec) element(v, i any) (any, error) {
	switch v := v.(type) {
	case *List:
		n, ok := i.(int64)
		if !ok || v.view != nil {
			return nil, nil
		}
		at, err := x.listIndex(v, n)
		if err != nil {
			return nil, err
		}
		return v.items[at], nil
	case *Map:
		key, err := x.keyText(i)
		if err != nil {
			return nil, err
		}
		out, _ := v.Get(key)
		return out, nil
	case Object:
		if key, ok := i.(string); ok {
			out, _ := v.Get(key)
			return out, nil
		}
	}
	return nil, nil
}

func (x *exec) listIndex(l *List, n int64) (int, error) {
	at := n
	if n < 0 {
		at += int64(len(l.items))
	}
	if at < 0 || at >= int64(len(l.items)) {
		return 0, x.failf("index %d is out of bounds of a list of %d", n, len(l.items))
	}
	return int(at), nil
}

// assign is #set to the reference. A target that cannot take the value is left
// alone, as in Velocity.
func (r *ref) assign(x *exec, v any) error {
	n := len(r.parts)
	if n == 0 {
		x.setVar(r.root, v)
		return nil
	}
	holder, err := r.walk(x, n-1)
	if err != nil || holder == nil {
		return err
	}
	last := &r.parts[n-1]
	x.at = pos{r.at.src, last.at}
	if last.kind == propertyPart {
		if m, ok := holder.(*Map); ok {
			return x.put(m, last.name, v)
		}
		return nil
	}
	i, err := last.args[0].eval(x)
	if err != nil || i == nil {
		return err
	}
	switch h := holder.(type) {
	case *Map:
		key, err := x.text(i)
		if err != nil {
			return err
		}
		return x.put(h, key, v)
	case *List:
		if at, ok := i.(int64); ok && h.view == nil {
			at, err := x.listIndex(h, at)
			if err != nil {
				return err
			}
			h.items[at] = v
		}
	}
	return nil
}

func (x *exec) put(m *Map, key string, v any) error {
	if err := x.charge(2*slot + len(key)); err != nil {
		return err
	}
	m.Set(key, v)
	return nil
}

type notNode struct{ e expr }

func (n *notNode) eval(x *exec) (any, error) { return n.truth(x) }

func (n *notNode) truth(x *exec) (bool, error) {
	ok, err := n.e.truth(x)
	return !ok, err
}

func (n *notNode) source() string { return "!" + n.e.source() }

type operator uint8

const (
	opNone operator = iota
	opOr
	opAnd
	opEq
	opNe
	opLt
	opGt
	opLe
	opGe
	opAdd
	opSub
	opMul
	opDiv
	opMod
)

type binaryNode struct {
	at          pos
	op          operator
	left, right expr
}

func (n *binaryNode) source() string {
	return strings.TrimSpace(n.left.source()) + " " + strings.TrimSpace(n.right.source())
}

// truth: a number is no condition, whatever its value.
func (n *binaryNode) truth(x *exec) (bool, error) {
	if n.op >= opAdd {
		return false, x.step(n.at, 1)
	}
	v, err := n.eval(x)
	return v == true, err
}

func (n *binaryNode) eval(x *exec) (any, error) {
	if err := x.step(n.at, 1); err != nil {
		return nil, err
	}
	if n.op == opOr || n.op == opAnd {
		ok, err := n.left.truth(x)
		if err != nil || ok == (n.op == opOr) {
			return ok, err
		}
		return n.right.truth(x)
	}
	a, err := n.left.eval(x)
	if err != nil {
		return nil, err
	}
	b, err := n.right.eval(x)
	if err != nil {
		return nil, err
	}
	if err := x.step(n.at, (digits(a)+digits(b))/8); err != nil {
		return nil, err
	}
	switch n.op {
	case opEq, opNe:
		same, err := x.looseEqual(a, b)
		return same == (n.op == opEq), err
	case opLt, opGt, opLe, opGe:
		return compareNumbers(n.op, a, b), nil
	case opAdd:
		if isText(a) || isText(b) {
			return n.concat(x, a, b)
		}
	}
	return x.arithmetic(n.op, a, b)
}

func isText(v any) bool {
	switch v.(type) {
	case string, *block:
		return true
	}
	return false
}

// concat joins texts; an operand that is null stands for its own source.
func (n *binaryNode) concat(x *exec, a, b any) (any, error) {
	if a == nil {
		a = n.left.source()
	}
	if b == nil {
		b = n.right.source()
	}
	left, err := x.text(a)
	if err != nil {
		return nil, err
	}
	right, err := x.text(b)
	if err != nil {
		return nil, err
	}
	if err := x.charge(len(left) + len(right)); err != nil {
		return nil, err
	}
	return left + right, nil
}
