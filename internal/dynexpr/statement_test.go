package dynexpr

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

// loadStatements reads testdata/statements.txtar: pairs by section, and the item.
func loadStatements(t testing.TB) (cases map[string][][2]string, item attr.Map) {
	t.Helper()
	text, err := os.ReadFile("testdata/statements.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases = map[string][][2]string{}
	for _, f := range txtar.Parse(text).Files {
		if f.Name == "item" {
			if item, err = attr.ParseItem(f.Data); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			statement, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
			if !ok {
				t.Fatalf("%s: %q has no =>", f.Name, line)
			}
			cases[f.Name] = append(cases[f.Name], [2]string{statement, want})
		}
	}
	return cases, item
}

func parameters(statement string) []attr.Value {
	all := []attr.Value{attr.Number("7"), attr.String("seven"), {Kind: attr.L, List: []attr.Value{attr.String("a"), attr.String("b")}}, attr.Bool(true)}
	return all[:min(strings.Count(statement, "?"), len(all))]
}

func parseStatement(t *testing.T, text string) *Statement {
	t.Helper()
	s, err := ParseStatement(text, parameters(text))
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return nil
	}
	return s
}

func TestStatements(t *testing.T) {
	cases, item := loadStatements(t)
	for _, c := range cases["where"] {
		if s := parseStatement(t, `SELECT * FROM "t" WHERE `+c[0]); s != nil && fmt.Sprint(s.Where.Match(item)) != c[1] {
			t.Errorf("%s: not %s", c[0], c[1])
		}
	}
	for _, c := range cases["columns"] {
		s := parseStatement(t, "SELECT "+c[0]+" FROM t.i ORDER BY id DESC, n")
		if s == nil {
			continue
		}
		got := item
		if s.Projection != nil {
			got = s.Projection.Apply(item)
		}
		if string(attr.AppendItem(nil, got)) != c[1] {
			t.Errorf("%s: %s", c[0], attr.AppendItem(nil, got))
		}
		if s.Table != "t" || s.Index != "i" || len(s.OrderBy) != 2 || !s.OrderBy[0].Descending || s.OrderBy[1] != (Ordering{Name: "n"}) {
			t.Errorf("%s: %+v", c[0], s)
		}
	}
	for _, c := range cases["insert"] {
		if s := parseStatement(t, `insert into "t" value `+c[0]+";"); s != nil && string(attr.AppendItem(nil, s.Item)) != c[1] {
			t.Errorf("%s: %s", c[0], attr.AppendItem(nil, s.Item))
		}
	}
	for _, c := range cases["update"] {
		for _, text := range []string{"UPDATE t " + c[0] + " WHERE id = 'r1' RETURNING MODIFIED NEW *", "FROM t WHERE id = 'r1' " + c[0] + " RETURNING MODIFIED NEW *"} {
			s := parseStatement(t, text)
			if s == nil {
				continue
			}
			got, err := s.Update.Apply(item)
			if err != nil || s.Returning != "MODIFIED NEW" {
				t.Errorf("%s: %v", text, err)
				continue
			}
			checkUpdated(t, text, got, c[1])
		}
	}
	for _, c := range cases["refused"] {
		_, err := ParseStatement(c[0], parameters(c[0]))
		var f *fault.Error
		if !errors.As(err, &f) || f.Type != "ValidationException" || f.Msg != c[1] {
			t.Errorf("%s:\n%q, want\n%q", c[0], fault.Message(err), c[1])
		}
	}
}

// checkUpdated compares an item with "path value, no path": a collection's value
// is the number of its elements.
func checkUpdated(t *testing.T, text string, got attr.Map, want string) {
	t.Helper()
	for want := range strings.SplitSeq(want, ", ") {
		name, value, _ := strings.Cut(want, " ")
		absent := name == "no"
		if absent {
			name = value
		}
		var path Path
		for part := range strings.SplitSeq(name, ".") {
			path = append(path, Step{Name: part, Index: -1})
		}
		v, ok := path.Lookup(got)
		shown := v.Str
		switch v.Kind {
		case attr.L, attr.M, attr.SS, attr.NS:
			shown = fmt.Sprint(len(v.List) + len(v.Map) + len(v.Set))
		case attr.NULL:
			shown = "NULL"
		}
		if ok == absent || !absent && shown != value {
			t.Errorf("%s: %s is %q", text, name, shown)
		}
	}
}

