package frontdoor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// missing refuses the plugins that testdata calls gone.
func missing(name string) string {
	if strings.HasPrefix(name, "gone") {
		return "it is not installed"
	}
	if offline(name) {
		return "it runs the service locally, which Livegate does"
	}
	return ""
}

// Each archive in testdata/adapt holds pairs: NAME.yml, and NAME.want with the
// changed text, a line "---", and the changes. A comment "own" leaves what only a
// foreign packager needs.
func TestAdaptGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/adapt/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no test data", err)
	}
	for _, path := range paths {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		foreign := !strings.HasPrefix(string(a.Comment), "own")
		for i := 0; i+1 < len(a.Files); i += 2 {
			file, want := a.Files[i], &a.Files[i+1]
			t.Run(file.Name, func(t *testing.T) {
				text, changes := adaptation{plugin: missing, foreign: foreign, account: "111122223333"}.adapt(string(file.Data))
				var b strings.Builder
				b.WriteString(text + "---\n")
				for _, c := range changes {
					fmt.Fprintf(&b, "%d %s %s\n", c.line, c.severity, c.message)
				}
				if os.Getenv("UPDATE") != "" {
					want.Data = []byte(b.String())
				} else if b.String() != string(want.Data) {
					t.Errorf("got:\n%s\nwant:\n%s", b.String(), want.Data)
				}
			})
		}
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever the text: every change names a line of it, nothing is changed twice,
// and without anything to change the text comes back as it was.
func FuzzAdapt(f *testing.F) {
	for _, s := range []string{
		"service: a\nplugins:\n  - gone\n  - kept\n", "plugins: [gone, kept]\n", "plugins: [", "stages:\n  default:\n    params:\n      a: b\n  prod: {}\n",
		"frameworkVersion: '4'\nbuild:\n  esbuild: true\nx: ${aws:accountId}\r\n", "plugins:\n- gone", "\tstages:\nstages:\n\t- a\n", "plugins: # none\n  -  'gone-a' # why\n",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, foreign bool) {
		a := adaptation{plugin: missing, foreign: foreign, account: "111122223333"}
		out, changes := a.adapt(text)
		lines := 1 + strings.Count(text, "\n")
		for _, c := range changes {
			if c.line < 1 || c.line > lines || c.message == "" {
				t.Errorf("change without a place: %+v of %d lines", c, lines)
			}
		}
		if !foreign && len(changes) == 0 && out != text {
			t.Errorf("%q became %q without a change", text, out)
		}
		if !foreign {
			if again, more := a.adapt(out); len(more) > 0 || again != out {
				t.Errorf("%q is not settled: %q %v", text, again, more)
			}
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\r\n\tok\x00")
	f.Add("\x1b[")
	f.Fuzz(func(t *testing.T, s string) {
		out := plain(s)
		if strings.ContainsAny(out, "\x1b\r\x00\x07") || len(tail(out)) > tailSize+8 {
			t.Errorf("%q became %q", s, out)
		}
	})
}
