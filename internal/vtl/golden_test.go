package vtl

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// golden is one case of a testdata file.
type golden struct{ name, template, vars, want string }

func goldens(tb testing.TB) []golden {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no golden files: %v", err)
	}
	var out []golden
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		if len(a.Files)%3 != 0 {
			tb.Fatalf("%s: %d sections, want template, variables and output of each case", file, len(a.Files))
		}
		base := strings.TrimSuffix(filepath.Base(file), ".txtar")
		for i := 0; i < len(a.Files); i += 3 {
			name := strings.TrimSuffix(a.Files[i].Name, ".vtl")
			for k, ext := range []string{".vtl", ".json", ".out"} {
				if a.Files[i+k].Name != name+ext {
					tb.Fatalf("%s: section %q, want %q", file, a.Files[i+k].Name, name+ext)
				}
			}
			text := func(k int) string { return strings.TrimSuffix(string(a.Files[i+k].Data), "\n") }
			out = append(out, golden{base + "/" + name, text(0), text(1), text(2)})
		}
	}
	return out
}

// variables makes a template's variables of JSON: INPUT becomes $input.
func variables(tb testing.TB, text string) map[string]any {
	tb.Helper()
	v, err := FromJSON([]byte(text))
	if err != nil {
		tb.Fatalf("variables %s: %v", text, err)
	}
	vars := map[string]any{"util": testUtil{}}
	for k, v := range v.(*Map).All() {
		if k == "INPUT" {
			vars["input"] = &testInput{v}
			continue
		}
		vars[k] = v
	}
	return vars
}

// The outputs come from Apache Velocity 1.7 itself, byte for byte.
func TestGolden(t *testing.T) {
	cases := goldens(t)
	if len(cases) < 135 {
		t.Fatalf("%d golden cases: some were lost", len(cases))
	}
	for _, g := range cases {
		t.Run(g.name, func(t *testing.T) {
			tmpl, err := Compile(g.name, g.template)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second run shows that the first left no trace
				got, err := tmpl.Execute([]byte("before:"), variables(t, g.vars), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != "before:"+g.want {
					t.Fatalf("template %q\n got %q\nwant %q", g.template, got, "before:"+g.want)
				}
			}
		})
	}
}

// A string literal is a template of its own, so wrapping a template in one and
// evaluating it must print the same. Quotes double; a template that is sensitive
// to where it starts or to its lexical surroundings is left out.
func TestLiteralOfTemplatePrintsTheSame(t *testing.T) {
	n := 0
	for _, g := range goldens(t) {
		if strings.ContainsAny(g.template, `\`) || strings.Contains(g.template, "#macro") ||
			strings.Contains(g.template, "#break") || strings.Contains(g.template, "#stop") {
			continue
		}
		n++
		wrapped := `#set($golden = "` + strings.ReplaceAll(g.template, `"`, `""`) + `")$!golden`
		tmpl, err := Compile(g.name, wrapped)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		got, err := tmpl.Execute(nil, variables(t, g.vars), Limits{})
		if err != nil || string(got) != g.want {
			t.Errorf("%s\n got %q %v\nwant %q", g.name, got, err, g.want)
		}
	}
	if n < 90 {
		t.Fatalf("only %d cases wrapped", n)
	}
}