// The cause of an error says where in the statement it is; the message does not,
// because AWS's does not.
func TestStatementPositions(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT *\nFROM t\nWHERE a < TRUE": "line 3, column 9 of the statement",
		"SELECT * FROM t x":                "line 1, column 17 of the statement",
		"DELETE FROM":                      "line 1, column 12 of the statement",
	} {
		if _, err := ParseStatement(text, nil); err == nil || !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Deep nesting is refused, and in time proportional to its length.
func TestStatementDepthIsBounded(t *testing.T) {
	for _, c := range []struct{ before, nest, after string }{
		{"SELECT * FROM t WHERE ", "(", "a = 1"},
		{"SELECT * FROM t WHERE ", "NOT ", "a = 1"},
		{"SELECT * FROM t WHERE a = ", "[", ""},
		{"INSERT INTO t VALUE ", "{'a':", "1"},
		{"INSERT INTO t VALUE {'a': ", "<<", "1"},
		{"SELECT * FROM t WHERE a = ", "size(", "b"},
	} {
		text := c.before + strings.Repeat(c.nest, 2000) + c.after
		if _, err := ParseStatement(text, nil); err == nil {
			t.Errorf("%s… is accepted", text[:60])
		}
	}
}

// What a WHERE clause says of keys: one key condition for each value the
// partition key may have, and whether anything is left to filter by.
func TestKeyConditionsOfStatements(t *testing.T) {
	for where, want := range map[string]string{
		"pk = 'a'":                            "[a] exact",
		"'a' = pk AND sk > 5":                 "[a > 5] exact",
		"5 < sk AND pk = 'a'":                 "[a > 5] exact",
		"pk = 'a' AND sk BETWEEN 1 AND 2":     "[a BETWEEN 1 2] exact",
		"pk = 'a' AND begins_with(sk, 'x')":   "[a begins_with x] exact",
		"pk = 'a' AND sk > 5 AND sk < 9":      "[a > 5]",
		"pk = 'a' AND x = 1":                  "[a]",
		"pk IN ['b', 'a', 'b'] AND sk = 1":    "[b = 1, a = 1] exact",
		"pk = 'a' OR pk = 'b'":                "[]",
		"pk > 'a'":                            "[]",
		"NOT pk = 'a'":                        "[]",
		"pk = 'a' AND (sk = 1 OR sk = 2)":     "[a]",
		"pk = other":                          "[]",
		"pk.x = 'a'":                          "[]",
		"pk = 'a' AND sk <> 1 AND x IS NULL":  "[a]",
		"(pk = 'a' AND sk = 1) AND (x = 'y')": "[a = 1]",
	} {
		s := parseStatement(t, "SELECT * FROM t WHERE "+where)
		if s == nil {
			continue
		}
		list, exact := s.Where.KeyConditions(Key{Hash: "pk", Range: "sk"})
		var parts []string
		for _, kc := range list {
			part := kc.Hash.Str
			if kc.Op != "" {
				part += " " + kc.Op
			}
			for _, v := range kc.Range {
				part += " " + v.Str
			}
			parts = append(parts, part)
		}
		got := "[" + strings.Join(parts, ", ") + "]"
		if exact {
			got += " exact"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", where, got, want)
		}
	}
}

func FuzzStatement(f *testing.F) {
	cases, item := loadStatements(f)
	for _, c := range cases["where"] {
		f.Add("SELECT * FROM t WHERE " + c[0])
	}
	for _, c := range cases["update"] {
		f.Add("UPDATE t " + c[0] + " WHERE id = 'x'")
	}
	for _, c := range cases["insert"] {
		f.Add("INSERT INTO t VALUE " + c[0])
	}
	for _, c := range cases["refused"] {
		f.Add(c[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStatement(text, parameters(text))
		if err != nil {
			if fault.KindOf(err) != fault.BadRequest {
				t.Fatal(err)
			}
			return
		}
		if s.Table == "" {
			t.Fatal("a statement without a table")
		}
		if s.Where != nil {
			s.Where.Match(item)
			s.Where.Match(nil)
			s.Where.KeyConditions(Key{Hash: "id", Range: "n"})
			s.Where.Equalities([]string{"id", "n"})
		}
		if s.Projection != nil {
			s.Projection.Apply(item)
		}
		if s.Update != nil {
			_, _ = s.Update.Apply(item) // may fail on this item, must not panic
		}
	})
}
