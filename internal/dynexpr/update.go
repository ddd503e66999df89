package dynexpr

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// Update is a parsed update expression.
type Update struct {
	sets    []assignment
	removes []Path
	adds    []change
	deletes []change
}

type assignment struct {
	path  Path
	value *node
}

type change struct {
	path  Path
	value attr.Value
}

// Update parses an UpdateExpression.
func (s *Scope) Update(text string) (*Update, error) {
	p, err := s.parser("UpdateExpression", text)
	if err != nil {
		return nil, err
	}
	u := &Update{}
	seen := map[string]bool{}
	for p.err == nil && p.peek().kind != tokenEnd {
		section := strings.ToUpper(p.peek().text)
		if p.peek().kind != tokenWord || !slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, section) {
			p.syntax()
			break
		}
		p.pos++
		if seen[section] {
			_ = p.fail("The %q section can only be used once in an update expression;", noQuote(section)) // kept in p.flaw
		}
		seen[section] = true
		for p.err == nil {
			u.clause(p, section)
			if !p.accept(",") {
				break
			}
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if err := checkPaths("UpdateExpression", u.Paths()); err != nil {
		return nil, err
	}
	return u, nil
}

// clause parses one element of a section.
func (u *Update) clause(p *parser, section string) {
	path := p.path()
	switch section {
	case "SET":
		p.expect("=")
		u.sets = append(u.sets, assignment{path, p.setValue()})
	case "REMOVE":
		u.removes = append(u.removes, path)
	default:
		if p.err == nil && p.peek().kind != tokenValue {
			p.syntax()
		}
		if p.err != nil {
			return
		}
		c := change{path, p.valueRef().value}
		p.checkChange(section, c.value)
		if section == "ADD" {
			u.adds = append(u.adds, c)
		} else {
			u.deletes = append(u.deletes, c)
		}
	}
}

// kindWords are the type names that messages about ADD and DELETE use.
var kindWords = map[attr.Kind]string{
	attr.S: "STRING", attr.N: "NUMBER", attr.B: "BINARY", attr.BOOL: "BOOLEAN", attr.NULL: "NULL",
	attr.M: "MAP", attr.L: "LIST", attr.SS: "STRING_SET", attr.NS: "NUMBER_SET", attr.BS: "BINARY_SET",
}

func (p *parser) checkChange(section string, v attr.Value) {
	if v.Kind.IsSet() || section == "ADD" && v.Kind == attr.N {
		return
	}
	_ = p.fail("Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: ALLOWED_FOR_%s_OPERAND", section, kindWords[v.Kind], section) // kept in p.flaw
}

// setValue parses the right side of SET: operand, operand + operand, operand - operand.
func (p *parser) setValue() *node {
	left := p.operand()
	o := opPlus
	switch {
	case p.accept("+"):
	case p.accept("-"):
		o = opMinus
	default:
		return left
	}
	n := &node{op: o, args: []*node{left, p.operand()}}
	for _, a := range n.args {
		if p.err == nil && a.op == opValue && a.value.Kind != attr.N {
			p.badOperand(opText[o], a.value)
		}
		if p.err == nil && a.op == opCall && a.fn == "list_append" {
			_ = p.fail("Incorrect operand type for operator or function; operator or function: %s, operand type: L", opText[o]) // kept in p.flaw
		}
	}
	return n
}

// Paths returns every path the update writes, in the order of the expression's
// sections.
func (u *Update) Paths() []Path {
	var paths []Path
	for _, s := range u.sets {
		paths = append(paths, s.path)
	}
	paths = append(paths, u.removes...)
	for _, c := range u.adds {
		paths = append(paths, c.path)
	}
	for _, c := range u.deletes {
		paths = append(paths, c.path)
	}
	return paths
}

// Apply returns the item after the update. Right sides see the item as it was
// before, so SET a = b, b = a swaps.
func (u *Update) Apply(old attr.Map) (attr.Map, error) {
	item := old
	var err error
	for _, s := range u.sets {
		v, err := s.value.compute(old)
		if err != nil {
			return nil, err
		}
		if item, err = s.path.set(item, v); err != nil {
			return nil, err
		}
	}
	for _, c := range u.adds {
		if item, err = c.add(item); err != nil {
			return nil, err
		}
	}
	for _, c := range u.deletes {
		if item, err = c.delete(item); err != nil {
			return nil, err
		}
	}
	for _, path := range laterFirst(u.removes) {
		if item, err = path.remove(item); err != nil {
			return nil, err
		}
	}
	return item, nil
}

// laterFirst orders removals so that taking out l[0] does not move l[2] before
// its own turn: indexes are those of the item before the update.
func laterFirst(paths []Path) []Path {
	if len(paths) < 2 {
		return paths
	}
	out := slices.Clone(paths)
	slices.SortStableFunc(out, func(a, b Path) int {
		for i := range min(len(a), len(b)) {
			if d := b[i].Index - a[i].Index; d != 0 {
				return d
			}
			if d := strings.Compare(a[i].Name, b[i].Name); d != 0 {
				return d
			}
		}
		return 0
	})
	return out
}

var (
	errMissing = attr.Invalid("The provided expression refers to an attribute that does not exist in the item")
	errType    = attr.Invalid("An operand in the update expression has an incorrect data type")
)

// compute is the value of a SET's right side.
func (n *node) compute(item attr.Map) (attr.Value, error) {
	switch n.op {
	case opValue:
		return n.value, nil
	case opPath:
		if v, ok := n.path.Lookup(item); ok {
			return v, nil
		}
		return attr.Value{}, errMissing
	}
	if n.op == opCall && n.fn == "if_not_exists" {
		if v, ok := n.args[0].path.Lookup(item); ok {
			return v, nil
		}
		return n.args[1].compute(item)
	}
	a, err := n.args[0].compute(item)
	if err != nil {
		return a, err
	}
	b, err := n.args[1].compute(item)
	if err != nil {
		return b, err
	}
	if n.op == opCall { // list_append
		if a.Kind != attr.L || b.Kind != attr.L {
			return a, errType
		}
		return attr.Value{Kind: attr.L, List: append(slices.Clip(a.List), b.List...)}, nil
	}
	if a.Kind != attr.N || b.Kind != attr.N {
		return a, errType
	}
	return attr.Add(a, b, n.op == opMinus)
}

// add is the ADD action: number plus number, set union, or the value itself
// where there was none.
func (c change) add(item attr.Map) (attr.Map, error) {
	old, ok := c.path.Lookup(item)
	switch {
	case !ok:
		return c.path.set(item, c.value)
	case old.Kind != c.value.Kind:
		return nil, errType
	case old.Kind == attr.N:
		sum, err := attr.Add(old, c.value, false)
		if err != nil {
			return nil, err
		}
		return c.path.set(item, sum)
	}
	old.Set = Union(old.Set, c.value.Set)
	return c.path.set(item, old)
}

// delete is the DELETE action: the difference of sets. An empty set cannot be,
// so the attribute goes with its last member.
func (c change) delete(item attr.Map) (attr.Map, error) {
	old, ok := c.path.Lookup(item)
	switch {
	case !ok:
		return item, nil
	case old.Kind != c.value.Kind:
		return nil, errType
	}
	if old.Set = Difference(old.Set, c.value.Set); len(old.Set) == 0 {
		return c.path.remove(item)
	}
	return c.path.set(item, old)
}

// Union appends the members of b that a lacks.
func Union(a, b []string) []string {
	out := slices.Clip(a)
	have := members(a)
	for _, s := range b {
		if !have[s] {
			out = append(out, s)
		}
	}
	return out
}

// Difference keeps the members of a that b lacks.
func Difference(a, b []string) []string {
	gone := members(b)
	out := make([]string, 0, len(a))
	for _, s := range a {
		if !gone[s] {
			out = append(out, s)
		}
	}
	return out
}

func members(set []string) map[string]bool {
	m := make(map[string]bool, len(set))
	for _, s := range set {
		m[s] = true
	}
	return m
}
