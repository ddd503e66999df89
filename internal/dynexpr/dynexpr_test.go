package dynexpr

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

// golden is testdata/expressions.txtar.
type golden struct {
	names  map[string]string
	values attr.Map
	item   attr.Map
	cases  map[string][][2]string
}

func loadGolden(t testing.TB) *golden {
	t.Helper()
	text, err := os.ReadFile("testdata/expressions.txtar")
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{cases: map[string][][2]string{}}
	for _, f := range txtar.Parse(text).Files {
		var err error
		switch f.Name {
		case "names":
			err = json.Unmarshal(f.Data, &g.names)
		case "values":
			g.values, err = attr.ParseItem(f.Data)
		case "item":
			g.item, err = attr.ParseItem(f.Data)
		default:
			for line := range strings.Lines(string(f.Data)) {
				expr, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
				if !ok {
					t.Fatalf("%s: %q has no =>", f.Name, line)
				}
				g.cases[f.Name] = append(g.cases[f.Name], [2]string{expr, want})
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	return g
}

func (g *golden) scope(t testing.TB) *Scope {
	t.Helper()
	s, err := NewScope(g.names, g.values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGolden(t *testing.T) {
	g := loadGolden(t)
	before := attr.AppendItem(nil, g.item)
	for kind, run := range map[string]func(s *Scope, expr string) (string, error){
		"condition":  g.condition,
		"projection": g.projection,
		"update":     g.update,
		"key":        g.key,
	} {
		if len(g.cases[kind]) == 0 {
			t.Errorf("no cases of %s", kind)
		}
		for _, c := range g.cases[kind] {
			got, err := run(g.scope(t), c[0])
			if err != nil {
				got = fault.Message(err)
				var e *fault.Error
				if !errors.As(err, &e) || e.Type != "ValidationException" {
					t.Errorf("%s %q: not a ValidationException: %v", kind, c[0], err)
				}
			}
			if got != c[1] {
				t.Errorf("%s %q\n got %s\nwant %s", kind, c[0], got, c[1])
			}
		}
	}
	if after := attr.AppendItem(nil, g.item); string(after) != string(before) {
		t.Error("an expression changed the item it was given")
	}
}

func (g *golden) condition(s *Scope, expr string) (string, error) {
	c, err := s.Condition("ConditionExpression", expr)
	if err != nil {
		return "", err
	}
	if c.Match(g.item) {
		return "true", nil
	}
	return "false", nil
}

func (g *golden) projection(s *Scope, expr string) (string, error) {
	p, err := s.Projection(expr)
	if err != nil {
		return "", err
	}
	return string(attr.AppendItem(nil, p.Apply(g.item))), nil
}

// update shows only the attributes that changed.
func (g *golden) update(s *Scope, expr string) (string, error) {
	u, err := s.Update(expr)
	if err != nil {
		return "", err
	}
	item, err := u.Apply(g.item)
	if err != nil {
		return "", err
	}
	var changed []string
	for _, m := range item {
		if old, ok := g.item.Get(m.Name); !ok || !attr.Equal(old, m.Value) || slices.ContainsFunc(u.Paths(), func(p Path) bool { return p.Top() == m.Name && len(u.removes) == 0 && len(u.deletes) == 0 }) {
			changed = append(changed, m.Name+"="+string(attr.AppendValue(nil, m.Value)))
		}
	}
	for _, m := range g.item {
		if _, ok := item.Get(m.Name); !ok {
			changed = append(changed, m.Name+"=gone")
		}
	}
	if changed == nil {
		return "same", nil
	}
	slices.Sort(changed)
	return strings.Join(changed, " "), nil
}

func (g *golden) key(s *Scope, expr string) (string, error) {
	terms, err := s.KeyTerms(expr)
	if err != nil {
		return "", err
	}
	kc, err := terms.Match(Key{Hash: "pk", Range: "sk"})
	if err != nil {
		return "", err
	}
	out := string(attr.AppendValue(nil, kc.Hash))
	if kc.Op != "" {
		out += " " + kc.Op
	}
	for _, v := range kc.Range {
		out += " " + string(attr.AppendValue(nil, v))
	}
	return out, nil
}

func TestPlaceholders(t *testing.T) {
	values := attr.Item(attr.Member{Name: ":v", Value: attr.String("x")})
	for _, c := range []struct {
		names  map[string]string
		values attr.Map
		want   string
	}{
		{map[string]string{}, nil, "ExpressionAttributeNames must not be empty"},
		{nil, attr.Map{}, "ExpressionAttributeValues must not be empty"},
		{map[string]string{"n": "x"}, nil, `ExpressionAttributeNames contains invalid key: Syntax error; key: "n"`},
		{map[string]string{"#": "x"}, nil, `ExpressionAttributeNames contains invalid key: Syntax error; key: "#"`},
		{nil, attr.Item(attr.Member{Name: "v", Value: attr.Null()}), `ExpressionAttributeValues contains invalid key: Syntax error; key: "v"`},
		{map[string]string{"#a": "x", "#b": "y"}, values, "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b}"},
		{map[string]string{"#a": "x"}, values.With(":w", attr.Null()), "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}"},
		{map[string]string{"#a": "x"}, values, "nothing"},
	} {
		s, err := NewScope(c.names, c.values)
		if err == nil {
			if _, err = s.Condition("ConditionExpression", "#a = :v"); err == nil {
				err = s.CheckUnused()
			}
		}
		got := "nothing"
		if err != nil {
			got = fault.Message(err)
		}
		if got != c.want {
			t.Errorf("%v %v: %s, want %s", c.names, c.values, got, c.want)
		}
	}
}

// Bounds: 4 KB of text, and no input may exhaust the stack.
func TestBounds(t *testing.T) {
	s, _ := NewScope(nil, attr.Item(attr.Member{Name: ":v", Value: attr.String("x")}))
	for name, expr := range map[string]string{
		"size":      "a = :v" + strings.Repeat(" ", MaxLength),
		"nested":    strings.Repeat("(", 2000) + "a = :v" + strings.Repeat(")", 2000),
		"negated":   strings.Repeat("NOT ", 1000) + "a = :v",
		"operators": "a = :v" + strings.Repeat(" OR b=:v", 400),
		"index":     "a[99999999999999999999] = :v",
	} {
		if _, err := s.Condition("ConditionExpression", expr); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A function in parentheses can begin a condition or be all there is. Trying one
// and then the other takes 2ⁿ steps for n levels: 100 levels would never end.
func TestNestedCallsParseInLinearTime(t *testing.T) {
	s, _ := NewScope(nil, attr.Item(attr.Member{Name: ":v", Value: attr.String("x")}))
	if _, err := s.Condition("ConditionExpression", strings.Repeat("(size(", 100)+"a"+strings.Repeat("))", 100)+" = :v"); err != nil {
		t.Fatal(err)
	}
}

// A random tree of AND, OR and NOT, printed and parsed again, means what it
// meant: precedence and parentheses.
func TestLogicAgreesWithModel(t *testing.T) {
	type tree struct {
		text  string
		value bool
		prec  int
	}
	var gen func(depth int) *rapid.Generator[tree]
	gen = func(depth int) *rapid.Generator[tree] {
		return rapid.Custom(func(t *rapid.T) tree {
			wrap := func(x tree, prec int) string {
				if x.prec < prec {
					return "(" + x.text + ")"
				}
				return x.text
			}
			kind := 0
			if depth > 0 {
				kind = rapid.IntRange(0, 3).Draw(t, "kind")
			}
			switch kind {
			case 1:
				x := gen(depth-1).Draw(t, "x")
				return tree{"NOT " + wrap(x, 2), !x.value, 2}
			case 2:
				x, y := gen(depth-1).Draw(t, "x"), gen(depth-1).Draw(t, "y")
				return tree{wrap(x, 1) + " AND " + wrap(y, 2), x.value && y.value, 1}
			case 3:
				x, y := gen(depth-1).Draw(t, "x"), gen(depth-1).Draw(t, "y")
				return tree{wrap(x, 0) + " OR " + wrap(y, 1), x.value || y.value, 0}
			}
			if rapid.Bool().Draw(t, "leaf") {
				return tree{"pk = :p", true, 3}
			}
			return tree{"attribute_exists(nowhere)", false, 3}
		})
	}
	item := attr.Item(attr.Member{Name: "pk", Value: attr.String("p")})
	rapid.Check(t, func(t *rapid.T) {
		x := gen(4).Draw(t, "tree")
		s, err := NewScope(nil, attr.Item(attr.Member{Name: ":p", Value: attr.String("p")}))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Condition("ConditionExpression", x.text)
		if err != nil {
			t.Fatalf("%s: %v", x.text, err)
		}
		if c.Match(item) != x.value {
			t.Fatalf("%s is %v", x.text, !x.value)
		}
	})
}

func TestReservedWords(t *testing.T) {
	for word, want := range map[string]bool{"name": true, "NAME": true, "Status": true, "zone": true, "abort": true, "ttl": true, "userId": false, "nam": false, "connectionId": false, "": false, "a b": false} {
		if word != "" && word != "a b" && isReserved(word) != want {
			t.Errorf("isReserved(%q) = %v", word, !want)
		}
	}
	if n := len(strings.Fields(reservedWords)); n != 573 {
		t.Errorf("%d reserved words, AWS lists 573", n)
	}
}

func fuzz(f *testing.F, kind string) {
	g := loadGolden(f)
	for _, c := range g.cases[kind] {
		f.Add(c[0])
	}
	run := map[string]func(*Scope, string) (string, error){"condition": g.condition, "projection": g.projection, "update": g.update, "key": g.key}[kind]
	f.Fuzz(func(t *testing.T, expr string) {
		if _, err := run(g.scope(t), expr); err != nil && fault.KindOf(err) != fault.BadRequest {
			t.Fatalf("%q: %v", expr, err)
		}
	})
}

func FuzzCondition(f *testing.F)    { fuzz(f, "condition") }
func FuzzProjection(f *testing.F)   { fuzz(f, "projection") }
func FuzzUpdate(f *testing.F)       { fuzz(f, "update") }
func FuzzKeyCondition(f *testing.F) { fuzz(f, "key") }

func BenchmarkCondition(b *testing.B) {
	g := loadGolden(b)
	for b.Loop() {
		s := g.scope(b)
		c, err := s.Condition("ConditionExpression", "attribute_not_exists(pk) OR #s = :s")
		if err != nil || !c.Match(g.item) {
			b.Fatal(err)
		}
	}
}
